"""Several tools in one pass: a stream of rows goes through steps, and nothing that leaves it is lost.

A tool may return a dict at the end of its generator; it becomes the `summary` of its step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from data_tools.engine.catalogue import check_options, load_tool, tool_doc
from data_tools.errors import DataToolsError
from data_tools.rows.columns import text
from data_tools.rows.row import Dropped, OnError, Row

Tool = Callable[[Iterable[Row]], Iterable[Row | Dropped]]
OnDropped = Callable[[str, Dropped], None]


@dataclass(frozen=True, slots=True)
class Step:
    """A tool with its options, ready to be folded over rows.

    Args:
        name: Its name in counts.
        run: The tool with its options bound.
        needs: Columns that must be text in every row.
    """

    name: str
    run: Tool
    needs: tuple[str, ...] = ()


def make_step(tool: str, options: Mapping[str, Any] | None = None, *, name: str | None = None) -> Step:
    """Bind a tool of `TOOLS` (or `module:function`) to its options.

    Args:
        tool: The tool.
        options: Its options; checked against its signature.
        name: Its name in counts; the tool's by default.

    Raises:
        DataToolsError: For an unknown tool or wrong options.
    """
    checked = check_options(tool, options or {})
    return Step(name or tool, partial(load_tool(tool), **checked), tuple(tool_doc(tool).needs))


@dataclass(slots=True)
class StepCount:
    """What happened in one step: `rows_in = kept + sum(dropped)` unless the tool makes new rows."""

    step: str
    rows_in: int = 0
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    summary: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        parts = [
            f"{self.kept:,} kept",
            *(f"{count:,} {reason}" for reason, count in self.dropped.most_common()),
        ]
        return f"{self.step}: {self.rows_in:,} in = {' + '.join(parts)}"


class Fold:
    """Rows going through steps one after the other; iterate it once, then read `counts`.

    Args:
        rows: The rows.
        steps: The steps in order.
        on_dropped: Receives the step's name and each dropped row.
        on_error: What a row that lacks a needed column does: `stop` raises, `skip` drops it as `malformed`.
    """

    def __init__(
        self, rows: Iterable[Row], steps: Sequence[Step], *, on_dropped: OnDropped, on_error: OnError = "stop"
    ) -> None:
        self.counts = [StepCount(step.name) for step in steps]
        stream: Iterable[Row] = rows
        for step, count in zip(steps, self.counts, strict=True):
            stream = _run_step(step, stream, count, on_dropped, on_error)
        self._stream = stream

    def __iter__(self) -> Iterator[Row]:
        return iter(self._stream)


def fold(
    rows: Iterable[Row],
    steps: Sequence[Step | tuple[str, Mapping[str, Any]]],
    *,
    on_dropped: OnDropped,
    on_error: OnError = "stop",
) -> Fold:
    """Send rows through several tools in one pass.

    Args:
        rows: The rows, with canonical columns.
        steps: Steps, or pairs of a tool's name and its options.
        on_dropped: Receives the step's name and each dropped row, so that no row vanishes.
        on_error: What a row that lacks a needed column does: `stop` raises, `skip` drops it as `malformed`.

    Returns:
        The kept rows, to be iterated once; `counts` has what each step kept and dropped.

    Raises:
        DataToolsError: For an unknown tool or wrong options, before any row is read.
    """
    built = [step if isinstance(step, Step) else make_step(*step) for step in steps]
    return Fold(rows, built, on_dropped=on_dropped, on_error=on_error)


def _run_step(
    step: Step, rows: Iterable[Row], count: StepCount, on_dropped: OnDropped, on_error: OnError
) -> Iterator[Row]:
    """Start a step: a tool that checks its options when called does so now, before any row is read."""

    def drop(dropped: Dropped) -> None:
        count.dropped[dropped.reason] += 1
        on_dropped(step.name, dropped)

    try:
        results = iter(step.run(_readable(step, rows, count, drop, on_error)))
    except DataToolsError as error:
        error.step = step.name
        raise
    return _kept(results, count, drop)


def _kept(results: Iterator[Row | Dropped], count: StepCount, drop: Callable[[Dropped], None]) -> Iterator[Row]:
    while True:
        try:
            result = next(results)
        except StopIteration as end:
            count.summary = dict(end.value or {})
            return
        except DataToolsError as error:
            error.step = error.step or count.step  # an earlier step has put its name there already
            raise
        if isinstance(result, Dropped):
            drop(result)
        else:
            count.kept += 1
            yield result


def _readable(
    step: Step, rows: Iterable[Row], count: StepCount, drop: Callable[[Dropped], None], on_error: OnError
) -> Iterator[Row]:
    """Count the rows and see that they have what the step needs."""
    for row in rows:
        count.rows_in += 1
        try:
            for column in step.needs:
                text(row, column)
        except DataToolsError as error:
            if on_error == "stop":
                raise
            drop(Dropped(row, "malformed", str(error)))
            continue
        yield row
