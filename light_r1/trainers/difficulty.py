"""Loss, token accuracy and reward by difficulty, from what TRL's forward returns per token anyway."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

import torch
from datasets import Dataset

_MOST_VALUES = 6  # this many different difficulties get a bucket each; more are cut into quartiles
_QUARTILES = 4


class DifficultyBuckets:
    """Names and bounds of the buckets.

    Args:
        difficulty: Difficulty of every training row.
    """

    def __init__(self, difficulty: Sequence[float]) -> None:
        values = sorted(set(difficulty))
        if len(values) <= _MOST_VALUES:
            self.lower = values
            self.names = [f"{value:g}" for value in values]
        else:
            ordered = sorted(difficulty)
            self.lower = sorted({ordered[len(ordered) * part // _QUARTILES] for part in range(_QUARTILES)})
            upper = [*(f"{value:g}" for value in self.lower[1:]), "up"]
            self.names = [f"{low:g}-{high}" for low, high in zip(self.lower, upper, strict=True)]

    def index(self, difficulty: float) -> int:
        """Return the bucket of a difficulty; values below the first one count as the first."""
        return max(0, bisect_right(self.lower, difficulty) - 1)

    def sums(self, outputs: Any, difficulty: torch.Tensor) -> torch.Tensor:
        """Sum up a batch.

        Args:
            outputs: What TRL's forward returns: `log_probs`, `is_top1` and `label_mask`, each `[rows, tokens - 1]`.
            difficulty: Of each row, `[rows]`; or of each token of several rows packed into one, `[1, tokens]`.

        Returns:
            `[buckets, 3]`: negative log-likelihood, right top-1 predictions, supervised tokens.
        """
        values = torch.stack(
            [-outputs.log_probs.detach().float(), outputs.is_top1.float(), outputs.label_mask.float()], dim=-1
        )
        lower = torch.tensor(self.lower, dtype=torch.float64, device=values.device)
        where = (torch.bucketize(difficulty.to(values.device), lower, right=True) - 1).clamp(min=0)
        if where.dim() == 1:
            where, values = where, values.sum(1)
        else:  # a token's prediction is made one place before it
            where, values = where[0, 1:], values[0]
        return torch.zeros(len(self.names), 3, device=values.device).index_add_(0, where, values)

    def metrics(self, sums: torch.Tensor) -> dict[str, float]:
        """Return loss and accuracy of each bucket that had tokens."""
        values = {}
        for name, (loss, right, tokens) in zip(self.names, sums.tolist(), strict=True):
            if tokens:
                values[f"difficulty/{name}/loss"] = loss / tokens
                values[f"difficulty/{name}/accuracy"] = right / tokens
        return values


class CollatorWithDifficulty:
    """A data collator that hands on the difficulty of rows, or of the tokens of packed rows, as one more tensor.

    Args:
        collator: The trainer's own.
        column: The rows' column.
    """

    KEY = "difficulty"

    def __init__(self, collator: Callable[[list[dict[str, Any]]], dict[str, Any]], column: str) -> None:
        self.collator = collator
        self.column = column

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Collate."""
        difficulty = [row.get(self.column) for row in rows]
        batch = self.collator([{key: value for key, value in row.items() if key != self.column} for row in rows])
        if any(value is None for value in difficulty):
            return batch
        values = torch.tensor(_flat(difficulty), dtype=torch.float64)
        if batch["input_ids"].size(0) != len(rows) or "seq_lengths" in rows[0]:  # flattened to one row
            lengths = _flat([row.get("seq_lengths", len(row["input_ids"])) for row in rows])
            values = values.repeat_interleave(torch.tensor(lengths))
            values = torch.nn.functional.pad(values, (0, batch["input_ids"].size(1) - len(values)))[None]
        batch[self.KEY] = values
        return batch


def _flat(values: Sequence[Any]) -> list[Any]:
    return [item for value in values for item in (value if isinstance(value, list) else [value])]


class DifficultyRewards:
    """Mean rewards by the difficulty of the problem.

    Args:
        values: Difficulty of every training row.
    """

    def __init__(self, values: Sequence[float]) -> None:
        self.values = list(values)
        self._buckets = DifficultyBuckets(self.values)

    def metrics(self, difficulties: Sequence[float], rewards: Sequence[float | None]) -> dict[str, float]:
        """Return the mean reward of each bucket that has one; a reward of `None` is left out."""
        values: dict[int, list[float]] = {}
        for difficulty, reward in zip(difficulties, rewards, strict=True):
            if reward is not None:
                values.setdefault(self._buckets.index(difficulty), []).append(reward)
        names = self._buckets.names
        return {f"difficulty/{names[at]}/reward": sum(some) / len(some) for at, some in sorted(values.items())}


def difficulty_rewards(dataset: Dataset) -> DifficultyRewards | None:
    """Return how to report rewards by difficulty, `None` if not every row has a `difficulty`, or all the same."""
    if "difficulty" not in dataset.column_names:
        return None
    values = list(dataset["difficulty"])
    if not all(isinstance(value, int | float) for value in values) or len(set(values)) < 2:
        return None
    return DifficultyRewards(values)
