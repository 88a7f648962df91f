"""Run a recipe: the only place where stages are walked.

`python -m light_r1.run RECIPE`, under `accelerate launch` or `torchrun` too. Every rank walks the same stages; rank 0
decides and writes, the others obey. Nothing heavy is imported before there is something to do.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from light_r1.check import load_checked
from light_r1.checkpoints import last_checkpoint, prune_checkpoints, set_torn_aside, step_of
from light_r1.console import attempt_log, console, quiet_libraries
from light_r1.decision import Decision, decide
from light_r1.errors import LightR1Error, RecipeError, RunDirError
from light_r1.failures import explained
from light_r1.fingerprint import fingerprint
from light_r1.hub import hub_problems
from light_r1.input_hashes import input_hashes, stages_needed
from light_r1.manifest import Manifest, describe_outputs, git_commit, package_versions
from light_r1.outcome import duration, outcome_text
from light_r1.ranks import Ranks, current_ranks
from light_r1.recipe import resolved
from light_r1.run_dir import Batch, RunDir, StageDir, now, readable_bytes
from light_r1.specs import Recipe, StageSpec
from light_r1.stages import load_stage
from light_r1.stages.base import Artifact, Stage, StageJob, StageResult

log = logging.getLogger(__name__)


def run_recipe(
    recipe: Recipe | str | Path,
    *,
    only: str | None = None,
    start: str | None = None,
    overrides: Sequence[str] = (),
) -> Path:
    """Run a recipe's stages, or some of them.

    A stage that is done with the same settings and inputs is skipped, one that was cut off goes on, one whose
    settings changed is run again after its former folder was moved aside. The process group that it opens among
    several processes is left open for another run: end a script of your own with `light_r1.ranks.leave_ranks()`.

    Args:
        recipe: A recipe, or its file or name.
        only: Run this stage alone (and its implicit evaluation).
        start: Run this stage and those after it.
        overrides: `key=value` texts, when `recipe` is a file or name.

    Returns:
        The run folder.

    Raises:
        RecipeError: The recipe has faults.
        RunDirError: Another run holds the folder, or a stage that is not to be run is needed but not done.
        StageError: A stage cannot go on.
    """
    if not isinstance(recipe, Recipe):
        recipe = load_checked(recipe, overrides).recipe
    ranks = current_ranks()
    run = Run(recipe, RunDir(Path(recipe.output_dir) / recipe.name), ranks)
    with run.dir.lock() if ranks.is_main else nullcontext(), console(ranks):
        run.walk(selected(recipe, only=only, start=start))
    return run.dir.root


def selected(recipe: Recipe, *, only: str | None = None, start: str | None = None) -> set[str]:
    """Return the names of the stages to run.

    A stage that is not `enabled` is selected only by its own name. An implicit evaluation goes with its stage.
    """
    names = [stage.name for stage in recipe.stages]
    for name in (only, start):
        if name is not None and name not in names:
            raise LightR1Error(f"no stage {name!r} in {recipe.path}; the stages are {', '.join(names)}")
    if only is not None:
        return {s.name for s in recipe.stages if s.name == only or (s.implicit and s.inputs == (only,))}
    first = names.index(start) if start is not None else 0
    off = {s.name for s in recipe.stages if not s.enabled and s.name != start}
    return {s.name for s in recipe.stages[first:] if s.name not in off and not (s.implicit and s.inputs[0] in off)}


@dataclass(frozen=True, slots=True)
class Planned:
    """What will be done with a stage.

    Args:
        spec: The stage.
        stage: Its type.
        settings: What its fingerprint is made of.
        decision: Run, skip, resume or rerun, and why.
    """

    spec: StageSpec
    stage: Stage
    settings: dict[str, Any]
    decision: Decision


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
        self.artifacts: dict[str, Artifact] = {}

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
                planned = self.plan(spec)
                if planned.decision.action == "skip":
                    log.info("%s: skipped, %s", spec.name, planned.decision.reason)
                else:
                    log.info("== %s (%s), %d of %d: %s", spec.name, spec.type, number, total, planned.decision.reason)
                    log.info("%s: %s", spec.name, spec.takes)
                    self.execute(planned)
                    did_something = True
                self.artifacts[spec.name] = self._artifact(planned)
        finally:
            if self.ranks.is_main and (did_something or not self.dir.report_md.exists()):
                self._report()
        if self.ranks.is_main:
            from light_r1.report import table_text

            log.info("\n%s", table_text(self.dir.root))

    def _require_hub(self, names: set[str]) -> None:
        """Refuse to start what will stop at a model or data set that cannot be had."""
        todo = [s for s in self.recipe.stages if s.name in names and not self.dir.stage(s.name).manifest_json.exists()]
        problems = self.ranks.agree(hub_problems(self.recipe, todo) if self.ranks.is_main else [])
        if problems:
            raise RecipeError(problems)

    def plan(self, spec: StageSpec) -> Planned:
        """Decide what is to be done with a stage; rank 0's decision holds."""
        stage = load_stage(spec.type)
        settings = stage.resolved(spec, self.recipe, self._input_hashes(spec, stage))
        decision = None
        if self.ranks.is_main:
            decision = decide(self.dir.stage(spec.name), settings, batch=self._batch(spec, stage))
        agreed = self.ranks.agree(decision)
        assert agreed is not None
        return Planned(spec, stage, settings, agreed)

    def execute(self, planned: Planned) -> None:
        """Run one stage, then declare it done."""
        spec, decision = planned.spec, planned.decision
        folder = self.dir.stage(spec.name)
        if self.ranks.is_main:
            if decision.action == "rerun":
                folder.supersede()
            folder.begin(planned.settings, batch=self._batch(spec, planned.stage))
            set_torn_aside(folder.checkpoints)
        self.ranks.barrier()
        inputs = {name: self.artifacts[name] for name in self._stages_needed(spec)}
        job = StageJob(spec, self.recipe, inputs, folder, self.ranks, decision.checkpoint)
        began, started = time.perf_counter(), now()
        try:
            with attempt_log(folder, self.ranks), quiet_libraries():
                result = planned.stage.run(job)
        except KeyboardInterrupt:
            log.info("%s: interrupted; the same command goes on %s", spec.name, _left_at(folder))
            raise
        except Exception as error:
            if told := explained(error, spec, self.recipe, folder.attempts):
                raise told from error
            raise
        self.ranks.barrier()
        if self.ranks.is_main:
            seconds = time.perf_counter() - began
            self._finish(planned, folder, result, started=started, seconds=seconds)
        self.ranks.barrier()
        _release()

    def _finish(
        self, planned: Planned, folder: StageDir, result: StageResult, *, started: str, seconds: float
    ) -> None:
        spec = planned.spec
        freed = prune_checkpoints(folder.checkpoints)
        if freed:
            log.info("%s: %s of resume state removed", spec.name, readable_bytes(freed))
        outputs = {
            path: file for path, file in describe_outputs(folder.path).items() if not path.endswith("README.md")
        }
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
                outputs=outputs,
                rows=result.rows,
                tokens=result.tokens,
                steps=result.steps,
                metrics=result.metrics,
                seed=self.recipe.seed,
                world_size=self.ranks.count,
                versions=package_versions(),
                git_commit=git_commit(),
            )
        )
        outcome = outcome_text(spec.type, result.metrics, rows=result.rows, tokens=result.tokens, steps=result.steps)
        log.info("%s: done in %s%s", spec.name, duration(seconds), f": {outcome}" if outcome else "")

    def _artifact(self, planned: Planned) -> Artifact:
        path = self.dir.stage(planned.spec.name).output / planned.stage.output
        return Artifact(path, planned.stage.makes, planned.decision.fingerprint)

    def _stages_needed(self, spec: StageSpec) -> list[str]:
        """Return the earlier stages that a stage reads, and see that each is done."""
        needed = stages_needed(spec, self.recipe)
        for name in needed:
            if name not in self.artifacts:
                self.artifacts[name] = self._done_artifact(name, spec.name)
        return needed

    def _done_artifact(self, name: str, wanted_by: str) -> Artifact:
        planned = self.plan(self.recipe.stage(name)) if self.dir.stage(name).manifest_json.exists() else None
        if planned is None or planned.decision.action != "skip":
            why = planned.decision.reason if planned else "not run yet"
            raise RunDirError(
                f"{wanted_by} needs {name}, which is not done: {why}. "
                f"Run it first (--stage {name}), or start from it (--from {name})."
            )
        return self._artifact(planned)

    def _input_hashes(self, spec: StageSpec, stage: Stage) -> dict[str, Any]:
        made = {name: self.artifacts[name].fingerprint for name in self._stages_needed(spec)}
        return input_hashes(spec, stage, self.recipe, made, cache=self.dir.hashes)

    def _batch(self, spec: StageSpec, stage: Stage) -> Batch | None:
        if stage.args_class is None or "per_device_train_batch_size" not in (known := _defaults(stage.args_class)):
            return None
        args: Mapping[str, int] = {**known, **spec.args}
        return Batch(self.ranks.count, args["per_device_train_batch_size"], args["gradient_accumulation_steps"])

    def _report(self) -> None:
        from light_r1.report import write_report

        write_report(self.dir.root)


def _defaults(config_class: str) -> dict[str, int]:
    """Return the defaults of the two fields that make a batch, for config classes that have them."""
    from light_r1.fields import table

    fields = table(config_class).fields
    names = ("per_device_train_batch_size", "gradient_accumulation_steps")
    return {name: int(fields[name].default) for name in names if name in fields}


def _left_at(folder: StageDir) -> str:
    checkpoint = last_checkpoint(folder.checkpoints)
    if checkpoint is not None:
        return f"from its checkpoint at step {step_of(checkpoint)}"
    return "after the responses that it has sampled" if any(folder.path.glob("rollouts*")) else "from its start"


def _release() -> None:
    from light_r1.stages.policy import release

    release()


def main(argv: Sequence[str] | None = None) -> int:
    """Run or plan a recipe from the command line."""
    from light_r1.cli import run_main

    # Before torch starts its threads: where other work shares the cores, threads that spin for long while they wait
    # for each other made the small products of a tiny model 5 to 30 times slower. GNU OpenMP spins as little as this
    # by itself where it knows of more threads than cores; not to spin at all costs a quarter on a quiet machine.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    return run_main(sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    sys.exit(main())
