"""Scores from judged samples: avg@k, pass@k, cons@k, their standard errors, and paired differences.

A question's samples are not independent of each other, so every standard error is clustered by question: the spread
of the questions' own values over the square root of their number. Pure Python: the report needs no torch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb, sqrt
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
    mean = sum(values) / n
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
    """Return whether the most frequent answer is right (cons@k); ties count by the share of right ones among them.

    Args:
        answers: Normalised answer of each sample; `None` where none was found, which wins no vote.
        right: Whether each sample is right.
    """
    votes = Counter(answer for answer in answers if answer is not None)
    if not votes:
        return 0.0
    most = max(votes.values())
    winners = [answer for answer, count in votes.items() if count == most]
    is_right = {answer: ok for answer, ok in zip(answers, right, strict=True) if answer is not None}
    return sum(is_right[winner] for winner in winners) / len(winners)


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
        `avg@n` with `se`, `pass@k` for each k, `cons@n`, `truncated` (share), `tokens` (mean), `unjudged` (share),
        `questions`, `samples`.
    """
    n = len(questions[0].right)
    average = mean_and_se([question.pass_rate for question in questions])
    flat = [(q, i) for q in questions for i in range(n)]
    found: dict[str, Any] = {"questions": len(questions), "samples": n, f"avg@{n}": average.mean, "se": average.se}
    for k in sorted({k for k in ks if k <= n}):
        values = [pass_at_k(n, sum(value is True for value in q.right), k) for q in questions]
        found[f"pass@{k}"] = mean_and_se(values).mean
    found[f"cons@{n}"] = mean_and_se([consensus(q.answers, [v is True for v in q.right]) for q in questions]).mean
    found["truncated"] = sum(not q.finished[i] for q, i in flat) / len(flat)
    found["tokens"] = sum(q.tokens[i] for q, i in flat) / len(flat)
    found["unjudged"] = sum(q.right[i] is None for q, i in flat) / len(flat)
    return found
