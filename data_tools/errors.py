"""The error that all data tools raise."""

from __future__ import annotations


class DataToolsError(ValueError):
    """Input that cannot be read or used; the message names file, row and column."""
