"""Plan a recipe: what would run, with steps, tokens, time, memory and disk; nothing is loaded or written.

What is done already is decided as a run decides it (`light_r1.run_dir.decision`), but for what a type of one's own
overrides in `files`, `resolved` or `uses_model`: a plan runs none of its code. Numbers with "~" are estimated, those
with "≤" upper bounds: a completion may be as long as its limit, a filter may drop nothing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from light_r1.errors import LightR1Error
from light_r1.recipe.cost.estimate import Estimate, Work, is_sharded
from light_r1.recipe.cost.formulas import device_for
from light_r1.recipe.cost.rows import Amount, RowsOf, questions_of, rows_of
from light_r1.recipe.cost.shapes import model_shape
from light_r1.recipe.spec import Recipe, StageSpec
from light_r1.run.agenda import Agenda, selected
from light_r1.run_dir.folder import RunDir, existing_folder
from light_r1.run_dir.words import readable_bytes
from light_r1.stages import described_stage


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

    @property
    def disk_peak(self) -> float:
        """Bytes at the worst moment: what earlier stages keep, and what one stage needs at once."""
        kept = peak = 0.0
        for stage in self.todo:
            peak = max(peak, kept + stage.estimate.disk_peak)
            kept += stage.estimate.disk_kept
        return max(peak, kept)

    @property
    def processes_text(self) -> str:
        """The number of processes in words."""
        return f"{self.processes} process{'es' if self.processes > 1 else ''}"


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
        read = questions if stage.makes == "scores" else _rows_read(stage, recipe, rows)
        action, reason = decisions[stage.name] if stage.name in chosen else ("-", "not selected")
        estimate = described_stage(stage.type).estimate(Work(stage, recipe, read, count))
        plans.append(StagePlan(stage, action, reason, estimate))
        rows[stage.name] = _rows_made(stage, recipe, decisions[stage.name][0], read)
    plan = Plan(recipe, count, tuple(plans), tuple(notes))
    return Plan(recipe, count, tuple(plans), (*notes, *_warnings(plan)))


def _decisions(recipe: Recipe, processes: int) -> dict[str, tuple[str, str]]:
    """Decide for every stage as a run would, without a run folder that nothing is done."""
    folder = RunDir(Path(recipe.output_dir) / recipe.name)
    if not folder.root.is_dir():
        return {stage.name: ("run", "not run yet") for stage in recipe.stages}
    agenda = Agenda(recipe, folder, processes, described_stage)
    decisions: dict[str, tuple[str, str]] = {}
    for stage in recipe.stages:
        try:
            decision = agenda.decide(stage).decision
        except LightR1Error as error:
            decisions[stage.name] = ("stop", str(error))
        else:
            decisions[stage.name] = (decision.action, decision.reason)
    return decisions


def _rows_read(stage: StageSpec, recipe: Recipe, rows: dict[str, RowsOf]) -> RowsOf:
    return rows_of(recipe, stage.data, rows) if stage.data is not None else RowsOf(None)


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
                f"with {plan.processes_text}; {enough}, LoRA or offloading would"
            )
    peak, free = plan.disk_peak, shutil.disk_usage(existing_folder(Path(plan.recipe.output_dir))).free
    if peak > free:
        needed, there = readable_bytes(peak), readable_bytes(free)
        yield f"disk: up to {needed} are needed, {there} are free in {plan.recipe.output_dir}"
