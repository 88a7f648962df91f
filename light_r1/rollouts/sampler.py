"""Sampling backends: one interface, `Sampler`, for DPO pairs, difficulty filters, evaluation and GRPO."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from light_r1.errors import LightR1Error

SAMPLERS = {
    "hf": "light_r1.rollouts.hf:from_chat",
    "openai": "light_r1.rollouts.openai:from_chat",
    "vllm": "light_r1.rollouts.vllm:from_chat",
}
READS_FROM_DISK = frozenset({"vllm"})  # backends that load the weights themselves, from the path in the model's config


@dataclass(frozen=True, slots=True)
class Request:
    """One completion to sample.

    Args:
        prompt_id: Identity of the prompt; with `sample_index` it seeds the sample.
        sample_index: Which of the prompt's samples this is.
        prompt_ids: Token ids of the generation prompt.
    """

    prompt_id: str
    sample_index: int
    prompt_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Completion:
    """One sampled completion.

    Args:
        request: What was asked.
        completion_ids: Sampled ids; the end token is the last one if the model wrote it.
        finished: Whether the model ended the completion itself. `False` means the length limit cut it.
    """

    request: Request
    completion_ids: list[int]
    finished: bool


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How to sample.

    The settings mean what they mean in transformers, in its order: penalty, temperature, `top_k`, `top_p`, `min_p`.

    Args:
        max_tokens: Longest completion.
        temperature: 0 is greedy.
        top_p: Nucleus bound.
        top_k: Number of most likely tokens kept; all if `None` or 0.
        seed: Every sample draws from its own stream, seeded by this, its prompt and its index.
        min_p: Least probability kept, as a share of the likeliest token's; all if `None`.
        repetition_penalty: Positive logits of tokens that the prompt or the completion holds are divided by this,
            negative ones multiplied; 1 is none.

    Raises:
        LightR1Error: A value is out of its range.
    """

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int | None = None
    seed: int = 0
    min_p: float | None = None
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        """Refuse values that samplers would each read in their own way."""
        for name, holds, expected in (
            ("max_tokens", self.max_tokens >= 1, "at least 1"),
            ("temperature", self.temperature >= 0, "at least 0"),
            ("top_p", 0 < self.top_p <= 1, "above 0 and at most 1"),
            ("top_k", self.top_k is None or self.top_k >= 0, "at least 0, or None for all"),
            ("min_p", self.min_p is None or 0 <= self.min_p <= 1, "from 0 to 1, or None"),
            ("repetition_penalty", self.repetition_penalty > 0, "above 0"),
        ):
            if not holds:
                raise LightR1Error(f"SamplingParams.{name}: got {getattr(self, name)}, expected a number {expected}.")


class Sampler(Protocol):
    """What every backend offers."""

    def sample(self, requests: Sequence[Request], params: SamplingParams) -> list[Completion]:
        """Return one completion for each request, in order.

        The same list of requests with the same parameters gives the same completions.
        """
        ...
