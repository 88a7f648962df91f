"""Run a recipe: the only loop over its stages.

`python -m light_r1.run RECIPE`, under `accelerate launch` or `torchrun` too. Every rank walks the same stages; rank 0
decides and writes, the others obey. Nothing heavy is imported before there is something to do.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from light_r1.errors import RecipeError, StageError
from light_r1.models.checkpoints import last_checkpoint, prune_checkpoints, set_torn_aside, step_of
from light_r1.ranks import Ranks, current_ranks
from light_r1.recipe.read import resolved
from light_r1.recipe.spec import Recipe
from light_r1.run import verify
from light_r1.run.agenda import Agenda, Planned, selected
from light_r1.run.check import load_checked
from light_r1.run.console import attempt_log, console, quiet_libraries
from light_r1.run.failures import explained
from light_r1.run.hub import hub_problems
from light_r1.run_dir.fingerprint import fingerprint
from light_r1.run_dir.folder import RunDir, StageDir, now
from light_r1.run_dir.manifest import Manifest, describe_outputs, git_commit, package_versions
from light_r1.run_dir.words import duration, outcome_text, readable_bytes
from light_r1.stages import load_stage
from light_r1.stages.base import StageJob, StageResult

log = logging.getLogger(__name__)


def run_recipe(
    recipe: Recipe | str | Path,
    *,
    only: str | None = None,
    start: str | None = None,
    overrides: Sequence[str] = (),
    verify_outputs: bool = False,
) -> Path:
    """Run a recipe's stages, or some of them.

    A stage that is done with the same settings and inputs is skipped, one that was cut off goes on, one whose
    settings changed is run again after its former folder was moved aside. The process group that it opens among
    several processes is left open for another run: end a script of your own with `light_r1.leave_ranks()`.

    Args:
        recipe: A recipe, or its file or name.
        only: Run this stage alone (and its implicit evaluation).
        start: Run this stage and those after it.
        overrides: `key=value` texts, when `recipe` is a file or name.
        verify_outputs: Compare every output of the stages that are done with its manifest first, byte by byte.

    Returns:
        The run folder.

    Raises:
        RecipeError: The recipe has faults.
        RunDirError: Another run holds the folder, a stage that is not to be run is needed but not done, or an output
            has other bytes than it was written with.
        DataError: A data file, row or column is not what a stage needs.
        StageError: A stage cannot go on.
    """
    if not isinstance(recipe, Recipe):
        recipe = load_checked(recipe, overrides, trust=True).recipe
    ranks = current_ranks()
    run = Run(recipe, RunDir(Path(recipe.output_dir) / recipe.name), ranks)
    with run.dir.lock() if ranks.is_main else nullcontext(), console(ranks):
        if verify_outputs:
            ranks.from_main(lambda: verify.verify_outputs(recipe))
        run.walk(selected(recipe, only=only, start=start))
    return run.dir.root


class Run:
    """One recipe executed into one folder.

    Args:
        recipe: The recipe.
        run_dir: Its folder.
        ranks: This process among the others.
    """

    def __init__(self, recipe: Recipe, run_dir: RunDir, ranks: Ranks) -> None:
        self.recipe = recipe
        self.dir = run_dir
        self.ranks = ranks
        self.agenda = Agenda(recipe, run_dir, ranks.count)

    def walk(self, names: set[str]) -> None:
        """Run the named stages in order; the others have to be done where they are needed."""
        self._require_hub(names)
        if self.ranks.is_main:
            self.dir.write_recipe(self.recipe.path.read_text(encoding="utf-8"), resolved(self.recipe))
        did_something = False
        total = len(names)
        number = 0
        try:
            for spec in self.recipe.stages:
                if spec.name not in names:
                    continue
                number += 1
                planned = self.ranks.from_main(partial(self.agenda.decide, spec))
                if planned.decision.action == "skip":
                    log.info("%s: skipped, %s", spec.name, planned.decision.reason)
                else:
                    log.info("== %s (%s), %d of %d: %s", spec.name, spec.type, number, total, planned.decision.reason)
                    log.info("%s: %s", spec.name, spec.takes)
                    self.execute(planned)
                    did_something = True
        finally:
            if self.ranks.is_main and (did_something or not self.dir.report_md.exists()):
                from light_r1.report.write import write_report

                write_report(self.dir.root)
        if self.ranks.is_main:
            from light_r1.report.write import table_text

            log.info("\n%s", table_text(self.dir.root))

    def _require_hub(self, names: set[str]) -> None:
        """Refuse to start what will stop at a model or data set that cannot be had."""
        todo = [s for s in self.recipe.stages if s.name in names and not self.dir.stage(s.name).manifest_json.exists()]
        problems = self.ranks.from_main(lambda: hub_problems(self.recipe, todo))
        if problems:
            raise RecipeError(problems)

    def execute(self, planned: Planned) -> None:
        """Run one stage, then declare it done."""
        spec, decision = planned.spec, planned.decision
        folder = self.dir.stage(spec.name)
        if self.ranks.is_main:
            if decision.action == "rerun":
                folder.supersede()
            folder.begin(planned.settings, batch=planned.batch)
            set_torn_aside(folder.checkpoints)
        self.ranks.barrier()
        job = StageJob(spec, self.recipe, planned.inputs, folder, self.ranks, decision.checkpoint)
        stage, began, started = load_stage(spec.type), time.perf_counter(), now()
        try:
            with attempt_log(folder, self.ranks), quiet_libraries():
                result = stage.run(job)
        except KeyboardInterrupt:
            log.info("%s: interrupted; the same command goes on %s", spec.name, _left_at(folder))
            raise
        except Exception as error:
            if explanation := explained(
                error, spec.name, folder.attempts, advice=partial(stage.less_memory, spec, self.recipe)
            ):
                raise explanation from error
            raise
        self.ranks.barrier()
        self.ranks.from_main(partial(_require_output, planned))
        if self.ranks.is_main:
            seconds = time.perf_counter() - began
            self._finish(planned, folder, result, started=started, seconds=seconds)
        self.ranks.barrier()
        from light_r1.stages.policy import release  # which imports torch, as the stage did

        release()

    def _finish(
        self, planned: Planned, folder: StageDir, result: StageResult, *, started: str, seconds: float
    ) -> None:
        spec = planned.spec
        freed = prune_checkpoints(folder.checkpoints)
        if freed:
            log.info("%s: %s of resume state removed", spec.name, readable_bytes(freed))
        inputs = planned.settings["inputs"].items()
        folder.write_manifest(
            Manifest(
                stage=spec.name,
                type=spec.type,
                fingerprint=planned.decision.fingerprint,
                started=started,
                ended=now(),
                seconds=round(seconds, 2),
                inputs={name: value if isinstance(value, str) else fingerprint(value) for name, value in inputs},
                outputs=describe_outputs(folder.path),
                rows=result.rows,
                tokens=result.tokens,
                steps=result.steps,
                metrics=result.metrics,
                seed=self.recipe.seed,
                world_size=self.ranks.count,
                versions=package_versions(),
                git_commit=git_commit(),
                handover=result.handover,
                loaded=folder.read_loaded(),
            )
        )
        outcome = outcome_text(result.metrics, rows=result.rows, tokens=result.tokens, steps=result.steps)
        log.info("%s: done in %s%s", spec.name, duration(seconds), f": {outcome}" if outcome else "")


def _require_output(planned: Planned) -> None:
    """Refuse to declare a stage done that has not written what later stages read."""
    if not planned.artifact.path.exists():
        raise StageError(f"{planned.spec.name}: {planned.spec.type} ended without writing {planned.artifact.path}.")


def _left_at(folder: StageDir) -> str:
    checkpoint = last_checkpoint(folder.checkpoints)
    if checkpoint is not None:
        return f"from its checkpoint at step {step_of(checkpoint)}"
    return "after the responses that it has sampled" if any(folder.path.glob("rollouts*")) else "from its start"
