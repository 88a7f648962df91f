"""Chunks of rows mapped in processes: results in order, bounded read-ahead.

`multiprocessing.Pool.imap` reads its whole input at once; here at most a few chunks per worker are in flight.
Workers are spawned, not forked, since the caller may hold threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Generic, TypeVar

from data_tools.errors import DataToolsError

A = TypeVar("A")
B = TypeVar("B")

_AHEAD = 3  # chunks in flight per worker: enough to keep it busy while results wait for their turn


def map_chunks(
    function: Callable[[Sequence[A]], Sequence[B]], items: Iterable[A], *, workers: int, chunk: int
) -> Iterator[B]:
    """Apply a function of a chunk in processes.

    Args:
        function: Takes a chunk and returns its results; must be picklable.
        items: The items, read lazily.
        workers: Number of processes.
        chunk: Items per chunk.

    Yields:
        The results in the order of the items.

    Raises:
        DataToolsError: If a process dies.
    """
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        waiting: deque[Future[Sequence[B]]] = deque()
        try:
            chunks = ChunkReader(items, chunk)
            for part in chunks:
                waiting.append(pool.submit(function, part))
                if len(waiting) >= workers * _AHEAD:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
            if chunks.fault is not None:
                raise chunks.fault
        except BrokenProcessPool as error:
            raise DataToolsError(
                "a worker process died. Out of memory? In a script, start the work under "
                '`if __name__ == "__main__":`, since workers import the script again'
            ) from error
        finally:
            for future in waiting:
                future.cancel()


class ChunkReader(Generic[A]):
    """Cuts items into chunks; a fault of the source ends them and is kept in `fault`.

    Reading runs ahead of the results, so a fault raised at once would hide the faults of earlier rows.
    """

    def __init__(self, items: Iterable[A], chunk: int) -> None:
        self._items, self._chunk = items, chunk
        self.fault: DataToolsError | None = None

    def __iter__(self) -> Iterator[list[A]]:
        part: list[A] = []
        try:
            for item in self._items:
                part.append(item)
                if len(part) == self._chunk:
                    yield part
                    part = []
        except DataToolsError as error:
            self.fault = error
        if part:
            yield part
