"""Scores from judged samples: avg@k, pass@k, cons@k, their standard errors, and paired differences.

A question's samples are not independent of each other, so every standard error is clustered by question: the spread
of the questions' own values over the square root of their number. Pure Python: the report needs no torch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb, sqrt
from random import Random
from typing import Any


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over questions.

    Args:
        mean: The value.
        se: Standard error, clustered by question; 0 for a single question.
        n: Number of questions.
    """

    mean: float
    se: float
    n: int


def mean_and_se(values: Sequence[float]) -> Estimate:
    """Return the mean of one value per question and its standard error.

    Raises:
        ValueError: There is no value.
    """
    n = len(values)
    if n == 0:
        raise ValueError("no questions to average over")
    mean = _mean(values)
    if n == 1:
        return Estimate(mean, 0.0, 1)
    variance = sum((value - mean) ** 2 for value in values) / (n - 1)
    return Estimate(mean, sqrt(variance / n), n)


def paired_difference(after: Mapping[str, float], before: Mapping[str, float]) -> Estimate:
    """Return the mean difference over the questions that both scored, with its standard error.

    Two models are compared on the same questions, so the questions' difficulty cancels: the error is often half of
    that of the difference of two means.

    Raises:
        ValueError: They have no question in common.
    """
    shared = sorted(after.keys() & before.keys())
    return mean_and_se([after[key] - before[key] for key in shared])


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models on the same questions.

    Args:
        change: Mean difference and its standard error.
        low: Lower end of the bootstrap interval of the mean difference.
        high: Upper end.
        better: Questions whose value rose.
        worse: Questions whose value fell.
    """

    change: Estimate
    low: float
    high: float
    better: int
    worse: int


def compare(
    after: Mapping[str, float],
    before: Mapping[str, float],
    *,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Compare two models, question by question, with a percentile bootstrap over questions.

    With few questions, or values all near 0 or 1, the differences are far from normal; the interval does not need
    them to be.

    Args:
        after: Question -> value, e.g. `by_question` of `score_benchmark`.
        before: The same of the model that it is held against.
        level: Share of the draws inside the interval.
        draws: How often the questions are drawn anew, with replacement.
        seed: Seed of the draws.

    Raises:
        ValueError: They have no question in common.
    """
    change = paired_difference(after, before)
    differences = [after[key] - before[key] for key in sorted(after.keys() & before.keys())]
    rng = Random(seed)
    means = sorted(sum(rng.choices(differences, k=change.n)) / change.n for _ in range(draws))
    cut = int(draws * (1 - level) / 2)
    return Comparison(
        change, means[cut], means[-1 - cut], sum(d > 0 for d in differences), sum(d < 0 for d in differences)
    )


def pass_at_k(n: int, correct: int, k: int) -> float:
    """Return the unbiased estimate of the chance that one of k samples is right (Chen et al. 2107.03374, eq. 1).

    Args:
        n: Samples drawn.
        correct: How many were right.
        k: Samples allowed; at most n.

    Raises:
        ValueError: k is not in 1..n.
    """
    if not 1 <= k <= n:
        raise ValueError(f"pass@{k} cannot be estimated from {n} samples")
    return 1.0 - comb(n - correct, k) / comb(n, k)


def consensus(answers: Sequence[str | None], right: Sequence[bool]) -> float:
    """Return whether the most frequent answer is right (cons@k).

    Answers with equally many votes all win: the value is the share of right samples among theirs, as Light-R1's
    evaluation counts it.

    Args:
        answers: Normalised answer of each sample; `None` where none was found, which wins no vote.
        right: Whether each sample is right.
    """
    answered = [(answer, ok) for answer, ok in zip(answers, right, strict=True) if answer is not None]
    votes = Counter(answer for answer, _ in answered)
    if not votes:
        return 0.0
    most = max(votes.values())
    winning = [ok for answer, ok in answered if votes[answer] == most]
    return sum(winning) / len(winning)


@dataclass(frozen=True, slots=True)
class Question:
    """One question's judged samples.

    Args:
        id: Its identity, for paired comparisons.
        right: Whether each sample is right; `None` where the verifier could not tell, which counts as not right.
        answers: Normalised answer of each sample, or `None`.
        tokens: Length of each sample.
        finished: Whether each sample ended by itself.
    """

    id: str
    right: Sequence[bool | None]
    answers: Sequence[str | None]
    tokens: Sequence[int]
    finished: Sequence[bool]

    @property
    def pass_rate(self) -> float:
        """Share of right samples."""
        return sum(value is True for value in self.right) / len(self.right)


def score(questions: Sequence[Question], ks: Sequence[int]) -> dict[str, Any]:
    """Score a benchmark.

    Args:
        questions: Its questions, each with the same number n of samples.
        ks: Values of k for pass@k; those above n are left out.

    Returns:
        `avg@n` with `se`, `pass@k` for each k and `cons@n`, each with its `_se`, `truncated` (share), `tokens`
        (mean), `unjudged` (share), `questions`, `samples`.

    Raises:
        ValueError: There is no question, or they have different numbers of samples.
    """
    counts = {len(question.right) for question in questions}
    if len(counts) != 1:
        raise ValueError(f"every question needs the same number of samples, found {sorted(counts)}")
    n = counts.pop()
    average = mean_and_se([question.pass_rate for question in questions])
    scores: dict[str, Any] = {"questions": len(questions), "samples": n, f"avg@{n}": average.mean, "se": average.se}

    def add(name: str, values: Sequence[float]) -> None:
        estimate = mean_and_se(values)
        scores[name], scores[f"{name}_se"] = estimate.mean, estimate.se

    for k in sorted({k for k in ks if k <= n}):
        add(f"pass@{k}", [pass_at_k(n, sum(value is True for value in q.right), k) for q in questions])
    add(f"cons@{n}", [consensus(q.answers, [value is True for value in q.right]) for q in questions])
    scores["truncated"] = _mean([not finished for q in questions for finished in q.finished])
    scores["tokens"] = _mean([tokens for q in questions for tokens in q.tokens])
    scores["unjudged"] = _mean([value is None for q in questions for value in q.right])
    return scores


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
