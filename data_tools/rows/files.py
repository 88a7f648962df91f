"""Rows in, rows out: the one data interface of every tool, and the files that rows live in.

A row is a plain dict. Files are told apart by suffix: `.jsonl`, `.json` (an array, or lines), either of them
also `.gz`, `.xz` or `.zst`, `.parquet`, and a folder (a Hugging Face dataset saved to disk, or shards of the
formats above). Everything streams: neither reading nor writing holds a file in memory. A written file appears
under its name only when it is complete (`written_whole`). The formats themselves are in `json_files.py` and
`table_files.py`.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, Protocol

from data_tools.errors import DataToolsError
from data_tools.rows.row import Dropped, Faults, OnError, PlacedRow, Row

log = logging.getLogger(__name__)

_COMPRESSED = (".gz", ".xz", ".zst")
_DATA_SUFFIXES = {".jsonl", ".ndjson", ".json", ".parquet"}


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
        from data_tools.rows.table_files import read_parquet

        numbered = read_parquet(path)
    else:
        from data_tools.rows.json_files import read_json

        numbered = read_json(path, Faults(path, on_error, on_malformed or _warn), lines=kind == "jsonl")
    for number, row in numbered:
        yield PlacedRow(row, f"{path} row {number}")


def _warn(dropped: Dropped) -> None:
    log.warning("skipped a malformed row: %s", dropped.match)


def _read_folder(path: Path, on_error: OnError, on_malformed: Callable[[Dropped], None] | None) -> Iterator[Row]:
    """Yield the rows of a saved dataset, or of all data files lying in the folder, in order of name."""
    from data_tools.rows.table_files import dataset_shards, read_arrow

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
        from data_tools.rows.table_files import parquet_length

        return parquet_length(path)
    return None


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """Lend a temporary name for a file or folder, which replaces `path` when the block ends without an error.

    Whoever reads, also after a crash or a power cut, finds the old content or the new one, never a part of either. A
    folder that is replaced is moved aside first: between two renames there is none under its name.

    Args:
        path: The file or folder to be; missing parent folders are made.

    Yields:
        The temporary name. Nothing is left under it after an error.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, old = (path.with_name(f".{path.name}.{os.getpid()}.{end}") for end in ("tmp", "old"))
    try:
        yield temporary
        for file in filter(Path.is_file, [temporary, *temporary.rglob("*")]):
            with file.open("r+b") as stream:
                os.fsync(stream.fileno())
        if path.is_dir():
            os.replace(path, old)
        os.replace(temporary, path)
        sync_folder(path.parent)
        _remove(old)
    finally:
        _remove(temporary)
        if old.exists() and not path.exists():
            os.replace(old, path)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder survive a power cut, where the system can (not on Windows)."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


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
    with written_whole(path) as temporary:
        if kind == "jsonl" or kind == "json":
            from data_tools.rows.json_files import open_json_writer

            with open_json_writer(temporary, path.suffix.lower(), array=kind == "json") as writer:
                yield writer
        else:
            from data_tools.rows.table_files import open_table_writer, refuse_foreign_folder

            refuse_foreign_folder(path)
            with open_table_writer(temporary, folder=kind == "folder") as table_writer:
                yield table_writer


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
