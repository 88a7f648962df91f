"""Work budget of comparing one pair of answers, counted per thread.

Values are computed in many small steps; each is cheap and their number is bounded here, whatever lists, sums and
integrals are nested in each other. Arithmetic on long integers and fractions counts by its length.
"""

from __future__ import annotations

import threading

MAX_STEPS = 60_000
"""Steps for one pair of answers, at all points together: about a tenth of a second."""
_WORD_BITS = 512


class TooLarge(ArithmeticError):
    """A value is beyond the magnitude guard: it is not wrong, but it is not computed here."""


class Exhausted(TooLarge):
    """The work was cut short: nothing is known about the value."""


class _Budget(threading.local):
    left = MAX_STEPS


_BUDGET = _Budget()


def renew_budget() -> None:
    """Allow this thread `MAX_STEPS` more steps; `verify` does so for each pair of answers."""
    _BUDGET.left = MAX_STEPS


def spend(steps: int) -> None:
    """Count work against the budget of this thread.

    Raises:
        Exhausted: The budget is used up.
    """
    _BUDGET.left -= steps
    if _BUDGET.left < 0:
        raise Exhausted("more steps than allowed")


def spend_bits(bits: int, *, fraction: bool) -> None:
    """Count an operation on a number of so many bits; fractions are reduced, which costs far more.

    Raises:
        Exhausted: The budget is used up.
    """
    words = bits // _WORD_BITS
    if words > 2:
        spend(words * words // (8 if fraction else 50))
