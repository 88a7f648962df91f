"""Read a run folder into a `RunSummary`: stages in order, scores, training curves, row funnels, samples."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from light_r1.errors import RunDirError
from light_r1.recipe.stage_block import stage_type
from light_r1.rollouts.scores import Comparison, Estimate, compare, paired_difference

Json = dict[str, Any]

START = "model"


@dataclass(frozen=True, slots=True)
class StageSummary:
    """One stage of a run, or the model that the run starts from (`type` is `model`).

    Args:
        name: Its name.
        type: Its type.
        makes: Kind of its output: `model`, `rows` or `scores`.
        inputs: Models it starts from.
        manifest: Its manifest, or `None` while it is not done.
        curve: Logged steps of its training, in order.
        evaluation: Folder of the finished evaluation behind it, or `None`.
        scores: Benchmark -> scores of that evaluation.
        folder: Its folder.
    """

    name: str
    type: str
    makes: str
    inputs: tuple[str, ...]
    manifest: Json | None
    curve: list[Json]
    evaluation: Path | None
    scores: dict[str, Json]
    folder: Path

    @property
    def makes_model(self) -> bool:
        """Whether the stage's output is a model."""
        return self.makes == "model" and self.type != START


@dataclass(frozen=True, slots=True)
class FunnelRow:
    """Rows through a stage, or through one step of a `data` stage.

    Args:
        name: `stage`, or `stage: step`.
        rows_in: Rows that came in.
        kept: Rows, or pairs, that went out.
        dropped: Reason -> rows.
        unit: What went out: `rows` or `pairs`.
    """

    name: str
    rows_in: int
    kept: int
    dropped: dict[str, int]
    unit: str = "rows"

    @property
    def text(self) -> str:
        """The counts in words."""
        return (
            f"{self.kept:,} pairs from {self.rows_in:,}"
            if self.unit == "pairs"
            else f"{self.kept:,} of {self.rows_in:,}"
        )


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run.

    Args:
        name: The recipe's name.
        stages: Its stages in order. The first evaluation of a model is with the stage that made it; further ones are
            stages of their own.
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

    def pairs(self, stage: StageSummary, benchmark: str) -> list[tuple[str, Json, Json]]:
        """Return (input, the stage's scores, the input's) for each scored input; a second evaluation has none."""
        if stage.makes == "scores" or benchmark not in stage.scores:
            return []
        before = {s.name: s.scores[benchmark] for s in self.stages if benchmark in s.scores and s.makes != "scores"}
        return [(name, stage.scores[benchmark], before[name]) for name in stage.inputs if name in before]

    def change(self, stage: StageSummary, benchmark: str) -> Estimate | None:
        """Return a stage's change of avg@n against its first input on the same questions, or `None`."""
        for name, after, before in self.pairs(stage, benchmark):
            if name == stage.inputs[0]:
                return paired_difference(after["by_question"], before["by_question"])
        return None

    def comparisons(self, benchmark: str) -> list[tuple[str, str, Comparison]]:
        """Return (stage, input, comparison) for every scored stage and each of its scored inputs."""
        return [
            (stage.name, name, compare(after["by_question"], before["by_question"]))
            for stage in self.stages
            for name, after, before in self.pairs(stage, benchmark)
        ]

    def funnel(self) -> list[FunnelRow]:
        """Return the rows through each finished stage that reads rows, step by step for `data` stages."""
        return [row for stage in self.stages for row in _funnel(stage)]


def read_run(root: Path) -> RunSummary:
    """Read a run folder, finished or not.

    Raises:
        RunDirError: It is not a run folder.
    """
    resolved = root / "recipe.resolved.json"
    if not resolved.exists():
        raise RunDirError(f"{root} is not a run folder: it has no recipe.resolved.json")
    recipe = json.loads(resolved.read_text(encoding="utf-8"))
    first: dict[str, str] = {}
    for spec in recipe["stages"]:
        if _makes(spec) == "scores":
            first.setdefault(_scored(spec), spec["name"])
    stages = []
    if START in first:
        stages.append(
            _stage(root / START, {"name": START, "type": START, "makes": "model", "inputs": []}, root / first[START])
        )
    for spec in recipe["stages"]:
        own = spec["name"] if _makes(spec) == "scores" else first.get(spec["name"])
        if spec["name"] not in first.values():
            stages.append(_stage(root / spec["name"], spec, root / own if own else None))
    return RunSummary(recipe["name"], stages, recipe, root)


def _makes(spec: Json) -> str:
    """Return what a stage makes; recipes resolved by earlier versions do not say it, but its type does."""
    return spec["makes"] if "makes" in spec else stage_type(spec["type"]).makes


def _scored(spec: Json) -> str:
    return spec["inputs"][0] if spec["inputs"] else START


def _stage(folder: Path, spec: Json, evaluation: Path | None) -> StageSummary:
    if evaluation is not None and not (evaluation / "manifest.json").exists():
        evaluation = None
    return StageSummary(
        name=spec["name"],
        type=spec["type"],
        makes=_makes(spec),
        inputs=tuple(spec["inputs"]),
        manifest=_json(folder / "manifest.json"),
        curve=list(_lines(folder / "metrics.jsonl")),
        evaluation=evaluation,
        scores=(_json(evaluation / "output/scores.json") or {}) if evaluation else {},
        folder=folder,
    )


def _funnel(stage: StageSummary) -> list[FunnelRow]:
    rows = stage.manifest["rows"] if stage.manifest else None
    if not rows or stage.makes == "scores":
        return []
    steps = _json(stage.folder / "output/steps.json")
    if steps:
        names = [f"{stage.name}: {s['step']}" if len(steps) > 1 else stage.name for s in steps]
        return [FunnelRow(n, s["in"], s["kept"], s["dropped"]) for n, s in zip(names, steps, strict=True)]
    return [FunnelRow(stage.name, rows["in"], rows["kept"], rows["dropped"], rows.get("unit", "rows"))]


def chosen_questions(scores: Json, count: int) -> list[str]:
    """Return the identities of a few questions of a benchmark, the same for every stage."""
    questions = sorted(scores["by_question"])
    return Random(0).sample(questions, min(count, len(questions)))


def first_samples(stage: StageSummary, benchmark: str, questions: Sequence[str]) -> list[Json]:
    """Return a stage's first sample for each question that it was asked, in the order of `questions`."""
    if stage.evaluation is None:
        return []
    by_question: dict[str, Json] = {}
    for sample in _lines(stage.evaluation / "output/samples.jsonl", holding=questions):
        if sample["benchmark"] == benchmark and sample["sample_index"] == 0:
            by_question[sample["prompt_id"]] = sample
    # Samples kept by a version that did not write the `problem` beside them show nothing.
    return [by_question[question] for question in questions if "problem" in by_question.get(question, {})]


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _lines(path: Path, *, holding: Sequence[str] | None = None) -> Iterator[Json]:
    """Yield the objects of a JSONL file, only those of lines that hold one of some texts if they are given.

    The last line of a file that is being written may be torn: it has no end then, and is left out.
    """
    if not path.exists():
        return
    with path.open(encoding="utf-8", newline="\n") as lines:
        for line in lines:
            if line.endswith("\n") and (holding is None or any(text in line for text in holding)):
                yield json.loads(line)


def score_name(scores: Json) -> str:
    """Return the name of the main score: `avg@n`."""
    return next(key for key in scores if key.startswith("avg@"))
