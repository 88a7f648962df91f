"""Format a plan as text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from light_r1.recipe.check.args import Args
from light_r1.recipe.cost.estimate import is_sharded
from light_r1.recipe.cost.formulas import Device, device_for
from light_r1.recipe.cost.rows import Amount
from light_r1.recipe.cost.shapes import model_shape
from light_r1.recipe.shipped import shown
from light_r1.recipe.spec import Recipe
from light_r1.recipe.stage_block import stage_type
from light_r1.run.plan import Plan, StagePlan, plan_recipe
from light_r1.run_dir.fingerprint import INERT
from light_r1.run_dir.words import readable_bytes

_WIDTH = 116
_MARK = "parameter: not published"
_COLUMNS = ("stage", "type", "do", "rows", "batch", "steps", "trained", "sampled", "time", "memory", "disk")


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


def _heading(plan: Plan) -> str:
    recipe, model = plan.recipe, plan.recipe.model
    shape = model_shape(model)
    size = f" ({_short(shape.parameters)} weights)" if shape else ""
    start = f"a new {model.init.get('config', {}).get('model_type')} model" if model.init else "no model"
    folder = Path(recipe.output_dir) / recipe.name
    return f"{recipe.name}: {model.name_or_path or start}{size}, {plan.processes_text}, run folder {folder}"


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
    estimate, shape = plan.estimate, model_shape(plan.stage.model)
    device = device_for(shape) if shape else None
    memory = ""
    if estimate.memory is not None and device is not None:
        sharded = is_sharded(device, whole.processes)
        memory = readable_bytes(estimate.memory.per_process(whole.processes, sharded=sharded))
    return (
        plan.stage.name,
        plan.stage.type,
        plan.action,
        _amount(estimate.rows) if plan.stage.data or plan.stage.makes == "scores" else "",
        f"{estimate.batch:,}" if estimate.batch else "",
        _amount(estimate.steps) if estimate.batch else "",
        _tokens(estimate.trained),
        _tokens(estimate.sampled),
        _time(estimate.seconds, device),
        memory,
        readable_bytes(estimate.disk_kept) if estimate.disk_kept else "",
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
        if item.estimate.batch and Args(stage).has_batch:
            texts.append(f"    batch of {Args(stage).batch(plan.processes)}")
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
        elif stage.stage.samples or stage_type(stage.stage.type).trains:
            unknown.append(stage.stage.name)
    shape = model_shape(plan.recipe.model)
    device = device_for(shape) if shape else None
    lines = []
    if device is not None:
        wall = Amount(seconds.value / plan.processes, seconds.sign)
        lines.append(
            f"Together {_time(seconds, device)} on {device.name}, {_duration(wall)} with {plan.processes_text}"
            + (f", without {', '.join(unknown)}" if unknown else "")
            + "; good to a factor of about two."
        )
    lines.append(f"Disk: up to {readable_bytes(plan.disk_peak)} while it runs. Optimizer states go as stages end.")
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
