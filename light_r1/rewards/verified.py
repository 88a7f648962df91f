"""Reward functions that grade the final answer: accuracy, cosine and Kimi's length reward."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

from data_tools.traces.thoughts import THINK_TAGS
from light_r1.errors import LightR1Error
from light_r1.models.chat import checked_tags
from light_r1.rewards.group import GroupReward
from light_r1.rewards.text import Reward
from light_r1.rollouts.judge import Gold, Judge, shared_judge

LogMetric = Callable[[str, float], None]


def right_or_none(
    responses: Sequence[str],
    golds: Sequence[Gold],
    *,
    by: Judge | None = None,
    log_metric: LogMetric | None = None,
) -> list[bool | None]:
    """Return whether each response is right; `None` where the verifier ran out of time or there is no gold answer.

    A response whose answer cannot be read is wrong: otherwise a policy would learn to be unreadable.

    Args:
        responses: Whole responses.
        golds: The answer of each, or several of which each is right.
        by: Who judges; the shared judge of `<think>` tags if `None`.
        log_metric: TRL's, for the verifier's time and its time-outs.
    """
    judging = by or shared_judge(THINK_TAGS)
    before = judging.seconds
    verdicts = judging.verdicts(responses, golds)
    if log_metric is not None and verdicts:
        log_metric("verifier/seconds", judging.seconds - before)
        log_metric("verifier/timeout_share", sum(v.outcome == "timeout" for v in verdicts) / len(verdicts))
        log_metric("verifier/unparsable_share", sum(v.outcome == "unparsable" for v in verdicts) / len(verdicts))
    return [
        None if verdict.outcome == "timeout" or not _has_gold(gold) else verdict.correct
        for verdict, gold in zip(verdicts, golds, strict=True)
    ]


def _has_gold(gold: Gold) -> bool:
    return any(text.strip() for text in ([gold] if isinstance(gold, str) else gold))


def accuracy(
    completions: Sequence[str],
    answer: Sequence[str | list[str]],
    log_metric: LogMetric | None = None,
    **_: Any,
) -> list[float | None]:
    """Return 1 for a right final answer, 0 for a wrong one, `None` where the verifier ran out of time."""
    verdicts = right_or_none(completions, answer, log_metric=log_metric)
    return [None if right is None else float(right) for right in verdicts]


def get_accuracy_reward(
    *,
    correct: float = 1.0,
    wrong: float = 0.0,
    workers: int | None = None,
    deadline_s: float | None = None,
    think_tokens: Sequence[str] = THINK_TAGS,
) -> Reward:
    """Build `accuracy` with other values, other tags, or with its own verifier processes.

    Args:
        correct: Value of a right response.
        wrong: Value of a wrong one.
        workers: Verifier processes of its own, 2 if only `deadline_s` is given. Without both, those that all rewards
            share.
        deadline_s: Seconds one response may take before its process is killed, 2 if only `workers` is given.
        think_tokens: Opening and closing tag of the thought; empty for none.
    """
    tags = checked_tags(think_tokens)
    own = workers is not None or deadline_s is not None
    by = Judge(workers=workers or 2, deadline_s=deadline_s or 2.0, think_tokens=tags) if own else shared_judge(tags)

    def accuracy(
        completions: Sequence[str],
        answer: Sequence[str | list[str]],
        log_metric: LogMetric | None = None,
        **_: Any,
    ) -> list[float | None]:
        verdicts = right_or_none(completions, answer, by=by, log_metric=log_metric)
        return [None if right is None else correct if right else wrong for right in verdicts]

    return accuracy


def get_cosine_reward(
    *,
    max_len: int,
    min_value_wrong: float = -1.0,
    max_value_wrong: float = -0.5,
    min_value_correct: float = 0.5,
    max_value_correct: float = 1.0,
    cap_correct: float | None = None,
    exceeded: float | None = None,
    unit: Literal["tokens", "characters"] = "tokens",
    think_tokens: Sequence[str] = THINK_TAGS,
) -> Reward:
    r"""Build the cosine length reward (Yeo et al. 2502.03373).

    With s = (1 + cos(pi min(len, max_len) / max_len)) / 2, which falls from 1 to 0, a right response gets
    lo + (hi - lo) s with lo = `min_value_correct` at `max_len` and hi = `max_value_correct` at 0; a wrong one runs
    from `min_value_wrong` at 0 to `max_value_wrong` at `max_len`, so that thinking longer costs less than giving up.

    Args:
        max_len: Length at which the schedule ends. Longer responses stay at its end.
        min_value_wrong: Value of an empty wrong response.
        max_value_wrong: Value of a wrong response of `max_len`.
        min_value_correct: Value of a right response of `max_len`.
        max_value_correct: Value of an empty right response.
        cap_correct: Bound on the value of right responses, so that below some length shorter is not better.
            Light-R1 (§4) clips the shortening bonus to stop an early collapse of length; the bound is not published.
        exceeded: Value of any response of `max_len` or more (Yeo: -10); the schedule's end if `None`.
        unit: What lengths count. Open-RS counts characters.
        think_tokens: Opening and closing tag of the thought; empty for none.

    Raises:
        LightR1Error: `max_len` is not positive.
    """
    if max_len < 1:
        raise LightR1Error(f"cosine: max_len must be at least 1, got {max_len}")
    by = shared_judge(checked_tags(think_tokens))

    def value(right: bool, length: int) -> float:
        if exceeded is not None and length >= max_len:
            return exceeded
        swing = 0.5 * (1 + math.cos(math.pi * min(length, max_len) / max_len))
        if not right:
            return max_value_wrong + (min_value_wrong - max_value_wrong) * swing
        reward = min_value_correct + (max_value_correct - min_value_correct) * swing
        return reward if cap_correct is None else min(reward, cap_correct)

    def cosine(
        completions: Sequence[str],
        completion_ids: Sequence[Sequence[int]],
        answer: Sequence[str | list[str]],
        **_: Any,
    ) -> list[float | None]:
        lengths = [len(one) for one in (completion_ids if unit == "tokens" else completions)]
        verdicts = right_or_none(completions, answer, by=by)
        return [
            None if right is None else value(right, length) for right, length in zip(verdicts, lengths, strict=True)
        ]

    return cosine


def get_kimi_length_reward(
    *, unit: Literal["tokens", "characters"] = "tokens", think_tokens: Sequence[str] = THINK_TAGS
) -> Reward:
    """Build the length reward of Kimi k1.5 (2501.12599 §2.3.3): shorter is better within a prompt's group.

    With x = 1/2 - (len - shortest) / (longest - shortest) over the group, a right response gets x, a wrong one
    min(0, x); 0 for all of a group whose lengths are equal. Responses without a verdict get `None`, and count in the
    group's lengths.

    Args:
        unit: What lengths count.
        think_tokens: Opening and closing tag of the thought; empty for none.
    """
    by = shared_judge(checked_tags(think_tokens))

    @GroupReward
    def kimi_length(
        completions: Sequence[str],
        completion_ids: Sequence[Sequence[int]],
        answer: Sequence[str | list[str]],
        **_: Any,
    ) -> list[float | None]:
        lengths = [len(one) for one in (completion_ids if unit == "tokens" else completions)]
        shortest, longest = min(lengths), max(lengths)
        rewards: list[float | None] = []
        for length, right in zip(lengths, right_or_none(completions, answer, by=by), strict=True):
            share = 0.5 - (length - shortest) / (longest - shortest) if longest > shortest else 0.0
            rewards.append(None if right is None else share if right else min(0.0, share))
        return rewards

    return kimi_length
