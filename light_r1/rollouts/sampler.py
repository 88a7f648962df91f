"""Sampling backends: one interface, `Sampler`, for DPO pairs, difficulty filters, evaluation and GRPO."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

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

    Args:
        max_tokens: Longest completion.
        temperature: 0 is greedy.
        top_p: Nucleus bound.
        top_k: Number of most likely tokens kept; all if `None`.
        seed: Every sample draws from its own stream, seeded by this, its prompt and its index.
    """

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int | None = None
    seed: int = 0


class Sampler(Protocol):
    """What every backend offers."""

    def sample(self, requests: Sequence[Request], params: SamplingParams) -> list[Completion]:
        """Return one completion for each request, in order.

        The same list of requests with the same parameters gives the same completions.
        """
        ...
