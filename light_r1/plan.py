"""What a recipe would run, and what it takes: nothing is loaded, downloaded or written.

What is done already is decided exactly as a run decides it (`light_r1.decision`). Numbers with "~" are estimated,
those with "≤" upper bounds: a completion may be as long as its limit, a filter may drop nothing.
"""

from __future__ import annotations

import os
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from light_r1.cost import Device, device_for
from light_r1.cost_rows import Amount, RowsOf, questions_of, rows_of
from light_r1.cost_shapes import model_shape
from light_r1.cost_stages import Estimate, Work, estimate, is_sharded
from light_r1.errors import LightR1Error
from light_r1.fingerprint import INERT
from light_r1.layers import shown
from light_r1.ranks import Ranks
from light_r1.run import Run, selected
from light_r1.run_dir import RunDir, existing_folder, readable_bytes
from light_r1.specs import Recipe, StageSpec
from light_r1.stages.base import Artifact

_WIDTH = 116
_MARK = "parameter: not published"


@dataclass(frozen=True, slots=True)
class StagePlan:
    """What will be done with a stage.

    Args:
        stage: The stage.
        action: `run`, `skip`, `resume`, `rerun`, `stop` (it cannot go on) or `-` (not selected).
        reason: Why.
        estimate: What it takes, were it run from its start.
    """

    stage: StageSpec
    action: str
    reason: str
    estimate: Estimate


@dataclass(frozen=True, slots=True)
class Plan:
    """What a recipe would run.

    Args:
        recipe: The recipe.
        processes: Processes that it is planned for.
        stages: Its stages in order.
        notes: What is worth knowing.
    """

    recipe: Recipe
    processes: int
    stages: tuple[StagePlan, ...]
    notes: tuple[str, ...]

    @property
    def todo(self) -> list[StagePlan]:
        """The stages that would do something."""
        return [plan for plan in self.stages if plan.action in ("run", "resume", "rerun")]


def plan_recipe(
    recipe: Recipe,
    *,
    only: str | None = None,
    start: str | None = None,
    processes: int | None = None,
    notes: Sequence[str] = (),
) -> Plan:
    """Plan a recipe, or some of its stages.

    Args:
        recipe: A checked recipe.
        only: This stage alone.
        start: This stage and those after it.
        processes: Processes to plan for; the environment's `WORLD_SIZE`, else 1, if not given.
        notes: Notes of the check, to be shown with the plan's own.
    """
    count = processes or int(os.environ.get("WORLD_SIZE", "1"))
    chosen = selected(recipe, only=only, start=start)
    decisions = _decisions(recipe, count)
    rows: dict[str, RowsOf] = {}
    questions = questions_of(recipe)
    plans = []
    for stage in recipe.stages:
        read = questions if stage.type == "evaluate" else _rows_read(stage, recipe, rows)
        action, reason = decisions[stage.name] if stage.name in chosen else ("-", "not selected")
        found = estimate(Work(stage, recipe, read, count))
        plans.append(StagePlan(stage, action, reason, found))
        rows[stage.name] = _rows_made(stage, recipe, decisions[stage.name][0], read)
    plan = Plan(recipe, count, tuple(plans), tuple(notes))
    return Plan(recipe, count, tuple(plans), (*notes, *_warnings(plan)))


def plan_text(
    recipe: Recipe,
    *,
    notes: Sequence[str] = (),
    only: str | None = None,
    start: str | None = None,
    processes: int | None = None,
) -> str:
    """Return the plan as text for a terminal; see `plan_recipe`."""
    plan = plan_recipe(recipe, only=only, start=start, processes=processes, notes=notes)
    parts = [_heading(plan), _table(plan), _settings(plan), _totals(plan)]
    open_values = list(_not_published(recipe))
    if open_values:
        parts.append("Parameters that are not published; these are this recipe's choices:\n" + "\n".join(open_values))
    if plan.notes:
        parts.append("Notes:\n" + "\n".join(_wrapped(f"- {note}", "  ") for note in plan.notes))
    return "\n\n".join(part for part in parts if part)


