"""Data stages (`type: data`): tools of `data_tools` in order, and sampling for pass rates in between."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from data_tools.engine.catalogue import option_table, tool_doc
from data_tools.engine.fold import fold
from data_tools.rows.files import read_rows, write_rows
from data_tools.rows.row import Row
from light_r1.recipe.check.findings import Findings
from light_r1.recipe.check.rows import REWRITES, Sample, check_answers, need
from light_r1.recipe.cost.estimate import Estimate, Work, add_sampling
from light_r1.recipe.sources import find_file
from light_r1.recipe.spec import Recipe, StageSpec
from light_r1.run_dir.files import write_json
from light_r1.run_dir.manifest import RowCounts
from light_r1.stages.base import Kind, Stage, StageJob, StageResult
from light_r1.stages.rows import stage_rows

SAMPLE = "sample"


@dataclass(frozen=True, slots=True)
class DataOptions:
    """Keys of a `data` stage.

    Args:
        steps: Tools applied in order, each a mapping with `tool` and that tool's options.
    """

    steps: list[dict[str, Any]]


class DataStage(Stage):
    """Sends the rows of `data` through `steps`.

    A step is a tool of `data_tools` with its options, or `sample`, which draws n responses per question from the
    model of `from`, judges them, and adds `responses`, `n`, `n_correct` and `pass_rate` to each row (`sampling.py`).
    """

    makes: ClassVar[Kind] = "rows"
    output = "rows.jsonl"
    options_class = "light_r1.stages.data:DataOptions"
    reads: ClassVar[tuple[Literal["model", "chat", "sampler"], ...]] = ("model", "chat", "sampler")
    data = "required"
    models = (1, 1)

    def files(self, spec: StageSpec, recipe: Recipe) -> dict[str, Path]:
        """Return the files that the steps' options name."""
        named: dict[str, Path] = {}
        for step in spec.options["steps"]:
            if step["tool"] == SAMPLE:
                continue
            for key, value in _options(step, recipe).items():
                paths = value if isinstance(value, list) else [value]
                if not option_table(step["tool"])[key].written:
                    named.update({f"{step['tool']}.{key}.{p.name}": p for p in paths if isinstance(p, Path)})
        return named

    def run(self, job: StageJob) -> StageResult:
        """Run the steps: tools on rank 0, sampling on every rank."""
        from light_r1.stages.policy import write_dropped

        assert job.spec.data is not None
        rows: Sequence[Row] = stage_rows(job, job.spec.data)
        seen, dropped, counts = len(rows), [], []
        segments = _segments(job.spec.options["steps"])
        for number, steps in enumerate(segments):
            if steps[0]["tool"] == SAMPLE:
                following = segments[number + 1][0] if number + 1 < len(segments) else None
                rows = self._sample(job, rows, steps[0], following)
                continue
            handed = job.dir.path / "steps" / f"{number}.jsonl"
            if job.ranks.is_main:
                stream = fold(
                    rows,
                    [(step["tool"], _options(step, job.recipe, job.dir.output)) for step in steps],
                    on_dropped=lambda step, item: dropped.append((step, item)),
                )
                write_rows(handed, stream)
                counts += stream.counts
            job.ranks.barrier()
            rows = list(read_rows(handed))
        if job.ranks.is_main:
            write_rows(job.dir.output / self.output, rows)
            write_json(
                job.dir.output / "steps.json",
                [{"step": c.step, "in": c.rows_in, "kept": c.kept, "dropped": dict(c.dropped)} for c in counts],
            )
        write_dropped(job, dropped)
        job.ranks.barrier()
        reasons = Counter(f"{step}: {item.reason}" for step, item in dropped)
        return StageResult(_metrics(rows), RowCounts(seen, len(rows), dict(reasons)))

    def _sample(
        self, job: StageJob, questions: Sequence[Row], step: dict[str, Any], following: dict[str, Any] | None
    ) -> list[Row]:
        from light_r1.stages.policy import Policy, sampling_params
        from light_r1.stages.sampling import SampleStepOptions, sampled, stop_rule

        options = SampleStepOptions(**{key: value for key, value in step.items() if key != "tool"})
        rule = stop_rule(options, following)
        collector = Policy(job).collector(job, job.dir.path, batch_size=options.batch_size)
        params = sampling_params(options, job.recipe.seed)
        return sampled(collector, questions, options, params, rule, label=job.spec.name)

    def check_rows(self, spec: StageSpec, sample: Sample, findings: Findings) -> None:
        """Check the columns that the steps read, up to the first step that may add some."""
        added: set[str] = set()
        for step in spec.options.get("steps", []):
            tool = step["tool"]
            if tool == "sample":
                if need(sample, ("problem", "answer"), f"stage {spec.name} (sample)", findings):
                    check_answers(sample, findings)
                added |= {"responses", "n", "n_correct", "pass_rate"}
                continue
            columns = tuple(column for column in tool_doc(tool).needs if column not in added)
            # A tool drops the rows that it can do nothing with, and says so.
            need(replace(sample, mended=True), columns, f"stage {spec.name} ({tool})", findings)
            if tool in REWRITES:
                return

    def estimate(self, work: Work) -> Estimate:
        """Estimate sampling; tools take no device."""
        rows = work.rows.count
        estimate = Estimate(rows=rows)
        for step in work.stage.options.get("steps", []):
            if step["tool"] == "sample" and rows is not None:
                tokens = rows.times(step["n"] * step["max_tokens"]).at_most()
                estimate = add_sampling(work, replace(estimate, sampled=tokens), step["max_tokens"])
        return estimate

    def less_memory(self, spec: StageSpec, recipe: Recipe) -> str:
        """Name the settings of sampling."""
        return "Lower batch_size or max_tokens, with which it samples."


def _segments(steps: Iterable[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Cut the steps before and after each `sample`."""
    segments: list[list[dict[str, Any]]] = []
    for step in steps:
        if step["tool"] == SAMPLE or not segments or segments[-1][0]["tool"] == SAMPLE:
            segments.append([])
        segments[-1].append(step)
    return segments


def _options(step: dict[str, Any], recipe: Recipe, written: Path | None = None) -> dict[str, Any]:
    """Return a tool's options: files it reads looked up as data files are, files it writes put into `written`."""
    values = {}
    for key, value in step.items():
        if key != "tool":
            option = option_table(step["tool"])[key]
            is_file = "Path" in option.kinds and value is not None
            if is_file and option.written:
                values[key] = written / Path(value).name if written else value
            else:
                values[key] = _found(value, recipe) if is_file else value
    return values


def _found(value: Any, recipe: Recipe) -> Any:
    return [find_file(recipe, item) for item in value] if isinstance(value, list) else find_file(recipe, value)


def _metrics(rows: Sequence[Row]) -> dict[str, float]:
    rates = [row["pass_rate"] for row in rows if row.get("pass_rate") is not None]
    return {"mean_pass_rate": sum(rates) / len(rates)} if rates else {}
