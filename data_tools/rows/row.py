"""A row, a row that was dropped and why, and how rows that cannot be read are dealt with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from data_tools.errors import DataToolsError

Row = dict[str, Any]
OnError = Literal["stop", "skip"]


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


class PlacedRow(dict[str, Any]):
    """A row that knows where it was read, so that a later error can name file and row number.

    Args:
        values: The columns.
        place: File and row in words, `train.jsonl row 7`; rows count from 1.
    """

    __slots__ = ("place",)

    def __init__(self, values: Row, place: str) -> None:
        super().__init__(values)
        self.place = place

    def __reduce__(self) -> tuple[type[PlacedRow], tuple[Row, str]]:
        return PlacedRow, (dict(self), self.place)


def place_of(row: Row) -> str:
    """Say where a row comes from: file and row number, or its id or first words when a tool made it."""
    if isinstance(row, PlacedRow):
        return row.place
    name = row.get("id") or row.get("problem")
    return f"row {str(name)[:60]!r}" if name else "a row"


class Faults:
    """What happens to the malformed rows of one file.

    Args:
        path: The file, for messages.
        on_error: `stop` raises, `skip` hands the row to `on_malformed`.
        on_malformed: Receives `Dropped(row, "malformed", message)`.
    """

    def __init__(self, path: Path, on_error: OnError, on_malformed: Callable[[Dropped], None]) -> None:
        self.path, self.on_error, self.on_malformed = path, on_error, on_malformed
        self.number = 0

    def error(self, why: str) -> DataToolsError:
        """Return the error for the current row."""
        return DataToolsError(f"{self.path} row {self.number}: {why}")

    def malformed(self, text: str, why: str) -> None:
        """Raise for, or hand over, the current row."""
        if self.on_error == "stop":
            raise self.error(why)
        row = {"file": str(self.path), "row": self.number, "text": text[:1000]}
        self.on_malformed(Dropped(row, "malformed", str(self.error(why))))
