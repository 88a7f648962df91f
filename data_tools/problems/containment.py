"""Containment of a benchmark problem in a text, by n-grams of maths tokens.

Each benchmark problem is cut into windows of five tokens (`data_tools.problems.signature`): LaTeX in one spelling,
number words read, requests in one wording, variables blanked so that renaming them changes nothing. The score is the
share of its windows that a text has. Numbers stay in the first score; the second one blanks them too and sees copies
in which only numbers were changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from data_tools.problems.signature import Token, signature

WINDOW = 5


@dataclass(frozen=True, slots=True)
class Contained:
    """The benchmark problem of which a text contains the largest share.

    Args:
        number: Its place among the benchmark's problems.
        share: Share of its windows in the text, from 0 to 1.
    """

    number: int
    share: float


class ContainmentIndex:
    """Finds texts that contain a benchmark's problem.

    Args:
        problems: The benchmark's problems.
        numbers: Whether numbers must be the same.
        min_windows: Problems with fewer windows are left out: they say too little.
    """

    def __init__(self, problems: Sequence[str], *, numbers: bool, min_windows: int) -> None:
        self._numbers = numbers
        self._problems: dict[tuple[str, ...], list[int]] = {}
        self._windows: list[int] = []
        for number, problem in enumerate(problems):
            windows = self._cut(signature(problem).tokens)
            self._windows.append(len(windows))
            if len(windows) >= min_windows:
                for window in windows:
                    self._problems.setdefault(window, []).append(number)

    def find(self, tokens: Sequence[Token]) -> Contained | None:
        """Return what the tokens of a text contain most of, or None."""
        hits: Counter[int] = Counter()
        for window in self._cut(tokens):
            numbers = self._problems.get(window)
            if numbers is not None:
                hits.update(numbers)
        if not hits:
            return None
        best = max(hits, key=lambda number: (hits[number] / self._windows[number], -number))
        return Contained(best, hits[best] / self._windows[best])

    def _cut(self, tokens: Sequence[Token]) -> set[tuple[str, ...]]:
        texts = [_blanked(token, self._numbers) for token in tokens]
        return set(zip(*(texts[start:] for start in range(WINDOW)), strict=False))


def _blanked(token: Token, numbers: bool) -> str:
    if token.kind == "variable":
        return "variable "
    if token.kind == "run":
        return f"run{len(token.text)} "
    return "number " if token.kind == "number" and not numbers else token.text
