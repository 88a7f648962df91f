"""Problems and notes that the check of a recipe collects, by dotted key."""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from light_r1.errors import DataError, Problem
from light_r1.recipe.shipped import shown
from light_r1.recipe.sources import find_file
from light_r1.recipe.spec import Recipe


def failure_text(dotted: str, error: Exception) -> str:
    """Return what a user's own code raised, with the file and line where it did."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"{dotted} failed in {shown(Path(last.filename))}:{last.lineno}: {what}"


@dataclass(slots=True)
class Findings:
    """Problems and notes about one recipe, each once.

    Args:
        recipe: The recipe that is checked.
        problems: What is wrong.
        notes: What is legal but worth knowing.
    """

    recipe: Recipe
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def at(self, key: str, what: str, expected: str = "", hint: str = "") -> None:
        """Note a problem of a dotted key, at the place where the key (or what encloses it) was written."""
        self.extend([Problem(str(self.recipe.where.near(key)), f"{key}: {what}", expected, hint)])

    def extend(self, problems: Iterable[Problem]) -> None:
        """Add problems that are not there yet."""
        self.problems += [problem for problem in problems if problem not in self.problems]

    def told(self, key: str) -> bool:
        """Return whether there is a problem of this very key."""
        return any(problem.what.startswith(f"{key}: ") for problem in self.problems)

    def note(self, text: str) -> None:
        """Add a note, once."""
        if text not in self.notes:
            self.notes.append(text)

    def file(self, path: str) -> Path | None:
        """Return the data file that a recipe names, or None if there is none."""
        try:
            return find_file(self.recipe, path)
        except DataError:
            return None
