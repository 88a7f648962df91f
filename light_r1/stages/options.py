"""Keys of a stage beside name, type, from, data, model and args: what each stage type takes.

Dataclasses only, without torch: their fields are the keys of the recipe, read from this source during
validation and printed as JSON Schema. Values the papers do not publish have no default.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from light_r1.pairs import PairOptions


@dataclass(frozen=True, slots=True)
class SampleOptions:
    """Sampling responses from a stage's model (`sample:` of a DPO stage, `sample` step of a data stage).

    Args:
        n: Responses per problem. Light-R1 does not publish it.
        max_tokens: Longest response, in tokens; longer ones count as truncated.
        temperature: Sampling temperature. Light-R1 does not publish it.
        top_p: Nucleus sampling.
        top_k: Only the k likeliest tokens; null for all.
        batch_size: Responses sampled together by the `hf` backend.
    """

    n: int
    max_tokens: int
    temperature: float
    top_p: float = 1.0
    top_k: int | None = None
    batch_size: int = 64


@dataclass(frozen=True, slots=True)
class SFTOptions:
    """An `sft` stage has no keys of its own."""


@dataclass(frozen=True, slots=True)
class EvaluateOptions:
    """An `evaluate` stage has no keys of its own."""


@dataclass(frozen=True, slots=True)
class DataArgs:
    """A `data` stage has its options in `steps`, none in `args`."""


@dataclass(frozen=True, slots=True)
class DataOptions:
    """Keys of a `data` stage.

    Args:
        steps: Tools applied in order, each a mapping with `tool` and that tool's options.
    """

    steps: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class DPOOptions:
    """Keys of a `dpo` stage.

    Args:
        sample: How responses are sampled; without it rows must carry `responses`, or `chosen` and `rejected`.
        pairs: How pairs are built from judged responses; null for the defaults of `PairOptions`.
        rounds: How often to sample, pair and train; each round samples the policy that the last one has made.
        reference: What later rounds are held against: `refresh` takes the policy at the start of the round, `keep`
            the one at the start of the stage.
    """

    sample: SampleOptions | None = None
    pairs: PairOptions | None = None
    rounds: int = 1
    reference: Literal["refresh", "keep"] = "refresh"


@dataclass(frozen=True, slots=True)
class GRPOOptions:
    """Keys of a `grpo` stage.

    Args:
        rewards: Reward functions: a name of `light_r1.rewards` or `module:function`, or a mapping with
            `name`, `weight` and the parameters of that reward.
    """

    rewards: list[str | dict[str, Any]]


@dataclass(frozen=True, slots=True)
class MergeOptions:
    """Keys of a `merge` stage.

    Args:
        base: What task vectors are taken against (TIES, DARE-TIES): `model` or a stage.
    """

    base: str | None = None


@dataclass(frozen=True, slots=True)
class MergeArgs:
    """How models are merged (`args:` of a `merge` stage).

    Args:
        method: `linear`, `slerp`, `ties` (arXiv 2306.01708) or `dare_ties` (arXiv 2311.03099).
        weights: One per model; equal ones if null. For `slerp`, the second is the fraction of the way.
        densities: Share of each task vector that is kept, one per model; needed by `ties` and `dare_ties`.
        scale: Factor on the merged task vector.
        normalize: Divide by the sum of the weights.
    """

    method: Literal["linear", "slerp", "ties", "dare_ties"]
    weights: list[float] | None = None
    densities: list[float] | None = None
    scale: float = 1.0
    normalize: bool = True


@dataclass(frozen=True, slots=True)
class EvaluateArgs:
    """Overrides of the recipe's `evaluate` block for one `evaluate` stage; null leaves the block's value."""

    n: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    max_tokens: int | None = None
    k: list[int] | None = None
    batch_size: int | None = None