def _decisions(recipe: Recipe, processes: int) -> dict[str, tuple[str, str]]:
    """Decide for every stage as a run would, without a run folder that nothing is done."""
    folder = RunDir(Path(recipe.output_dir) / recipe.name)
    if not folder.root.is_dir():
        return {stage.name: ("run", "not run yet") for stage in recipe.stages}
    run = Run(recipe, folder, Ranks(0, processes, real=False))
    found: dict[str, tuple[str, str]] = {}
    for stage in recipe.stages:
        try:
            planned = run.plan(stage)
        except LightR1Error as error:
            found[stage.name] = ("stop", str(error))
            continue
        output = run.dir.stage(stage.name).output / planned.stage.output
        run.artifacts[stage.name] = Artifact(output, planned.stage.makes, planned.decision.fingerprint)
        found[stage.name] = (planned.decision.action, planned.decision.reason)
    return found


def _rows_read(stage: StageSpec, recipe: Recipe, made: dict[str, RowsOf]) -> RowsOf:
    return rows_of(recipe, stage.data, made) if stage.data is not None else RowsOf(None)


def _rows_made(stage: StageSpec, recipe: Recipe, action: str, read: RowsOf) -> RowsOf:
    """Return the rows that a stage hands on: as it counted them if it is done, else at most what it reads."""
    if action == "skip":
        manifest = RunDir(Path(recipe.output_dir) / recipe.name).stage(stage.name).read_manifest()
        if manifest is not None and manifest.rows is not None:
            return RowsOf(Amount(manifest.rows.kept), read.tokens)
    return RowsOf(read.count.at_most() if read.count else None, read.tokens)


def _warnings(plan: Plan) -> Iterator[str]:
    shape = model_shape(plan.recipe.model)
    if shape is None and "model" in plan.recipe.where:
        name = plan.recipe.model.name_or_path
        yield f"model: the shape of {name} is not known here, so time and memory are not; set model.size"
    for stage in plan.todo:
        memory, own = stage.estimate.memory, model_shape(stage.stage.model)
        if memory is None or own is None:
            continue
        device = device_for(own)
        need = memory.per_process(plan.processes, sharded=is_sharded(device, plan.processes))
        if need > device.memory:
            room = device.memory - memory.activations
            enough = f"at least {-(-memory.states // room):.0f} with the states split" if room > 0 else "shorter rows"
            yield (
                f"{stage.stage.name}: {readable_bytes(need)} per process do not fit {device.name} "
                f"with {_processes(plan)}; {enough}, LoRA or offloading would"
            )
    peak, free = _disk_peak(plan), shutil.disk_usage(existing_folder(Path(plan.recipe.output_dir))).free
    if peak > free:
        needed, there = readable_bytes(peak), readable_bytes(free)
        yield f"disk: up to {needed} are needed, {there} are free in {plan.recipe.output_dir}"


def _disk_peak(plan: Plan) -> float:
    """Bytes at the worst moment: what earlier stages keep, and what one stage needs at once."""
    kept = peak = 0.0
    for stage in plan.todo:
        peak = max(peak, kept + stage.estimate.disk_peak)
        kept += stage.estimate.disk_kept
    return max(peak, kept)


def _heading(plan: Plan) -> str:
    recipe, model = plan.recipe, plan.recipe.model
    shape = model_shape(model)
    size = f" ({_short(shape.parameters)} weights)" if shape else ""
    made = f"a new {model.init.get('config', {}).get('model_type')} model" if model.init else "no model"
    folder = Path(recipe.output_dir) / recipe.name
    return f"{recipe.name}: {model.name_or_path or made}{size}, {_processes(plan)}, run folder {folder}"


def _processes(plan: Plan) -> str:
    return f"{plan.processes} process{'es' if plan.processes > 1 else ''}"


_COLUMNS = ("stage", "type", "do", "rows", "batch", "steps", "trained", "sampled", "time", "memory", "disk")


def _table(plan: Plan) -> str:
    lines = [_COLUMNS, *(_line(stage, plan) for stage in plan.stages)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_COLUMNS))]
    texts = []
    for line in lines:
        left = [cell.ljust(width) for cell, width in zip(line[:3], widths[:3], strict=True)]
        right = [cell.rjust(width) for cell, width in zip(line[3:], widths[3:], strict=True)]
        texts.append("  ".join([*left, *right]).rstrip())
    return "\n".join(texts)


