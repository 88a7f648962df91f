"""Rows in, rows out: the one data interface of every tool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Dropped:
    """A row that a tool took out.

    Args:
        row: The row as it came in.
        reason: A short name from the tool's documented list, counted in the report.
        match: What the row collided with (an id, a text or a row), where there is one.
    """

    row: Row
    reason: str
    match: Any = None


class DataToolsError(ValueError):
    """Input that cannot be read or used; the message names file, row and column."""
