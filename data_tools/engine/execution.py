"""How row-wise tools run: in this process, in worker processes or on Ray; the one place where rows go elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar

from data_tools.engine.pool import ChunkReader, map_chunks
from data_tools.errors import DataToolsError
from data_tools.rows.row import Dropped, OnError, Row, place_of

Check = Callable[..., Row | Dropped]
Engine = Literal["local", "ray"]
A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True, slots=True)
class Execution:
    """How row-wise tools run.

    Args:
        workers: Processes; 1 runs in this one.
        chunk: Rows handed to a process at once.
        on_error: What a row that a tool cannot read does: `stop` raises, `skip` drops it as `malformed`.
        engine: `local` (this machine's processes) or `ray` (`data_tools.engine.ray_pool`).
    """

    workers: int = 1
    chunk: int = 256
    on_error: OnError = "stop"
    engine: Engine = "local"


_EXECUTION: ContextVar[Execution] = ContextVar("execution", default=Execution())  # noqa: B039  it is frozen


@contextmanager
def executing(execution: Execution) -> Iterator[None]:
    """Run the tools used inside the `with` block in this way."""
    token = _EXECUTION.set(execution)
    try:
        yield
    finally:
        _EXECUTION.reset(token)


def per_row(check: Callable[..., Row | Dropped], rows: Iterable[Row], **options: Any) -> Iterator[Row | Dropped]:
    """Lift a function of one row to a tool: the single place where rows go to other processes.

    Args:
        check: A module-level function `(row, **options) -> Row | Dropped`.
        rows: The rows.
        options: Passed to `check`.

    Yields:
        One result per row, in the order of the rows, whatever the number of workers.

    Raises:
        DataToolsError: If `check` raises one and errors stop; it names the place of the row.
    """
    execution = _EXECUTION.get()
    alone = execution.engine == "local" and execution.workers <= 1
    size = 1 if alone else execution.chunk  # alone, a row is answered before the next is read
    for result in map_in_chunks(partial(_apply_all, check, options), rows, chunk=size):
        if isinstance(result, Dropped) and result.reason == "malformed" and execution.on_error == "stop":
            raise DataToolsError(str(result.match))
        yield result


def malformed(row: Row, error: DataToolsError) -> Dropped:
    """Return the row as dropped where errors are skipped, else raise; for tools that are not lifted by `per_row`.

    Raises:
        DataToolsError: The error, with the place of the row, if errors stop.
    """
    dropped = _malformed(row, error)
    if _EXECUTION.get().on_error == "stop":
        raise DataToolsError(str(dropped.match)) from error
    return dropped


def _malformed(row: Row, error: DataToolsError) -> Dropped:
    message, place = str(error), place_of(row)
    return Dropped(row, "malformed", message if place in message else f"{place}: {message}")


def map_in_chunks(function: Callable[[Sequence[A]], Sequence[B]], items: Iterable[A], *, chunk: int) -> Iterator[B]:
    """Apply a function of a chunk where the surrounding `executing` block says: the one place where work leaves.

    Args:
        function: Takes a chunk and returns its results; picklable.
        items: The items, read lazily.
        chunk: Items per chunk.

    Yields:
        The results in the order of the items.
    """
    execution = _EXECUTION.get()
    if execution.engine == "ray":
        from data_tools.engine.ray_pool import map_chunks as map_on_ray

        yield from map_on_ray(function, items, workers=execution.workers, chunk=chunk)
    elif execution.workers > 1:
        yield from map_chunks(function, items, workers=execution.workers, chunk=chunk)
    else:
        chunks = ChunkReader(items, chunk)
        for part in chunks:
            yield from function(part)
        if chunks.fault is not None:
            raise chunks.fault


def _apply(check: Check, options: Mapping[str, Any], row: Row) -> Row | Dropped:
    try:
        return check(row, **options)
    except DataToolsError as error:
        return _malformed(row, error)


def _apply_all(check: Check, options: Mapping[str, Any], rows: Sequence[Row]) -> list[Row | Dropped]:
    return [_apply(check, options, row) for row in rows]
