"""The `sample` step of a data stage: all n responses per question, or fewer where the answer is plain early.

With `risk`, questions are sampled in rounds and given up once their pass rate is outside the window of the
`difficulty` step that follows, and unlikely to come back into it (`data_tools.rollouts.adaptive`). Questions that stay
get all n. Each round draws with a seed of its own and is stored under its own name, so a killed run goes on where it
was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from data_tools.rollouts.adaptive import StopRule, Verdicts, sample_until_settled
from data_tools.rollouts.store import prompt_id
from data_tools.rows.row import Row
from data_tools.tools.difficulty import window_of
from light_r1.errors import StageError
from light_r1.rollouts.collector import Collector, with_responses
from light_r1.rollouts.sampler import SamplingParams


@dataclass(frozen=True, slots=True)
class SampleOptions:
    """Sampling responses from a stage's model (`sample:` of a DPO stage, `sample` step of a data stage).

    Args:
        n: Responses per problem. Light-R1 does not publish it.
        max_tokens: Longest response, in tokens; longer ones count as truncated.
        temperature: Sampling temperature. Light-R1 does not publish it.
        top_p: Nucleus sampling.
        top_k: Only the k likeliest tokens; null for all.
        min_p: Only tokens with at least this share of the likeliest one's probability; null for all.
        repetition_penalty: Above 1, tokens that the text already holds are less likely.
        batch_size: Responses sampled together by the `hf` backend.
    """

    n: int
    max_tokens: int
    temperature: float
    top_p: float = 1.0
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float = 1.0
    batch_size: int = 64


@dataclass(frozen=True, slots=True)
class SampleStepOptions(SampleOptions):
    """A `sample` step of a data stage.

    Args:
        risk: Give a question up when the chance that its pass rate ends inside the next step's window is at most
            this; 0 gives up only what can no longer end inside. Null: every question is sampled n times.
        round_size: Responses per question and round, with `risk`. Larger rounds make larger batches and save less.
    """

    risk: float | None = None
    round_size: int = 2


def stop_rule(options: SampleStepOptions, following: Mapping[str, Any] | None) -> StopRule | None:
    """Return when questions are given up, or None where all are sampled n times.

    Args:
        options: The step's options.
        following: The step behind it.

    Raises:
        StageError: With `risk`, if the next step keeps no window of pass rates.
        DataToolsError: If the numbers make no sense.
    """
    if options.risk is None:
        return None
    settings = dict(following or {})
    window = window_of(**settings) if settings.pop("tool", None) == "difficulty" else None
    if window is None:
        raise StageError("sample.risk: the next step must be `difficulty` with bounds and the interval `point`")
    return StopRule(window, options.n, options.risk)


def sampled(
    collector: Collector,
    questions: Sequence[Row],
    options: SampleStepOptions,
    params: SamplingParams,
    rule: StopRule | None,
    *,
    label: str,
) -> list[Row]:
    """Return the questions with their judged responses.

    Args:
        collector: Samples and judges.
        questions: Rows with `problem` and `answer`.
        options: The step's options.
        params: How to sample; round k draws with the seed moved by the number of samples before it.
        rule: When to give a question up.
        label: Name of the sampling.
    """
    if rule is None:
        samples = collector.collect(questions, options.n, params, label=label)
        return [with_responses(question, records) for question, records in zip(questions, samples, strict=True)]
    drawn: dict[str, list[Row]] = {prompt_id(question): [] for question in questions}

    def draw(requests: Sequence[tuple[Row, int, int]]) -> list[Verdicts]:
        _, first, count = requests[0]  # open questions have the same number of samples
        seed = params.seed + first
        rows = [question for question, _, _ in requests]
        collected = collector.collect(rows, count, replace(params, seed=seed), label=f"{label} from {first}")
        for question, records in zip(rows, collected, strict=True):
            drawn[prompt_id(question)] += records
        return [[record["correct"] for record in records] for records in collected]

    sample_until_settled(questions, draw, rule, step=options.round_size)
    return [with_responses(question, drawn[prompt_id(question)]) for question in questions]
