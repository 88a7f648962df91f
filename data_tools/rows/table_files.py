"""Rows in Parquet files and in datasets that Hugging Face `datasets` saved to disk.

Both need one type per column. The rows are therefore spooled to a temporary Arrow-free file first while the
common schema is found, then written in batches: two passes, bounded memory, and no column lost because it was
missing from the first row.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

from data_tools.errors import DataToolsError
from data_tools.rows.row import Row, place_of
from data_tools.rows.spool import Spool

_BATCH = 1000


def read_parquet(path: Path) -> Iterator[tuple[int, Row]]:
    """Yield (row number from 1, row) of a Parquet file, a batch at a time.

    Raises:
        DataToolsError: If the file is not Parquet or is torn.
    """
    with _reading(path, "Parquet file"), pq.ParquetFile(path) as file:
        batches = (batch.to_pylist() for batch in file.iter_batches(batch_size=_BATCH))
        yield from enumerate((row for batch in batches for row in batch), start=1)


def parquet_length(path: Path) -> int:
    """Return the number of rows that a Parquet file states.

    Raises:
        DataToolsError: If the file is not Parquet or is torn.
    """
    with _reading(path, "Parquet file"):
        return int(pq.read_metadata(path).num_rows)


@contextmanager
def _reading(path: Path, kind: str) -> Iterator[None]:
    """Name the file in what a torn or foreign one makes its reader raise."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, LookupError) as error:
        raise DataToolsError(f"{path}: not a readable {kind} ({error})") from error


def dataset_shards(path: Path) -> list[Path]:
    """Return the Arrow files of a dataset saved to disk, in order; empty if the folder is none.

    Raises:
        DataToolsError: If the folder holds several splits, which the message names, or its state is torn.
    """
    splits, state = path / "dataset_dict.json", path / "state.json"
    if splits.exists():
        with _reading(splits, "list of splits"):
            names = json.loads(splits.read_text(encoding="utf-8"))["splits"]
        raise DataToolsError(f"{path}: holds several splits, name one: {', '.join(f'{path}/{n}' for n in names)}")
    if not state.exists():
        return []
    with _reading(state, "list of shards"):
        return [path / file["filename"] for file in json.loads(state.read_text(encoding="utf-8"))["_data_files"]]


def read_arrow(path: Path) -> Iterator[Row]:
    """Yield the rows of one Arrow stream file.

    Raises:
        DataToolsError: If the file is torn.
    """
    with (
        _reading(path, "dataset file"),
        pa.memory_map(str(path)) as source,
        pa.ipc.open_stream(source) as stream,
    ):
        for batch in stream:
            for start in range(0, batch.num_rows, _BATCH):
                yield from batch.slice(start, _BATCH).to_pylist()


def refuse_foreign_folder(path: Path) -> None:
    """Raise unless `path` may be replaced by a dataset: absent, a file, empty, or a saved dataset.

    Raises:
        DataToolsError: If the folder holds something else.
    """
    if path.is_dir() and any(path.iterdir()) and not (path / "state.json").exists():
        raise DataToolsError(f"{path}: refusing to replace a folder that is not a saved dataset")


class _TableWriter:
    """Spools rows and finds the schema that holds them all."""

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self.schema = pa.schema([])
        self._batch: list[Row] = []

    def write(self, row: Row) -> None:
        self._batch.append(row)
        self.spool.add(row)
        if len(self._batch) >= _BATCH:
            self.settle()

    def settle(self) -> None:
        """Merge the types of the last rows into the schema."""
        for name in dict.fromkeys(name for row in self._batch for name in row):
            column = [row.get(name) for row in self._batch]
            try:
                schema = pa.schema([(name, pa.array(column).type)])
                self.schema = pa.unify_schemas([self.schema, schema], promote_options="permissive")
            except (pa.ArrowException, UnicodeEncodeError, OverflowError) as error:
                kinds = sorted({type(value).__name__ for value in column if value is not None})
                raise DataToolsError(
                    f"{place_of(self._batch[0])} and the rows after it: column `{name}` has no single type "
                    f"({', '.join(kinds)}; {error}); write .jsonl instead or make the column uniform"
                ) from error
        self._batch.clear()

    def batches(self) -> Iterator[pa.RecordBatch]:
        rows: list[Row] = []
        for row in self.spool:
            rows.append(row)
            if len(rows) == _BATCH:
                yield self._to_batch(rows)
                rows.clear()
        if rows:
            yield self._to_batch(rows)

    def _to_batch(self, rows: list[Row]) -> pa.RecordBatch:
        return pa.RecordBatch.from_pylist(rows, schema=self.schema)


@contextmanager
def open_table_writer(path: Path, *, folder: bool) -> Iterator[_TableWriter]:
    """Open a Parquet file, or a dataset folder that `datasets.load_from_disk` reads, for rows.

    Raises:
        DataToolsError: When a column has no single type.
    """
    with Spool() as spool:
        writer = _TableWriter(spool)
        yield writer
        writer.settle()
        if folder:
            _write_dataset(path, writer)
        else:
            with pq.ParquetWriter(path, writer.schema, compression="zstd") as file:
                for batch in writer.batches():
                    file.write_batch(batch)


def _write_dataset(path: Path, writer: _TableWriter) -> None:
    from datasets import Features  # seconds to import, and needed for its schema format alone

    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    features = Features.from_arrow_schema(writer.schema)
    shard = "data-00000-of-00001.arrow"
    with pa.OSFile(str(path / shard), "wb") as sink, pa.ipc.new_stream(sink, features.arrow_schema) as stream:
        for batch in writer.batches():
            stream.write_batch(batch.cast(features.arrow_schema))
    info = {"citation": "", "description": "", "features": features.to_dict(), "homepage": "", "license": ""}
    (path / "dataset_info.json").write_text(json.dumps(info, indent=2), encoding="utf-8")
    state: dict[str, Any] = {
        "_data_files": [{"filename": shard}],
        "_fingerprint": _digest(path / shard),  # of the content: `datasets` keys its caches by it
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }
    (path / "state.json").write_text(json.dumps(state, indent=2), encoding="utf-8")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
