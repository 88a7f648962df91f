"""GRPO metrics that TRL does not log: share with gradient, right and unclosed completions, kept tokens by length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from data_tools.traces.thoughts import behind_thought
from light_r1.trainers.grpo.window import carries_gradient

if TYPE_CHECKING:
    from light_r1.trainers.grpo.interface import StagedTrainer

_LENGTHS = 4
GRADIENT = "gradient_share"
UNCLOSED = "completions/unclosed_ratio"
PASS_RATE = "completions/pass_rate"
ZERO_VARIANCE = "groups/zero_variance_share"
ALL_RIGHT = "groups/all_right_share"


def gradient_rows(advantages: torch.Tensor, loss_mask: torch.Tensor) -> torch.Tensor:
    """Count the completions that carry gradient.

    Args:
        advantages: `[rows]`.
        loss_mask: `[rows, tokens]`, 0 where a token has no loss.
    """
    return ((advantages != 0) & loss_mask.any(dim=1)).sum()


def totals_of(rewards: torch.Tensor, weights: torch.Tensor) -> list[float | None]:
    """Return the weighted sum of each completion's rewards, `None` where it has none.

    Args:
        rewards: `[completions, functions]`, NaN where there is no reward.
        weights: `[functions]`.
    """
    sums = (rewards * weights.to(rewards.device)).nansum(dim=1).tolist()
    unscorable = rewards.isnan().all(dim=1).tolist()
    return [None if missing else total for missing, total in zip(unscorable, sums, strict=True)]


def verdict_index(names: Sequence[str]) -> int:
    """Return which reward function says that a completion is right, by a value above 0: `accuracy`, or the first."""
    return names.index("accuracy") if "accuracy" in names else 0


def is_informative(rewards: torch.Tensor, weights: torch.Tensor, aggregation: str) -> bool:
    """Whether the rewards of a group differ, so that its advantages are not all zero.

    Args:
        rewards: `[completions, functions]`, NaN where there is no reward.
        weights: `[functions]`.
        aggregation: TRL's `multi_objective_aggregation`.
    """
    if aggregation == "normalize_then_sum":
        columns = (rewards * weights.to(rewards.device)).T.tolist()
        return any(carries_gradient(None if value != value else value for value in column) for column in columns)
    return carries_gradient(totals_of(rewards, weights))


def reward_metrics(trainer: StagedTrainer, rewards: torch.Tensor, ids: list[list[int]]) -> dict[str, float]:
    """Return how many completions are right and how many groups tell nothing; to be called on every rank.

    Args:
        trainer: Whose completions they are.
        rewards: `[completions of all ranks, functions]`, NaN where there is no reward; the groups follow each other.
        ids: Token ids of this rank's completions.

    Returns:
        Shares. That of thoughts that never close is there for models with think tags, that of right completions where
        any has a verdict.
    """
    groups = rewards.cpu().split(trainer.num_generations)
    column = verdict_index(trainer.reward_func_names)
    verdicts = [[value > 0 for value in group[:, column].tolist() if value == value] for group in groups]
    informative = [
        is_informative(group, trainer.reward_weights.cpu(), trainer.multi_objective_aggregation) for group in groups
    ]
    metrics = {
        ZERO_VARIANCE: 1 - sum(informative) / len(groups),
        ALL_RIGHT: sum(bool(group) and all(group) for group in verdicts) / len(groups),
    }
    if judged := sum(map(len, verdicts)):
        metrics[PASS_RATE] = sum(map(sum, verdicts)) / judged
    if tags := trainer.chat.think_tokens:
        unclosed = [float(behind_thought(trainer.chat.response_text(one), tags) is None) for one in ids]
        shares = torch.tensor(unclosed, device=trainer.accelerator.device)
        metrics[UNCLOSED] = trainer.accelerator.gather(shares).mean().item()
    return metrics


def length_bounds(longest: int) -> list[int]:
    """Return the upper bounds of the lengths by which importance sampling is reported: quarters of the longest."""
    return sorted({-(-longest * part // _LENGTHS) for part in range(1, _LENGTHS + 1)})


def kept_by_length(
    ratio: torch.Tensor,
    mask: torch.Tensor,
    bounds: Sequence[int],
    *,
    clip_min: float | None,
    clip_max: float | None,
) -> torch.Tensor:
    """Sum up which part of each completion importance sampling leaves as it was sampled.

    Args:
        ratio: `[rows, tokens]` or `[rows, 1]`, clipped or masked by TRL.
        mask: `[rows, tokens]`, 1 for the tokens of completions.
        bounds: Upper bounds of the lengths.
        clip_min: Lowest ratio that is kept.
        clip_max: Highest ratio that is kept.

    Returns:
        `[lengths, 2]`: the sum of the completions' kept shares, and their number.
    """
    kept = ratio > (clip_min or 0.0)
    if clip_max is not None:
        kept = kept & (ratio < clip_max)
    lengths = mask.sum(dim=1)
    share = (kept * mask).sum(dim=1) / lengths.clamp(min=1)
    where = torch.bucketize(lengths, torch.tensor(bounds, device=lengths.device)).clamp(max=len(bounds) - 1)
    rows = torch.stack([share, torch.ones_like(share)], dim=1)[lengths > 0]
    return torch.zeros(len(bounds), 2, device=rows.device).index_add_(0, where[lengths > 0], rows)


def named_by_length(sums: torch.Tensor, bounds: Sequence[int]) -> dict[str, float]:
    """Return the kept share of each length that has completions."""
    lower = [1, *(bound + 1 for bound in bounds[:-1])]
    return {
        f"sampling/kept/{low}-{high}": kept / rows
        for low, high, (kept, rows) in zip(lower, bounds, sums.tolist(), strict=True)
        if rows
    }


def generation_metrics(
    trainer: StagedTrainer, output: dict[str, Any], *, sampled: int, seconds: float
) -> dict[str, float]:
    """Return what TRL does not log of a generation; to be called on every rank.

    Args:
        trainer: Whose completions they are.
        output: What the trainer makes of its completions.
        sampled: Completions sampled for it on all ranks.
        seconds: Time that the rewards took on this rank.
    """
    accelerator, args = trainer.accelerator, trainer.args
    mask = output["completion_mask"] * output.get("tool_mask", 1)
    carried = accelerator.reduce(gradient_rows(output["advantages"], mask), reduction="sum").item()
    # All ranks wait for the slowest.
    slowest = accelerator.gather(torch.tensor([seconds], device=accelerator.device)).max().item()
    metrics = {GRADIENT: carried / sampled, "reward_seconds": slowest}
    if "importance_sampling_ratio" in output:
        bounds = length_bounds(args.max_completion_length)
        clip = {"clip_min": args.vllm_importance_sampling_clip_min, "clip_max": args.vllm_importance_sampling_clip_max}
        sums = kept_by_length(output["importance_sampling_ratio"], mask, bounds, **clip)
        metrics |= named_by_length(accelerator.reduce(sums, reduction="sum"), bounds)
    return metrics
