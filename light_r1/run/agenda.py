"""Decide for each stage whether it runs, is skipped, resumes or reruns, and why; plan and run share it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from light_r1.batch import Batch
from light_r1.errors import LightR1Error, RunDirError, StageError
from light_r1.recipe.check.args import Args
from light_r1.recipe.sources import stages_needed
from light_r1.recipe.spec import Recipe, StageSpec
from light_r1.run.inputs import input_hashes
from light_r1.run_dir.decision import Decision, decide
from light_r1.run_dir.folder import RunDir
from light_r1.stages import load_stage
from light_r1.stages.base import Artifact, Stage


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
        inputs: Artifacts of the earlier stages that it reads, by name.
        settings: What its fingerprint is made of.
        batch: What one optimizer step is made of; None for stages that do not train.
        decision: Run, skip, resume or rerun, and why.
        artifact: What it makes, or has made.
    """

    spec: StageSpec
    inputs: Mapping[str, Artifact]
    settings: dict[str, Any]
    batch: Batch | None
    decision: Decision
    artifact: Artifact


class Agenda:
    """Decides stage after stage; reads the run folder and changes nothing in it.

    Args:
        recipe: The recipe.
        run_dir: Its folder.
        processes: Number of processes that it is decided for.
        load: Gives the type of a stage: `load_stage`, or `described_stage` where none of a user's code may run.
    """

    def __init__(
        self, recipe: Recipe, run_dir: RunDir, processes: int, load: Callable[[str], Stage] = load_stage
    ) -> None:
        self.recipe = recipe
        self.dir = run_dir
        self.processes = processes
        self._load = load
        self._artifacts: dict[str, Artifact] = {}

    def decide(self, spec: StageSpec) -> Planned:
        """Decide what is to be done with a stage. Those it reads come before it, or are done already.

        Raises:
            RunDirError: A stage that it reads was not decided before and is not done.
        """
        stage = self._load(spec.type)
        inputs = {name: self._input(name, spec.name) for name in stages_needed(spec, self.recipe)}
        fingerprints = {name: artifact.fingerprint for name, artifact in inputs.items()}
        hashes = input_hashes(spec, stage, self.recipe, fingerprints, cache=self.dir.hashes)
        settings = stage.resolved(spec, self.recipe, hashes)
        folder, batch = self.dir.stage(spec.name), self._batch(spec)
        decision = decide(folder, settings, batch=batch)
        artifact = Artifact(folder.output / stage.output, stage.makes, decision.fingerprint)
        self._artifacts[spec.name] = artifact
        return Planned(spec, inputs, settings, batch, decision, artifact)

    def _input(self, name: str, wanted_by: str) -> Artifact:
        """Return what an earlier stage makes in this run, or has made in a former one."""
        if name in self._artifacts:
            return self._artifacts[name]
        why = "not run yet"
        if self.dir.stage(name).manifest_json.exists():
            planned = self.decide(self.recipe.stage(name))
            if planned.decision.action == "skip":
                return planned.artifact
            del self._artifacts[name]
            why = planned.decision.reason
        raise RunDirError(
            f"{wanted_by} needs {name}, which is not done: {why}. "
            f"Run it first (--stage {name}), or start from it (--from {name})."
        )

    def _batch(self, spec: StageSpec) -> Batch | None:
        """Return the batch of a stage; None if it has none, or is one that was done on other processes."""
        args = Args(spec)
        if not args.has_batch:
            return None
        try:
            return args.batch(self.processes)
        except StageError:
            return None  # the check refuses to run it; that it is done does not depend on it
