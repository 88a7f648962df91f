"""The error that all data tools raise, and the hint that errors end with."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class DataToolsError(ValueError):
    """Rows, options or a command that cannot be used; the message names the file, row and column, or the option.

    Attributes:
        step: The step of a `fold` that raised it, for whoever has to say which; None outside of one.
    """

    step: str | None = None


def did_you_mean(name: str, valid: Iterable[str], *, cutoff: float = 0.6) -> str:
    """Return `Did you mean X?` for the nearest of `valid`, or an empty string when none is near."""
    near = get_close_matches(name, list(valid), n=1, cutoff=cutoff)
    return f"Did you mean {near[0]}?" if near else ""
