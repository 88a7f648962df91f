"""What a run folder holds, read for people: stages in order, scores, curves, funnels, samples. Files only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from light_r1.errors import RunDirError
from light_r1.metrics import Estimate, paired_difference

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class StageSummary:
    """One stage of a run.

    Args:
        name: Its name.
        type: Its type.
        inputs: Models it starts from.
        manifest: Its manifest, or `None` while it is not done.
        curve: Logged steps of its training, in order.
        scores: Benchmark -> scores of the model it made, from the evaluation behind it.
        samples: Samples of that evaluation.
        folder: Its folder.
    """

    name: str
    type: str
    inputs: tuple[str, ...]
    manifest: Json | None
    curve: list[Json]
    scores: dict[str, Json]
    samples: list[Json]
    folder: Path

    @property
    def makes_model(self) -> bool:
        """Whether the stage's output is a model."""
        return self.type not in ("data", "evaluate")


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run.

    Args:
        name: The recipe's name.
        stages: Its stages in order, evaluations left out: their scores are with the model's stage.
        recipe: The resolved recipe.
        root: The run folder.
    """

    name: str
    stages: list[StageSummary]
    recipe: Json
    root: Path = field(default_factory=Path)

    @property
    def benchmarks(self) -> list[str]:
        """Names of the benchmarks that any stage was scored on."""
        return list(dict.fromkeys(name for stage in self.stages for name in stage.scores))

    def change(self, stage: StageSummary, benchmark: str) -> Estimate | None:
        """Return a stage's change of avg@n against its first input on the same questions, or `None`."""
        before = next((s for s in self.stages if stage.inputs and s.name == stage.inputs[0]), None)
        if before is None or benchmark not in before.scores or benchmark not in stage.scores:
            return None
        return paired_difference(stage.scores[benchmark]["by_question"], before.scores[benchmark]["by_question"])


def read_run(root: Path) -> RunSummary:
    """Read a run folder, finished or not.

    Raises:
        RunDirError: It is not a run folder.
    """
    resolved = root / "recipe.resolved.json"
    if not resolved.exists():
        raise RunDirError(f"{root} is not a run folder: it has no recipe.resolved.json")
    recipe = json.loads(resolved.read_text(encoding="utf-8"))
    evaluations = {
        spec["inputs"][0]: root / spec["name"]
        for spec in recipe["stages"]
        if spec["type"] == "evaluate" and spec["inputs"]
    }
    stages = [
        _stage(root / spec["name"], spec, evaluations.get(spec["name"]))
        for spec in recipe["stages"]
        if spec["type"] != "evaluate"
    ]
    return RunSummary(recipe["name"], stages, recipe, root)


def _stage(folder: Path, spec: Json, evaluation: Path | None) -> StageSummary:
    scored = evaluation is not None and (evaluation / "manifest.json").exists()
    return StageSummary(
        name=spec["name"],
        type=spec["type"],
        inputs=tuple(spec["inputs"]),
        manifest=_json(folder / "manifest.json"),
        curve=list(_lines(folder / "metrics.jsonl")),
        scores=(_json(evaluation / "output/scores.json") or {}) if scored and evaluation else {},
        samples=list(_lines(evaluation / "output/samples.jsonl")) if scored and evaluation else [],
        folder=folder,
    )


def _json(path: Path) -> Json | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _lines(path: Path) -> Iterator[Json]:
    """Yield the objects of a JSONL file; the last line of a file that is being written may be torn."""
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").split("\n")
    for line in lines[:-1]:
        yield json.loads(line)


def score_name(scores: Json) -> str:
    """Return the name of the main score: `avg@n`."""
    return next(key for key in scores if key.startswith("avg@"))
