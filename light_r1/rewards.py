"""Reward functions for GRPO, by name in recipes or imported.

A reward is TRL's: a function of keyword columns (`completions`, `completion_ids`, `answer`, ...) that returns one
number or `None` for each completion. `None` means "cannot say" and leaves the completion out of this reward. One with
options is a factory `get_<name>_reward(...)` whose parameters are the recipe's keys. Completions arrive as whole
responses: the trainer puts a forced opening tag back and keeps special think tokens.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from data_tools.verify import Verdict, verify
from light_r1.errors import LightR1Error, did_you_mean

Reward = Callable[..., list[float | None]]

_THINK = re.compile(r"\A\s*<think>(?:(?!</?think>).)*</think>(?:(?!</?think>).)*\Z", re.DOTALL)


def judge(response: str, gold: str | list[str]) -> Verdict:
    """Verify the part of a response behind its thought; an unclosed thought has no answer to grade."""
    if "<think>" in response and "</think>" not in response:
        return Verdict(correct=False, outcome="wrong", reason="the thought was not closed")
    return verify(response.rpartition("</think>")[2], gold)


def accuracy(completions: Sequence[str], answer: Sequence[str | list[str]], **_: Any) -> list[float | None]:
    """Return 1 for a right final answer, 0 for a wrong one, `None` where the verifier ran out of time."""
    verdicts = [judge(text, gold) for text, gold in zip(completions, answer, strict=True)]
    return [None if v.outcome == "timeout" else float(v.correct) for v in verdicts]


def format(completions: Sequence[str], **_: Any) -> list[float | None]:
    """Return 1 if the response is exactly one closed thought followed by text without tags, else 0."""
    return [float(_THINK.match(text) is not None) for text in completions]


def tag_count(completions: Sequence[str], **_: Any) -> list[float | None]:
    """Return 1/2 for each think tag that occurs exactly once (Open-RS, `tag_count`)."""
    return [0.5 * (text.count("<think>") == 1) + 0.5 * (text.count("</think>") == 1) for text in completions]


def get_cosine_reward(
    *,
    max_len: int,
    min_value_wrong: float = -1.0,
    max_value_wrong: float = -0.5,
    min_value_correct: float = 0.5,
    max_value_correct: float = 1.0,
    cap_correct: float | None = None,
) -> Reward:
    r"""Build the cosine length reward (Yeo et al. 2502.03373), in tokens.

    With c = cos(pi min(len, max_len) / max_len), a right response gets lo + (hi - lo)(1 + c)/2 with lo =
    `min_value_correct` at `max_len` and hi = `max_value_correct` at 0; a wrong one runs from `min_value_wrong` at 0
    to `max_value_wrong` at `max_len`, so that thinking longer costs less than giving up.

    Args:
        max_len: Length in tokens at which the schedule ends. Longer responses stay at its end.
        min_value_wrong: Value of an empty wrong response.
        max_value_wrong: Value of a wrong response of `max_len`.
        min_value_correct: Value of a right response of `max_len`.
        max_value_correct: Value of an empty right response.
        cap_correct: Bound on the value of right responses, so that below some length shorter is not better.
            Light-R1 (§4) clips the shortening bonus to stop an early collapse of length; the bound is not published.
    """

    def cosine(
        completions: Sequence[str], completion_ids: Sequence[Sequence[int]], answer: Sequence[str], **_: Any
    ) -> list[float | None]:
        rewards: list[float | None] = []
        for right, ids in zip(accuracy(completions, answer), completion_ids, strict=True):
            if right is None:
                rewards.append(None)
                continue
            swing = 0.5 * (1 + math.cos(math.pi * min(len(ids), max_len) / max_len))
            if right:
                value = min_value_correct + (max_value_correct - min_value_correct) * swing
                rewards.append(value if cap_correct is None else min(value, cap_correct))
            else:
                rewards.append(max_value_wrong + (min_value_wrong - max_value_wrong) * swing)
        return rewards

    return cosine


def get_repetition_reward(*, ngram: int = 40, max_penalty: float = -1.0) -> Reward:
    """Build the n-gram repetition penalty: `max_penalty` times the share of repeated n-grams of words.

    Args:
        ngram: Words per n-gram.
        max_penalty: Penalty of a response that only repeats itself; not positive.

    Raises:
        LightR1Error: `max_penalty` is positive.
    """
    if max_penalty > 0:
        raise LightR1Error(f"repetition: max_penalty must not be positive, got {max_penalty}")

    def repetition(completions: Sequence[str], **_: Any) -> list[float | None]:
        return [max_penalty * _repeated_share(text.lower().split(), ngram) for text in completions]

    return repetition


def _repeated_share(words: Sequence[str], n: int) -> float:
    grams = Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
    total = sum(grams.values())
    return 1 - len(grams) / total if total else 0.0


def get_soft_overlong_reward(*, max_len: int, cache: int) -> Reward:
    """Build DAPO's soft overlong punishment (2503.14476 §3.4), in tokens.

    0 up to `max_len - cache`, then falling linearly to -1 at `max_len`, -1 beyond.

    Args:
        max_len: Length at which the punishment is full.
        cache: Length of the slope.
    """

    def soft_overlong(completion_ids: Sequence[Sequence[int]], **_: Any) -> list[float | None]:
        return [-min(1.0, max(0.0, (len(ids) - (max_len - cache)) / cache)) for ids in completion_ids]

    return soft_overlong


REWARDS: dict[str, str] = {
    "accuracy": "light_r1.rewards:accuracy",
    "format": "light_r1.rewards:format",
    "tag_count": "light_r1.rewards:tag_count",
    "cosine": "light_r1.rewards:get_cosine_reward",
    "repetition": "light_r1.rewards:get_repetition_reward",
    "soft_overlong": "light_r1.rewards:get_soft_overlong_reward",
}


def load_reward(name: str, **options: Any) -> Reward:
    """Return the reward of this name, or of this dotted path `module:function`.

    A function whose name starts with `get_` is called with `options` and returns the reward.

    Raises:
        LightR1Error: There is no such reward, or it does not take these options.
    """
    path = REWARDS.get(name, name)
    module_name, _, attribute = path.partition(":")
    if not attribute:
        raise LightR1Error(f"reward {name!r} is not one of {list(REWARDS)}. {did_you_mean(name, REWARDS)}")
    from importlib import import_module

    function = getattr(import_module(module_name), attribute)
    if attribute.startswith("get_"):
        return function(**options)
    if options:
        raise LightR1Error(f"reward {name!r} takes no options, got {sorted(options)}")
    return function
