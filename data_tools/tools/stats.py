"""The `stats` tool: lengths, pass rates, sources and examples of rows, gathered as they stream by.

Memory is four bytes per row and number, not the rows. The page is drawn by `data_tools.stats.charts`.
"""

from __future__ import annotations

import hashlib
import heapq
from array import array
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

from data_tools.engine.execution import malformed
from data_tools.errors import DataToolsError
from data_tools.rows.row import Dropped, Row
from data_tools.stats.charts import write_page
from data_tools.stats.summary import Statistics

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
    statistics = Statistics({column: array("I") for column in texts}, by=by)
    chosen: list[tuple[int, int, Row]] = []  # a heap of the rows with the lowest draws, the highest on top
    for row in rows:
        try:
            statistics.add(row)
        except DataToolsError as error:
            yield malformed(row, error)
            continue
        entry = (-_draw(row, seed), -statistics.rows, {name: row[name] for name in _SHOWN if name in row})
        if examples > 0:
            (heapq.heappush if len(chosen) < examples else heapq.heappushpop)(chosen, entry)
        yield row
    statistics.examples = [shown for _, _, shown in sorted(chosen, key=lambda entry: -entry[1])]
    write_page(page, statistics)
    return statistics.summary()


def _draw(row: Row, seed: int) -> int:
    """Return a number drawn for a row by its content."""
    content = f"{seed}:{row.get('problem')}:{row.get('id')}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big")