def _line(plan: StagePlan, whole: Plan) -> tuple[str, ...]:
    found, shape = plan.estimate, model_shape(plan.stage.model)
    device = device_for(shape) if shape else None
    memory = ""
    if found.memory is not None and device is not None:
        sharded = is_sharded(device, whole.processes)
        memory = readable_bytes(found.memory.per_process(whole.processes, sharded=sharded))
    return (
        plan.stage.name,
        plan.stage.type,
        plan.action,
        _amount(found.rows) if plan.stage.type != "merge" else "",
        f"{found.batch:,}" if found.batch else "",
        _amount(found.steps) if found.batch else "",
        _tokens(found.trained),
        _tokens(found.sampled),
        _time(found.seconds, device),
        memory,
        readable_bytes(found.disk_kept) if found.disk_kept else "",
    )


def _settings(plan: Plan) -> str:
    """Say why, from what, on what and with which args, for each stage that was written."""
    texts = []
    for item in plan.stages:
        stage = item.stage
        if stage.implicit or item.action == "-":
            continue
        options = {**stage.options, **stage.args}
        args = ", ".join(f"{name}={_value(value)}" for name, value in options.items() if name not in INERT)
        texts.append(f"{stage.name}: {item.reason}; {stage.takes}")
        if args:
            texts.append(_wrapped(f"    {args}", "    "))
    return "\n".join(texts)


def _value(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_value(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _totals(plan: Plan) -> str:
    if not plan.todo:
        return "Everything is done: nothing would run."
    seconds, unknown = Amount(0), []
    for stage in plan.todo:
        if stage.estimate.seconds is not None:
            seconds = seconds.plus(stage.estimate.seconds)
        elif stage.stage.type not in ("merge", "data"):
            unknown.append(stage.stage.name)
    shape = model_shape(plan.recipe.model)
    device = device_for(shape) if shape else None
    lines = []
    if device is not None:
        wall = Amount(seconds.value / plan.processes, seconds.sign)
        lines.append(
            f"Together {_time(seconds, device)} on {device.name}, {_duration(wall)} with {_processes(plan)}"
            + (f", without {', '.join(unknown)}" if unknown else "")
            + "; good to a factor of about two."
        )
    lines.append(f"Disk: up to {readable_bytes(_disk_peak(plan))} while it runs. Optimizer states go as stages end.")
    if device is not None and is_sharded(device, plan.processes):
        lines.append("Memory is per process, with weights, gradients and optimizer states split over all of them.")
    return "\n".join(lines)


def _not_published(recipe: Recipe) -> Iterator[str]:
    """Yield the recipe's lines that carry the mark, with their places."""
    for file in recipe.files:
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
            if _MARK in line and not line.lstrip().startswith("#"):
                yield f"  {shown(file)}:{number}: {line.partition('#')[0].strip(' -')}"


def _wrapped(text: str, indent: str) -> str:
    return textwrap.fill(text, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _amount(amount: Amount | None) -> str:
    return "?" if amount is None else f"{amount.sign}{amount.value:,.0f}"


def _tokens(amount: Amount | None) -> str:
    return "" if amount is None else f"{amount.sign}{_short(amount.value)}"


def _short(number: float) -> str:
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.0f}"


def _time(amount: Amount | None, device: Device | None) -> str:
    if amount is None or device is None:
        return ""
    if device.name.startswith("H100"):
        hours = amount.value / 3600
        return f"{amount.sign}{hours:,.0f} GPU h" if hours >= 10 else f"{amount.sign}{hours:.2g} GPU h"
    return _duration(amount)


def _duration(amount: Amount) -> str:
    seconds = amount.value
    if seconds < 90:
        return f"{amount.sign}{seconds:.0f} s"
    if seconds < 5400:
        return f"{amount.sign}{seconds / 60:.0f} min"
    return f"{amount.sign}{seconds / 3600:,.0f} h"
