"""Rows in, rows out: the one data interface of every tool, and the files that rows live in.

A row is a plain dict. Files are told apart by suffix: `.jsonl`, `.json` (an array, or lines), either of them
also `.gz`, `.xz` or `.zst`, `.parquet`, and a folder (a Hugging Face dataset saved to disk, or shards of the
formats above). Everything streams: neither reading nor writing holds a file in memory. A written file appears
under its name only when it is complete. The formats themselves are in `json_rows` and `tables`.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol

Row = dict[str, Any]
OnError = Literal["stop", "skip"]

log = logging.getLogger(__name__)

_COMPRESSED = (".gz", ".xz", ".zst")
_DATA_SUFFIXES = {".jsonl", ".ndjson", ".json", ".parquet"}


@dataclass(frozen=True, slots=True)
class Dropped:
    """A row that a tool took out.

    Args:
        row: The row as it came in.
        reason: A short name from the tool's documented list, counted in the report.
        match: What the row collided with (an id, a text or a row), where there is one.
    """

    row: Row
    reason: str
    match: Any = None


class DataToolsError(ValueError):
    """Input that cannot be read or used; the message names file, row and column."""


class PlacedRow(dict[str, Any]):
    """A row that knows where it was read, so that a later error can name file and row number.

    Args:
        values: The columns.
        place: File and row in words, `train.jsonl row 7`; rows count from 1.
    """

    __slots__ = ("place",)

    def __init__(self, values: Row, place: str) -> None:
        super().__init__(values)
        self.place = place

    def __reduce__(self) -> tuple[type[PlacedRow], tuple[Row, str]]:
        return PlacedRow, (dict(self), self.place)


def place_of(row: Row) -> str:
    """Say where a row comes from: file and row number, or its id or first words when a tool made it."""
    if isinstance(row, PlacedRow):
        return row.place
    name = row.get("id") or row.get("problem")
    return f"row {str(name)[:60]!r}" if name else "a row"


def file_format(path: str | Path) -> Literal["jsonl", "json", "parquet", "folder"]:
    """Return the format of a path by its suffix.

    Raises:
        DataToolsError: If the suffix is unknown.
    """
    path = Path(path)
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
    last = suffixes[-1] if suffixes else ""
    if last in (".jsonl", ".ndjson"):
        return "jsonl"
    if last == ".json":
        return "json"
    if last == ".parquet":
        return "parquet"
    if path.is_dir() or not path.suffix:
        return "folder"
    raise DataToolsError(
        f"{path}: unknown file type; expected .jsonl or .json (also .gz, .xz, .zst), .parquet, or a folder"
    )


class Faults:
    """What happens to the malformed rows of one file.

    Args:
        path: The file, for messages.
        on_error: `stop` raises, `skip` hands the row to `on_malformed`.
        on_malformed: Receives `Dropped(row, "malformed", message)`.
    """

    def __init__(self, path: Path, on_error: OnError, on_malformed: Callable[[Dropped], None]) -> None:
        self.path, self.on_error, self.on_malformed = path, on_error, on_malformed
        self.number = 0

    def error(self, why: str) -> DataToolsError:
        """Return the error for the current row."""
        return DataToolsError(f"{self.path} row {self.number}: {why}")

    def malformed(self, text: str, why: str) -> None:
        """Raise for, or hand over, the current row."""
        if self.on_error == "stop":
            raise self.error(why)
        row = {"file": str(self.path), "row": self.number, "text": text[:1000]}
        self.on_malformed(Dropped(row, "malformed", str(self.error(why))))


def read_rows(
    path: str | Path, *, on_error: OnError = "stop", on_malformed: Callable[[Dropped], None] | None = None
) -> Iterator[Row]:
    """Yield the rows of a file or folder, streaming.

    Args:
        path: A file or folder in one of the formats of this module.
        on_error: `stop` raises at the first malformed row, `skip` hands it to `on_malformed` and goes on.
        on_malformed: Receives each skipped row as `Dropped(row, "malformed", message)`, where `row` has
            `file`, `row` and the first characters of its `text`. Without it each one is logged as a warning.

    Yields:
        Rows that know their place (`place_of`).

    Raises:
        DataToolsError: If the file is missing, of unknown type, torn, or (with `stop`) has a malformed row.
    """
    path = Path(path)
    if not path.exists():
        raise DataToolsError(f"{path}: no such file")
    if path.is_file() and not path.suffix:
        raise DataToolsError(f"{path}: a file without a suffix; expected .jsonl, .json or .parquet at its end")
    kind = file_format(path)
    if kind == "folder" or path.is_dir():
        yield from _read_folder(path, on_error, on_malformed)
        return
    if kind == "parquet":
        from data_tools.tables import read_parquet

        numbered = read_parquet(path)
    else:
        from data_tools.json_rows import read_json

        numbered = read_json(path, Faults(path, on_error, on_malformed or _warn), lines=kind == "jsonl")
    for number, row in numbered:
        yield PlacedRow(row, f"{path} row {number}")


def _warn(dropped: Dropped) -> None:
    log.warning("skipped a malformed row: %s", dropped.match)


def _read_folder(path: Path, on_error: OnError, on_malformed: Callable[[Dropped], None] | None) -> Iterator[Row]:
    """Yield the rows of a saved dataset, or of all data files lying in the folder, in order of name."""
    from data_tools.tables import dataset_shards, read_arrow

    if shards := dataset_shards(path):
        for number, row in enumerate((row for shard in shards for row in read_arrow(shard)), start=1):
            yield PlacedRow(row, f"{path} row {number}")
        return
    files = sorted(file for file in path.iterdir() if file.is_file() and _DATA_SUFFIXES & set(file.suffixes))
    if not files:
        raise DataToolsError(f"{path}: neither a saved dataset nor a folder of .jsonl, .json or .parquet files")
    for file in files:
        yield from read_rows(file, on_error=on_error, on_malformed=on_malformed)


def count_rows(path: str | Path) -> int | None:
    """Return the number of rows where the format states it (Parquet), else None."""
    path = Path(path)
    if path.is_file() and file_format(path) == "parquet":
        from data_tools.tables import parquet_length

        return parquet_length(path)
    return None


class RowWriter(Protocol):
    """Takes rows one by one; what it wrote appears when its `with` block ends without an error."""

    def write(self, row: Row) -> None:
        """Add a row."""


@contextmanager
def open_writer(path: str | Path) -> Iterator[RowWriter]:
    """Open a file or dataset folder for rows; it replaces `path` whole when the block ends without an error.

    NaN is written to JSON as null, since JSON has no NaN. Parquet and datasets need one type per column and
    give a missing column back as null.

    Raises:
        DataToolsError: For an unknown suffix, a value that the format cannot hold, or a target folder that
            holds anything but a saved dataset.
    """
    path = Path(path)
    kind = file_format(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        if kind == "jsonl" or kind == "json":
            from data_tools.json_rows import open_json_writer

            with open_json_writer(temporary, path.suffix.lower(), array=kind == "json") as writer:
                yield writer
        else:
            from data_tools.tables import open_table_writer, refuse_foreign_folder

            refuse_foreign_folder(path)
            with open_table_writer(temporary, folder=kind == "folder") as table_writer:
                yield table_writer
        if path.is_dir():
            shutil.rmtree(path)
        os.replace(temporary, path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        temporary.unlink(missing_ok=True)


def write_rows(path: str | Path, rows: Iterable[Row]) -> int:
    """Write rows to a file or dataset folder, whole or not at all; see `open_writer`.

    Returns:
        The number of rows written.
    """
    count = 0
    with open_writer(path) as writer:
        for row in rows:
            writer.write(row)
            count += 1
    return count


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
