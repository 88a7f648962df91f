"""Exceptions of the package: file and line, the fault, what was expected, the nearest valid name.

Every error of the package is a `LightR1Error` and also the kind it specialises, a standard one or `DataToolsError`, so
callers can catch either: `except DataToolsError` catches every fault of data. Validation never raises at the first
fault: it collects `Problem`s and raises them together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from data_tools.errors import DataToolsError
from data_tools.errors import did_you_mean as did_you_mean  # for the whole package


class LightR1Error(Exception):
    """Base class of all errors raised by light_r1."""


class DataError(LightR1Error, DataToolsError):
    """A data file, row or column is not what a stage needs."""


EXPLAINED = (LightR1Error, DataToolsError)
"""What is raised with a sentence for the user: the errors of this package and of `data_tools`."""


class StageError(LightR1Error, RuntimeError):
    """A stage cannot go on: training on what it has would be wrong."""


class RunDirError(LightR1Error, RuntimeError):
    """A run folder is in use, or holds something that does not fit the recipe."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault found before anything was loaded.

    Args:
        where: File and line (`recipe.yaml:41`), or file and row (`data.jsonl row 7`).
        what: The fault, starting with the dotted key it concerns (`dpo.args.max_lenght: no such field`).
        expected: What would have been right, in words. Empty if `what` says it.
        hint: The nearest valid name, or what to do. Empty if there is none.
    """

    where: str
    what: str
    expected: str = ""
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}."
        if self.expected:
            text += f" Expected {self.expected}."
        if self.hint:
            text += f" {self.hint}"
        return text


class RecipeError(LightR1Error, ValueError):
    """A recipe or its data has faults. All of them are in `problems`, in file order."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        noun = "problem" if len(self.problems) == 1 else "problems"
        super().__init__(f"{len(self.problems)} {noun}, nothing was loaded:\n{lines}")

    def __reduce__(self) -> tuple[type[RecipeError], tuple[tuple[Problem, ...]]]:
        return type(self), (self.problems,)
