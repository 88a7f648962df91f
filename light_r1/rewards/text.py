"""Reward functions on the format, length, repetition and language of a response, not on its answer.

Formula and source of each are in `docs/rewards.md`. Lengths are in tokens unless a `unit` says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Literal

from data_tools.traces.languages import LANGUAGES, read_language
from data_tools.traces.thoughts import THINK_TAGS
from light_r1.errors import LightR1Error, did_you_mean
from light_r1.models.chat import checked_tags

Reward = Callable[..., list[float | None]]


def get_format_reward(*, think_tokens: Sequence[str] = THINK_TAGS) -> Reward:
    """Build the reward that is 1 if a response is exactly one closed thought followed by text without tags, else 0.

    Args:
        think_tokens: Opening and closing tag; without any, every response has the format.
    """
    tags = checked_tags(think_tokens)

    def format(completions: Sequence[str], **_: Any) -> list[float | None]:
        return [_has_format(text, tags) for text in completions]

    return format


def get_think_format_reward(
    *, opening_tag: Literal["required", "in_template"] = "required", think_tokens: Sequence[str] = THINK_TAGS
) -> Reward:
    """Build `format` for completions that start behind an opening tag of the chat template.

    `StagedGRPOTrainer` puts a forced opening tag back, so its completions have one. In plain TRL trainers with a
    template that ends in `<think>` (DeepSeek-R1-Distill, Light-R1) they have not.

    Args:
        opening_tag: `required`: as `format`. `in_template`: a response must not open a thought, only close it.
        think_tokens: As `get_format_reward` takes them.
    """
    tags = checked_tags(think_tokens)

    def think_format(completions: Sequence[str], **_: Any) -> list[float | None]:
        return [_has_format(text, tags, opened=opening_tag == "required") for text in completions]

    return think_format


def _has_format(text: str, tags: Sequence[str], *, opened: bool = True) -> float:
    if not tags:
        return 1.0
    opening, closing = tags
    begins = text.lstrip().startswith(opening) or not opened
    return float(begins and text.count(opening) == opened and text.count(closing) == 1)


def get_tag_count_reward(*, think_tokens: Sequence[str] = THINK_TAGS) -> Reward:
    """Build the reward that is 1/2 for each think tag that occurs exactly once (Open-RS, `tag_count`).

    Args:
        think_tokens: Opening and closing tag; without any, every response gets 1.
    """
    tags = checked_tags(think_tokens)

    def tag_count(completions: Sequence[str], **_: Any) -> list[float | None]:
        return [1 - sum(text.count(tag) != 1 for tag in tags) / 2 for text in completions]

    return tag_count


def get_repetition_reward(
    *, ngram: int = 40, max_penalty: float = -1.0, unit: Literal["words", "tokens"] = "words"
) -> Reward:
    """Build the n-gram repetition penalty: `max_penalty` times the share of repeated n-grams.

    Args:
        ngram: Words or tokens per n-gram.
        max_penalty: Penalty of a response that only repeats itself; not positive.
        unit: `words`: lower-cased, between blanks; `tokens`: also for languages that are written without blanks.

    Raises:
        LightR1Error: `max_penalty` is positive, or `ngram` is not.
    """
    if max_penalty > 0:
        raise LightR1Error(f"repetition: max_penalty must not be positive, got {max_penalty}")
    if ngram < 1:
        raise LightR1Error(f"repetition: ngram must be at least 1, got {ngram}")

    def repetition(
        completions: Sequence[str], completion_ids: Sequence[Sequence[int]] | None = None, **_: Any
    ) -> list[float | None]:
        parts: Sequence[Sequence[Hashable]] = [text.lower().split() for text in completions]
        if unit == "tokens":
            assert completion_ids is not None, "repetition by tokens needs completion_ids"
            parts = completion_ids
        return [max_penalty * repeated_share(part, ngram) for part in parts]

    return repetition


def repeated_share(items: Sequence[Hashable], n: int) -> float:
    """Return 1 - distinct n-grams / n-grams; 0 if there is no n-gram."""
    total = len(items) - n + 1
    if total < 1:
        return 0.0
    return 1 - len({tuple(items[i : i + n]) for i in range(total)}) / total


def get_soft_overlong_reward(*, max_len: int, cache: int) -> Reward:
    """Build DAPO's soft overlong punishment (2503.14476 §3.4), in tokens.

    0 up to `max_len - cache`, then falling linearly to -1 at `max_len`, -1 beyond.

    Args:
        max_len: Length at which the punishment is full.
        cache: Length of the slope.

    Raises:
        LightR1Error: `cache` is not between 1 and `max_len`.
    """
    if not 1 <= cache <= max_len:
        raise LightR1Error(f"soft_overlong: cache must be between 1 and max_len={max_len}, got {cache}")

    def soft_overlong(completion_ids: Sequence[Sequence[int]], **_: Any) -> list[float | None]:
        return [-min(1.0, max(0.0, (len(ids) - (max_len - cache)) / cache)) for ids in completion_ids]

    return soft_overlong


def get_language_consistency_reward(*, language: str = "en", think_tokens: Sequence[str] = THINK_TAGS) -> Reward:
    """Build the language consistency reward of DeepSeek-R1 (2501.12948 §2.3.2): the share of one language's letters.

    By script: letters of a response that belong to the scripts of `language`, over all letters, maths, LaTeX commands,
    code and Greek letters left out. A response without letters gets 1. Languages of one script are not told apart.

    Args:
        language: Code of a language that `data_tools.traces.languages` knows.
        think_tokens: Tags, whose letters do not count.

    Raises:
        LightR1Error: It does not know the language.
    """
    if language not in LANGUAGES:
        raise LightR1Error(
            f"language_consistency: {language!r} is not one of {sorted(LANGUAGES)}. "
            f"{did_you_mean(language, LANGUAGES)}"
        )
    tags = checked_tags(think_tokens)
    # Latin letters are names and terms elsewhere, but a Chinese answer written in English is not consistent.
    scripts = [script for script in LANGUAGES[language] if script != "latin"] or ["latin"]

    def language_consistency(completions: Sequence[str], **_: Any) -> list[float | None]:
        return [_script_share(text, scripts, tags) for text in completions]

    return language_consistency


def _script_share(text: str, scripts: Sequence[str], tags: Sequence[str]) -> float:
    for tag in tags:
        text = text.replace(tag, " ")
    shares = read_language(text).scripts
    return sum(shares.get(script, 0.0) for script in scripts) if shares else 1.0
