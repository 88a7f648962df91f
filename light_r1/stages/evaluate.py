"""Scoring a model on benchmarks (`type: evaluate`): n samples per question, judged, kept, averaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

from data_tools.traces.thoughts import THINK_TAGS, behind_thought
from light_r1.errors import DataError
from light_r1.recipe.check.findings import Findings
from light_r1.recipe.cost.estimate import Estimate, Work, add_sampling
from light_r1.recipe.spec import EvaluateSpec, Recipe, SourceSpec, StageSpec
from light_r1.run_dir.files import write_json
from light_r1.run_dir.manifest import RowCounts
from light_r1.stages.base import Kind, Stage, StageJob, StageResult


@dataclass(frozen=True, slots=True)
class EvaluateArgs:
    """Overrides of the recipe's `evaluate` block for one `evaluate` stage; null leaves the block's value."""

    n: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    max_tokens: int | None = None
    k: list[int] | None = None
    batch_size: int | None = None


class EvaluateStage(Stage):
    """Scores the model of `from` on the benchmarks of the recipe's `evaluate` block; `args` override its sampling.

    Every sample is kept in `output/samples.jsonl`; a run that was cut off goes on behind the last whole group.
    """

    makes: ClassVar[Kind] = "scores"
    output = "scores.json"
    args_class = "light_r1.stages.evaluate:EvaluateArgs"
    reads: ClassVar[tuple[Literal["model", "chat", "evaluate", "sampler"], ...]] = (
        "model",
        "chat",
        "evaluate",
        "sampler",
    )
    data = "none"
    models = (1, 1)

    def run(self, job: StageJob) -> StageResult:
        """Sample, judge and score each benchmark."""
        from light_r1.recipe.sources import source_rows
        from light_r1.rollouts.collector import Collector
        from light_r1.stages.policy import Policy, sampling_params

        settings = evaluate_settings(job.recipe, job.spec)
        params = sampling_params(settings, job.recipe.seed)
        collector: Collector = Policy(job).collector(job, job.dir.path, batch_size=settings.batch_size)
        scores: dict[str, Any] = {}
        samples: list[dict[str, Any]] = []
        for name, source in settings.benchmarks.items():
            questions = source_rows(job.recipe, source, name)
            _check(name, source, questions)
            records = collector.collect(questions, settings.n, params, label=f"{job.spec.name} {name}")
            scores[name] = score_benchmark(
                questions, records, settings.k or (1, settings.n), job.recipe.chat.think_tokens
            )
            samples += _samples(name, questions, records)
        if job.ranks.is_main:
            from data_tools.rows.files import write_rows

            write_rows(job.dir.output / "samples.jsonl", samples)
            write_json(job.dir.output / self.output, scores)
        job.ranks.barrier()
        tokens = sum(sample["n_tokens"] for sample in samples)
        metrics = {
            f"{name}/{key}": float(value)
            for name, result in scores.items()
            for key, value in result.items()
            if isinstance(value, int | float)
        }
        return StageResult(metrics, RowCounts(len(samples), len(samples)), tokens)

    def check(self, spec: StageSpec, findings: Findings, *, world_size: int) -> None:
        """Check that there are benchmarks, and that n serves the metrics and the temperature."""
        block = findings.recipe.evaluate
        if not spec.implicit and not (block and block.benchmarks):
            findings.at(spec.name, "there is nothing to evaluate on", "an evaluate block with benchmarks")
        if block is None:
            return
        prefix = "evaluate" if spec.implicit else f"{spec.name}.args"

        def value(name: str) -> tuple[Any, str]:
            own = spec.args.get(name)
            return (own, f"{prefix}.{name}") if own is not None else (getattr(block, name), f"evaluate.{name}")

        n, n_key = value("n")
        ks, k_key = value("k")
        temperature, _ = value("temperature")
        for k in ks or ():
            if k > n:
                findings.at(k_key, f"pass@{k} needs {k} samples, n is {n}", f"k of at most {n}")
        if temperature == 0 and n > 1:
            findings.at(n_key, f"at temperature 0 all {n} samples are the same", "n: 1, or a temperature above 0")

    def estimate(self, work: Work) -> Estimate:
        """Estimate sampling: n completions a question, each as long as allowed."""
        settings, questions = evaluate_settings(work.recipe, work.stage), work.rows.count
        if questions is None:
            return Estimate()
        estimate = Estimate(rows=questions, sampled=questions.times(settings.n * settings.max_tokens).at_most())
        return add_sampling(work, estimate, settings.max_tokens)

    def less_memory(self, spec: StageSpec, recipe: Recipe) -> str:
        """Name the settings of sampling."""
        batch = f" (now {recipe.evaluate.batch_size})" if recipe.evaluate else ""
        return f"Lower batch_size{batch} or max_tokens, with which it samples."


def evaluate_settings(recipe: Recipe, spec: StageSpec) -> EvaluateSpec:
    """Return the recipe's `evaluate` block with the stage's args over it."""
    block = recipe.evaluate or EvaluateSpec()
    known = {name: getattr(block, name) for name in EvaluateSpec.__dataclass_fields__}
    overrides = {key: value for key, value in spec.args.items() if value is not None}
    if "k" in overrides:
        overrides["k"] = tuple(overrides["k"])
    return EvaluateSpec(**{**known, **overrides})


def score_benchmark(
    questions: Sequence[dict[str, Any]],
    records: Sequence[Sequence[dict[str, Any]]],
    ks: Sequence[int],
    think_tokens: Sequence[str] = THINK_TAGS,
) -> dict[str, Any]:
    """Score judged samples; adds `by_question`, the pass rate of each, for paired comparisons.

    Where questions have a `difficulty`, adds `by_difficulty`: the mean pass rate of each value.
    """
    from light_r1.rollouts.scores import Question, score

    judged = [
        Question(
            id=group[0]["prompt_id"],
            right=[record["correct"] for record in group],
            answers=[_answer(record["text"], think_tokens) for record in group],
            tokens=[record["n_tokens"] for record in group],
            finished=[record["finished"] for record in group],
        )
        for group in records
    ]
    scores = score(judged, ks)
    scores["by_question"] = {question.id: question.pass_rate for question in judged}
    rates: dict[str, list[float]] = {}
    for row, question in zip(questions, judged, strict=True):
        if row.get("difficulty") is not None:
            rates.setdefault(str(row["difficulty"]), []).append(question.pass_rate)
    if len(rates) > 1:
        scores["by_difficulty"] = {key: sum(rates[key]) / len(rates[key]) for key in sorted(rates, key=_in_order)}
    return scores


def _in_order(difficulty: str) -> tuple[bool, float, str]:
    """Return a key that sorts numbers as numbers and before words."""
    try:
        return (False, float(difficulty), "")
    except ValueError:
        return (True, 0.0, difficulty)


def _samples(
    name: str, questions: Sequence[dict[str, Any]], records: Sequence[Sequence[dict[str, Any]]]
) -> list[dict[str, Any]]:
    """Return the samples for people to read; token ids stay in the rollout store."""
    samples = []
    for question, group in zip(questions, records, strict=True):
        fields = {"benchmark": name, "problem": question["problem"], "answer": question["answer"]}
        samples += [{**fields, **{k: v for k, v in record.items() if k != "completion_ids"}} for record in group]
    return samples


def _answer(text: str, think_tokens: Sequence[str] = THINK_TAGS) -> str | None:
    from data_tools.answers.normalize import clean, squashed
    from data_tools.answers.verify import candidates

    behind = behind_thought(text, think_tokens)
    answers = candidates(behind) if behind is not None else []
    return squashed(clean(answers[0])) if answers else None


def _check(name: str, source: SourceSpec, questions: Sequence[dict[str, Any]]) -> None:
    if not questions:
        raise DataError(f"evaluate.benchmarks.{name}: no rows in {asdict(source)}")
    for number, row in enumerate(questions):
        missing = [column for column in ("problem", "answer") if row.get(column) in (None, "", [])]
        if missing:
            raise DataError(
                f"evaluate.benchmarks.{name} row {number}: no {' and no '.join(missing)}; "
                f"the columns are {', '.join(sorted(row))}"
            )
