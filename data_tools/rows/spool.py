"""Rows kept on disk for tools that read them twice."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from data_tools.rows.row import Row


class Spool:
    """Rows that a tool has to go through twice: the first ones in memory, the rest in a temporary file.

    Use as a context manager; `add` all rows, then iterate as often as needed, in the order they came.

    Args:
        in_memory: How many rows to hold in memory.
    """

    def __init__(self, *, in_memory: int = 20_000) -> None:
        self._limit = in_memory
        self._held: list[Row] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._file: Any = None

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
        if self._folder is not None:
            self._folder.cleanup()

    def add(self, row: Row) -> None:
        """Keep a row for later."""
        if len(self._held) < self._limit:
            self._held.append(row)
            return
        import pickle  # only ever read back by this very process

        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="data_tools-")
            self._file = (Path(self._folder.name) / "rows.pickle").open("w+b")
        pickle.dump(row, self._file, protocol=pickle.HIGHEST_PROTOCOL)

    def __iter__(self) -> Iterator[Row]:
        yield from self._held
        if self._file is None:
            return
        import pickle

        self._file.flush()
        end = self._file.tell()
        self._file.seek(0)
        while self._file.tell() < end:
            yield pickle.load(self._file)
