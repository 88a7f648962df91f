"""What a set of rows looks like: lengths, pass rates, sources, examples, gathered while the rows stream by.

Memory is four bytes per row and number, not the rows. The page is drawn by `data_tools.stats_page`.
"""

from __future__ import annotations

import hashlib
import heapq
from array import array
from collections import Counter
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_tools.pass_rates import count_correct
from data_tools.rows import DataToolsError, Dropped, Row
from data_tools.stats_page import write_page
from data_tools.tool import malformed

_QUANTILES = {"min": 0.0, "p10": 0.1, "median": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
_SHOWN = ("id", "source", "problem", "answer", "pass_rate", "solution")


def stats(
    rows: Iterable[Row],
    *,
    page: str,
    texts: list[str] = ["problem", "solution", "answer", "messages"],  # noqa: B006  never changed
    by: str = "source",
    examples: int = 5,
    seed: int = 0,
) -> Generator[Row | Dropped, None, dict[str, Any]]:
    """Write a page of statistics, HTML with a PNG beside it, and hand all rows on unchanged.

    Args:
        rows: Rows.
        page: The HTML file to write; the picture gets the same name with .png.
        texts: Columns whose lengths are shown, text or messages; those that no row has are left out.
        by: The column that rows are counted by.
        examples: How many rows to show.
        seed: Of the choice of examples.
    """
    if Path(page).suffix.lower() not in (".html", ".htm"):
        raise DataToolsError(f"page: expected a name that ends with .html, found {page!r}")
    return _watched(rows, Path(page), texts, by, examples, seed)


def _watched(
    rows: Iterable[Row], page: Path, texts: list[str], by: str, examples: int, seed: int
) -> Generator[Row | Dropped, None, dict[str, Any]]:
    found = Statistics({column: array("I") for column in texts}, by=by)
    chosen: list[tuple[int, int, Row]] = []  # a heap of the rows with the lowest draws, the highest on top
    for row in rows:
        try:
            found.add(row)
        except DataToolsError as error:
            yield malformed(row, error)
            continue
        entry = (-_draw(row, seed), -found.rows, {name: row[name] for name in _SHOWN if name in row})
        if examples > 0:
            (heapq.heappush if len(chosen) < examples else heapq.heappushpop)(chosen, entry)
        yield row
    found.examples = [shown for _, _, shown in sorted(chosen, key=lambda entry: -entry[1])]
    write_page(page, found)
    return found.summary()


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
        found: dict[str, Any] = {
            "rows": self.rows,
            "chars": {name: quantiles(values) for name, values in self.lengths.items() if values},
            f"by_{self.by}": dict(self.groups.most_common(50)),
        }
        if self.pass_rates:
            found["pass_rate"] = quantiles(self.pass_rates)
        return found


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """Return count, mean and quantiles (each a value that occurs) of at least one number."""
    ordered = sorted(values)
    last = len(ordered) - 1
    found = {name: round(ordered[round(share * last)], 4) for name, share in _QUANTILES.items()}
    return {"n": len(ordered), "mean": round(sum(ordered) / len(ordered), 4), **found}


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


def _draw(row: Row, seed: int) -> int:
    """Return a number drawn for a row by its content."""
    content = f"{seed}:{row.get('problem')}:{row.get('id')}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big")
