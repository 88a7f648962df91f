"""The error that all data tools raise."""

from __future__ import annotations


class DataToolsError(ValueError):
    """Rows, options or a command that cannot be used; the message names the file, row and column, or the option."""
