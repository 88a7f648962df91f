"""A set of rows as numbers."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from data_tools.rollouts.pass_rates import count_correct
from data_tools.rows.row import Row

_QUANTILES = {"min": 0.0, "p10": 0.1, "median": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}


@dataclass(slots=True)
class Statistics:
    """What was counted.

    Args:
        lengths: Column -> characters of each row that has the column as text or messages.
        by: The column that rows are counted by.
        rows: Number of rows.
        groups: Value of `by` -> rows.
        pass_rates: Of each row that has one.
        examples: Some rows, cut down to the columns worth showing.
    """

    lengths: dict[str, array[int]]
    by: str
    rows: int = 0
    groups: Counter[str] = field(default_factory=Counter)
    pass_rates: array[float] = field(default_factory=lambda: array("f"))
    examples: list[Row] = field(default_factory=list)

    def add(self, row: Row) -> None:
        """Count a row.

        Raises:
            DataToolsError: If its counts of right samples are no counts; nothing of it is counted then.
        """
        rate = _pass_rate(row)
        self.rows += 1
        for column, lengths in self.lengths.items():
            length = _chars(row.get(column))
            if length is not None:
                lengths.append(length)
        if self.by in row:
            values = row[self.by] if isinstance(row[self.by], list) else [row[self.by]]
            self.groups.update(str(value) for value in values)
        if rate is not None:
            self.pass_rates.append(rate)

    def summary(self) -> dict[str, Any]:
        """Return all but the examples as numbers: quantiles of lengths and pass rates, counts of groups."""
        numbers: dict[str, Any] = {
            "rows": self.rows,
            "chars": {name: quantiles(values) for name, values in self.lengths.items() if values},
            f"by_{self.by}": dict(self.groups.most_common(50)),
        }
        if self.pass_rates:
            numbers["pass_rate"] = quantiles(self.pass_rates)
        return numbers


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """Return count, mean and quantiles (each a value that occurs) of at least one number."""
    ordered = sorted(values)
    last = len(ordered) - 1
    values_at = {name: round(ordered[round(share * last)], 4) for name, share in _QUANTILES.items()}
    return {"n": len(ordered), "mean": round(sum(ordered) / len(ordered), 4), **values_at}


def _chars(value: Any) -> int | None:
    """Return the length of a text, or of messages together; None for anything else."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, list) and value and all(isinstance(item, Mapping) and "content" in item for item in value):
        return sum(len(item["content"]) for item in value)
    return None


def _pass_rate(row: Row) -> float | None:
    counts = count_correct(row)
    if counts is not None:
        return counts[0] / counts[1] if counts[1] else None
    rate = row.get("pass_rate")
    return float(rate) if isinstance(rate, int | float) else None
