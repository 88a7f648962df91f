"""Sampling that stops early on questions whose pass rate is already outside the window.

Filtering by difficulty samples every question n times, though most are settled long before: after five right
answers of five, hardly any question ends below 10 of 16. Here a question is given up when two things hold: its
pass rate so far is outside the window, and the chance that n samples end inside it is below `risk`. The chance is
that of the beta-binomial distribution: what is known of the pass rate after k of m right answers is
Beta(k + 1/2, m - k + 1/2), Jeffreys' prior updated. Questions that stay are sampled n times, so what is kept has full
pass rates, and `difficulty` reads early-stopped questions as what they are: outside.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from data_tools.errors import DataToolsError
from data_tools.rollouts.pass_rates import Window
from data_tools.rollouts.store import prompt_id
from data_tools.rows.row import Row

Verdicts = Sequence[bool | None]
Draw = Callable[[Sequence[tuple[Row, int, int]]], Sequence[Verdicts]]

_PRIOR = 0.5  # Jeffreys: pass rates of real sets pile up at 0 and 1


@dataclass(frozen=True, slots=True)
class StopRule:
    """When to give a question up.

    Args:
        window: The pass rates to keep.
        n: Samples of a question that is not given up.
        risk: Highest chance of ending inside the window at which a question is given up; the default is measured
            (benchmarks/difficulty.py: 40% fewer samples, half a percent decided otherwise). 0 gives up only what
            can no longer end inside it.
    """

    window: Window
    n: int
    risk: float = 0.02

    def __post_init__(self) -> None:
        if self.n < 1 or not 0 <= self.risk < 1:
            raise DataToolsError(f"expected n of 1 or more and 0 <= risk < 1, found {self.n} and {self.risk}")

    def gives_up(self, n_correct: int, n_judged: int, n_left: int) -> bool:
        """Whether to stop sampling a question.

        Args:
            n_correct: Right samples so far.
            n_judged: Judged samples so far.
            n_left: Samples not drawn yet.
        """
        if n_judged == 0 or n_left == 0 or self.window.reason(n_correct / n_judged) is None:
            return False
        return chance_inside(self.window, n_correct, n_judged, n_left) <= self.risk


@lru_cache(maxsize=65_536)
def chance_inside(window: Window, n_correct: int, n_judged: int, n_left: int) -> float:
    """Return the chance that the pass rate lies in the window once all samples are drawn.

    Args:
        window: The window.
        n_correct: Right samples so far.
        n_judged: Judged samples so far.
        n_left: Samples not drawn yet.
    """
    right, wrong = n_correct + _PRIOR, n_judged - n_correct + _PRIOR
    total = n_judged + n_left
    inside = [more for more in range(n_left + 1) if window.reason((n_correct + more) / total) is None]
    return math.fsum(
        math.comb(n_left, more) * math.exp(_log_beta(right + more, wrong + n_left - more) - _log_beta(right, wrong))
        for more in inside
    )


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def sample_until_settled(
    questions: Sequence[Row],
    draw: Draw,
    rule: StopRule,
    *,
    step: int = 1,
    drawn: Mapping[str, Verdicts] | None = None,
) -> dict[str, list[bool | None]]:
    """Sample questions in rounds until each is given up or has n samples.

    Args:
        questions: Rows with a problem; equal problems are sampled once.
        draw: Takes (question, index of the first sample, number of samples) for every open question of a round,
            and returns the verdicts of the new samples for each; None is a sample that could not be judged.
        rule: When to give up.
        step: Samples per question and round. Larger steps make larger batches and save less.
        drawn: Prompt id -> verdicts that exist already, in order of their index (a rollout store's).

    Returns:
        Prompt id -> verdicts in order.
    """
    if step < 1:
        raise DataToolsError(f"step: expected 1 or more, found {step}")
    by_id = {prompt_id(question): question for question in questions}
    verdicts = {name: list((drawn or {}).get(name, ()))[: rule.n] for name in by_id}
    while requests := [
        (name, (question, len(verdicts[name]), min(step, rule.n - len(verdicts[name]))))
        for name, question in by_id.items()
        if _is_open(verdicts[name], rule)
    ]:
        answers = draw([request for _, request in requests])
        for (name, (_, _, count)), new in zip(requests, answers, strict=True):
            if len(new) != count:
                raise DataToolsError(f"asked for {count} samples of question {name}, got {len(new)}")
            verdicts[name].extend(new)
    return verdicts


def _is_open(verdicts: Verdicts, rule: StopRule) -> bool:
    judged = [verdict for verdict in verdicts if verdict is not None]
    left = rule.n - len(verdicts)
    return left > 0 and not rule.gives_up(sum(judged), len(judged), left)
