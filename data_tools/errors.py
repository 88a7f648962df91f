"""The error that all data tools raise."""

from __future__ import annotations


class DataToolsError(ValueError):
    """Rows, options or a command that cannot be used; the message names the file, row and column, or the option.

    Attributes:
        step: The step of a `fold` that raised it, for whoever has to say which; None outside of one.
    """

    step: str | None = None
