"""Pass rates: counted from rollouts, with their uncertainty, and the window of those to keep.

A pass rate of 1 in 2 is not one of 50 in 100, so a Wilson interval can decide instead of the point.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Literal

from data_tools.errors import DataToolsError
from data_tools.rollouts.store import read_rollouts
from data_tools.rows.columns import missing_column
from data_tools.rows.row import Row, place_of

Interval = Literal["point", "overlaps", "inside"]


def wilson_interval(n_correct: int, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval of the true pass rate (Wilson 1927).

    Args:
        n_correct: Right samples.
        n: Judged samples, at least 1.
        confidence: Of the interval, two-sided.
    """
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    rate = n_correct / n
    centre = rate + z * z / (2 * n)
    half = z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low = 0.0 if n_correct == 0 else (centre - half) / scale
    high = 1.0 if n_correct == n else (centre + half) / scale
    return low, high


@dataclass(frozen=True, slots=True)
class Window:
    """The pass rates to keep.

    Args:
        low: Lower bound.
        high: Upper bound.
        low_inclusive: Whether the lower bound itself is kept.
        high_inclusive: Whether the upper bound itself is kept.
        mixed: Keep only problems with at least one right and one wrong sample.
    """

    low: float = 0.0
    high: float = 1.0
    low_inclusive: bool = True
    high_inclusive: bool = True
    mixed: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high <= 1:
            bounds = f"{self.low} and {self.high}"
            raise DataToolsError(f"pass rates need 0 <= min <= max <= 1, found {bounds}")

    def below(self, rate: float) -> bool:
        """Whether a rate is under the window."""
        return rate < self.low or (rate == self.low and not self.low_inclusive)

    def above(self, rate: float) -> bool:
        """Whether a rate is over the window."""
        return rate > self.high or (rate == self.high and not self.high_inclusive)

    def reason(self, rate: float) -> str | None:
        """Return why a pass rate is outside (all_wrong, all_right, too_hard, too_easy), or None if inside."""
        if self.mixed and rate in (0.0, 1.0):
            return "all_right" if rate else "all_wrong"
        if self.below(rate):
            return "too_hard"
        return "too_easy" if self.above(rate) else None

    def interval_reason(self, rate: float, bounds: tuple[float, float], *, interval: Interval) -> str | None:
        """Return why a pass rate is outside when its interval decides, or None if inside.

        Args:
            rate: The point estimate.
            bounds: Its interval.
            interval: `overlaps`: inside if the interval touches the window; `inside`: only if the whole
                interval lies in the window, else `uncertain`; `point`: the rate alone decides.
        """
        outside = self.reason(rate)
        if interval == "point" or outside in ("all_right", "all_wrong"):
            return outside
        low, high = bounds
        if self.above(low):
            return "too_easy"
        if self.below(high):
            return "too_hard"
        if interval == "inside" and (self.below(low) or self.above(high)):
            return "uncertain"
        return None


def count_correct(row: Row) -> tuple[int, int] | None:
    """Return (right, judged) samples of a row, or None if it carries none.

    Read from `responses` or `rollouts` (lists whose items have `correct`; null is not judged), else from
    `n_correct` and `n` (or `sample_n`, as some sets call it).

    Raises:
        DataToolsError: If those columns hold something else.
    """
    for column in ("responses", "rollouts"):
        samples = row.get(column)
        if isinstance(samples, list) and all(isinstance(s, Mapping) and "correct" in s for s in samples):
            judged = [bool(sample["correct"]) for sample in samples if sample["correct"] is not None]
            return sum(judged), len(judged)
    n_correct, n = row.get("n_correct"), row.get("n", row.get("sample_n"))
    if n_correct is None or n is None:
        return None
    if not isinstance(n_correct, int) or not isinstance(n, int) or not 0 <= n_correct <= n:
        raise DataToolsError(f"{place_of(row)}: n_correct {n_correct!r} and n {n!r} are no counts")
    return n_correct, n


def published_rate(row: Row, column: str) -> tuple[float | None, tuple[int, int] | None]:
    """Return a published pass rate (None if it is null) and, where it is written `k/n`, its counts.

    Raises:
        DataToolsError: If the column is missing or holds no rate.
    """
    if column not in row:
        raise DataToolsError(missing_column(row, column))
    value = row[column]
    if value is None:
        return None, None
    if isinstance(value, str) and value.count("/") == 1:
        right, _, n = value.partition("/")
        if right.strip().isdecimal() and n.strip().isdecimal() and 0 < int(n) >= int(right):
            return int(right) / int(n), (int(right), int(n))
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
        return float(value), None
    raise DataToolsError(f"{place_of(row)}: column `{column}` holds no pass rate (0 to 1, or k/n): {value!r}")


def store_counts(path: Path, *, model: str | None = None) -> dict[str, tuple[int, int]]:
    """Return prompt id -> (right, judged) of a rollout store.

    Args:
        path: The store.
        model: Count only this model's samples.
    """
    counts: dict[str, tuple[int, int]] = {}
    for record in read_rollouts(path, model=model):
        if record.get("correct") is not None:
            right, n = counts.get(record["prompt_id"], (0, 0))
            counts[record["prompt_id"]] = right + bool(record["correct"]), n + 1
    return counts
