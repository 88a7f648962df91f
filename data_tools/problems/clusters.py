"""Clusters of duplicate rows: members, the row that is kept, contradicting answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from data_tools.answers.verify import verify
from data_tools.rows.row import Row

Criterion = Literal["answer", "source", "solution"]


class Clusters:
    """Sets of rows joined pair by pair (union-find).

    Args:
        rows: Number of rows.
    """

    def __init__(self, rows: int) -> None:
        self._parent = list(range(rows))

    def find(self, row: int) -> int:
        """Return the first row of a row's set."""
        root = row
        while self._parent[root] != root:
            root = self._parent[root]
        while self._parent[row] != root:
            self._parent[row], row = root, self._parent[row]
        return root

    def join(self, one: int, other: int) -> None:
        """Put the sets of two rows together."""
        first, second = sorted((self.find(one), self.find(other)))
        self._parent[second] = first

    def groups(self) -> list[list[int]]:
        """Return the sets of at least two rows, each in order, in order of their first rows."""
        members: dict[int, list[int]] = {}
        for row in range(len(self._parent)):
            members.setdefault(self.find(row), []).append(row)
        return [rows for rows in members.values() if len(rows) > 1]


def best_row(rows: Sequence[Row], criteria: Sequence[Criterion], sources: Sequence[str]) -> int:
    """Return the position of the copy to keep.

    Args:
        rows: The copies.
        criteria: What decides, the first one first: `answer` (has one), `source` (earliest in `sources`), `solution`
            (longest text). Ties go to the first row.
        sources: Sources in order of preference; others come last.
    """

    def merit(position: int) -> tuple[float, ...]:
        row = rows[position]
        merits = {
            "answer": float(bool(str(row.get("answer") or "").strip())),
            "source": -float(sources.index(row["source"]) if row.get("source") in sources else len(sources)),
            "solution": float(len(str(row.get("solution") or ""))),
        }
        return (*(merits[name] for name in criteria), -float(position))

    return max(range(len(rows)), key=merit)


def different_answers(answers: Iterable[object]) -> list[str]:
    """Return the answers that the verifier finds different from each other; empty answers do not count.

    Args:
        answers: The final answers of one problem's copies.
    """
    different: list[str] = []
    for value in answers:
        answer = str(value).strip() if value is not None else ""
        if answer and not any(answer == seen or verify(answer, seen).correct for seen in different):
            different.append(answer)
    return different
