"""Chunks of rows mapped on Ray Data: the same results in the same order as `data_tools.engine.pool`, on a cluster.

Ray runs on this machine unless `RAY_ADDRESS` names a cluster (whose nodes need this package installed). The driver
reads and writes; only the function travels. Rows go in pickled, since Ray's tables want one type per column and rows
do not have one. One dataset is executed per window of chunks, which bounds the driver's memory.
"""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from data_tools.engine.pool import ChunkReader
from data_tools.errors import DataToolsError

A = TypeVar("A")
B = TypeVar("B")

_WINDOW = 256  # chunks per dataset: starting one costs up to a second


def map_chunks(
    function: Callable[[Sequence[A]], Sequence[B]], items: Iterable[A], *, workers: int, chunk: int
) -> Iterator[B]:
    """Apply a function of a chunk on Ray.

    Args:
        function: Takes a chunk and returns its results; must be picklable.
        items: The items, read lazily.
        workers: Most chunks worked on at once; 1 leaves the number to Ray.
        chunk: Items per chunk.

    Yields:
        The results in the order of the items.

    Raises:
        DataToolsError: If Ray is not installed.
    """
    data = _ray_data()
    chunks = ChunkReader(items, chunk)
    source = iter(chunks)
    limit = {"concurrency": workers} if workers > 1 else {}
    while window := list(islice(source, _WINDOW)):
        packed = [{"at": at, "chunk": pickle.dumps(part)} for at, part in enumerate(window)]
        dataset = data.from_items(packed, override_num_blocks=len(packed))
        rows = dataset.map(_Mapped(function), **limit).take_all()
        for row in sorted(rows, key=lambda row: int(row["at"])):
            yield from pickle.loads(row["results"])
    if chunks.fault is not None:
        raise chunks.fault


class _Mapped:
    """Unpacks a chunk, applies the function, packs the results; runs on Ray's workers."""

    def __init__(self, function: Callable[[Sequence[Any]], Sequence[Any]]) -> None:
        self._function = function

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        results = list(self._function(pickle.loads(row["chunk"])))
        return {"at": row["at"], "results": pickle.dumps(results)}


def _ray_data() -> Any:
    """Return `ray.data`, connected."""
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise DataToolsError("the engine ray needs Ray: pip install 'light-r1[ray]'") from error
    if not ray.is_initialized():
        os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False)
    logging.getLogger("ray.data").setLevel(logging.WARNING)  # one line per window of chunks otherwise
    ray.data.DataContext.get_current().enable_progress_bars = False
    return ray.data
