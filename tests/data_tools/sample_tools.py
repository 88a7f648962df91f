"""Small tools that the tests run; their docstrings are read as those of real tools are."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from data_tools.engine.execution import per_row
from data_tools.errors import DataToolsError
from data_tools.rows.columns import text
from data_tools.rows.row import Dropped, Row

Size = Literal["small", "large"]
LIMIT = 5


def check_short(row: Row, *, max_chars: int) -> Row | Dropped:
    problem = text(row, "problem")
    if problem == "die":
        os._exit(3)
    if problem == "raise":
        raise DataToolsError("this problem raises")
    return Dropped(row, "too_long") if len(problem) > max_chars else {**row, "chars": len(problem)}


def check_chunk(rows: Sequence[Row], *, max_chars: int) -> list[Row | Dropped]:
    return [check_short(row, max_chars=max_chars) for row in rows]


def keep_short(rows: Iterable[Row], *, max_chars: int = LIMIT) -> Iterator[Row | Dropped]:
    """Keep short problems.

    Args:
        rows: Problems.
        max_chars: Longest problem kept,
            in characters.

    Drops:
        too_long: Longer than max_chars.
    """
    if max_chars < 0:
        raise DataToolsError("max_chars: expected 0 or more")
    return per_row(check_short, rows, max_chars=max_chars)


def keep_first_of_each(rows: Iterable[Row]) -> Iterator[Row | Dropped]:
    """Keep the first row of each problem.

    Needs:
        problem: Compared letter by letter.

    Drops:
        copy: Seen before.
    """
    seen: dict[str, Row] = {}
    for row in rows:
        first = seen.setdefault(row["problem"], row)
        yield row if first is row else Dropped(row, "copy", first)
    return {"distinct": len(seen)}


def every_type(
    rows: Iterable[Row],
    *,
    needed: int,
    flag: bool = False,
    rate: float = 0.5,
    size: Size = "small",
    level: Literal[1, 2] = 1,
    files: list[Path] | None = None,
    names: list[str] = [],  # noqa: B006  never changed
    threshold: float | Literal["mean"] = "mean",
) -> Iterator[Row]:
    """Have every type of option.

    Args:
        rows: Any.
        needed: A number
            that has no default.
    """
    yield from rows


def untypable(rows: Iterable[Row], *, table: dict[str, int]) -> Iterator[Row]:
    """Have an option that no command line can say."""
    yield from rows
