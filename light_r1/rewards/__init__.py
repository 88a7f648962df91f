"""Reward functions for GRPO, by name in recipes or imported; what a verdict is, is decided in `data_tools`.

A reward is TRL's: a function of keyword columns (`completions`, `completion_ids`, `answer`, ...) that returns one
number or `None` for each completion; one that compares the completions of a prompt is a `GroupReward`. `None` means
"cannot say" and leaves the completion out of this reward. One with options is a factory `get_<name>_reward(...)`
whose parameters are the recipe's keys. Completions arrive as whole responses: the trainer puts a forced opening tag
back and keeps special think tokens. What stands behind the thought is graded; a factory that takes `think_tokens`
gets those of the recipe's chat, one used alone takes `<think>`.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from inspect import signature
from typing import Any

from light_r1.errors import LightR1Error, did_you_mean
from light_r1.rewards.text import Reward

REWARDS: dict[str, str] = {
    "accuracy": "light_r1.rewards.verified:get_accuracy_reward",
    "format": "light_r1.rewards.text:get_format_reward",
    "think_format": "light_r1.rewards.text:get_think_format_reward",
    "tag_count": "light_r1.rewards.text:get_tag_count_reward",
    "cosine": "light_r1.rewards.verified:get_cosine_reward",
    "kimi_length": "light_r1.rewards.verified:get_kimi_length_reward",
    "repetition": "light_r1.rewards.text:get_repetition_reward",
    "soft_overlong": "light_r1.rewards.text:get_soft_overlong_reward",
    "language_consistency": "light_r1.rewards.text:get_language_consistency_reward",
}


def load_reward(name: str, *, think_tokens: Sequence[str] | None = None, **options: Any) -> Reward:
    """Return the reward of this name, or of this dotted path `module:function`.

    A function whose name starts with `get_` is called with `options` and returns the reward.

    Args:
        name: The name or the path.
        think_tokens: Opening and closing tag of the thought, for a factory that takes them; others do without.
        **options: Further parameters of the factory.

    Raises:
        LightR1Error: There is no such reward, or it does not take these options.
    """
    path = REWARDS.get(name, name)
    module_name, _, attribute = path.partition(":")
    if not attribute:
        raise LightR1Error(f"reward {name!r} is not one of {list(REWARDS)}. {did_you_mean(name, REWARDS)}")
    function: Any = getattr(import_module(module_name), attribute)
    if attribute.startswith("get_"):
        if think_tokens is not None and "think_tokens" in signature(function).parameters:
            options["think_tokens"] = think_tokens
        return function(**options)
    if options:
        raise LightR1Error(f"reward {name!r} takes no options, got {sorted(options)}")
    return function
