"""Running a tool from file to file, and row-wise tools in processes.

A tool is `def tool(rows, *, option=...) -> Iterator[Row | Dropped]`. Whatever runs it, no row vanishes: each
`Dropped` is counted by reason and written aside.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_tools.engine.catalogue import option_table
from data_tools.engine.execution import Engine, Execution, executing
from data_tools.engine.fold import StepCount, fold, make_step
from data_tools.errors import DataToolsError
from data_tools.rows.columns import to_canonical
from data_tools.rows.files import count_rows, open_writer, read_rows, written_whole
from data_tools.rows.row import Dropped, OnError, Row


@dataclass(frozen=True, slots=True)
class Report:
    """What a run of one tool did. `OUT.report.json` holds all but the time, so equal runs write equal files.

    Args:
        tool: The tool.
        options: All its options, defaults included.
        input: Where the rows came from.
        output: Where the kept rows are.
        rows_in: Rows read, malformed ones included.
        kept: Rows written.
        dropped: Reason -> count.
        summary: What the tool itself reports.
        seconds: Wall time.
    """

    tool: str
    options: dict[str, Any]
    input: str
    output: str
    rows_in: int
    kept: int
    dropped: dict[str, int]
    summary: dict[str, Any]
    seconds: float

    def __str__(self) -> str:
        count = StepCount(self.tool, self.rows_in, self.kept, Counter(self.dropped))
        return f"{count} ({self.seconds:.1f} s)"


def run_tool(
    name: str,
    in_path: str | Path,
    out_path: str | Path,
    options: Mapping[str, Any] | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    workers: int = 1,
    on_error: OnError = "stop",
    engine: Engine = "local",
    progress: bool = False,
) -> Report:
    """Run one tool from file to file.

    Writes `out_path`, `out_path.dropped.jsonl` (each dropped row with its reason and match) and, last,
    `out_path.report.json`. All three appear only when the run has succeeded.

    Args:
        name: The tool: a name in `TOOLS`, or `module:function`.
        in_path: A file or folder that `read_rows` reads.
        out_path: A file or folder that `write_rows` writes; it may be `in_path`.
        options: The tool's options.
        columns: Canonical name -> column of the file, for what `to_canonical` does not detect.
        workers: Processes for row-wise tools.
        on_error: `stop`, or `skip`: malformed rows are dropped with the reason `malformed`.
        engine: Where row-wise tools run: `local` processes, or `ray`.
        progress: Show a progress bar on a terminal.

    Raises:
        DataToolsError: For an unknown tool, wrong options, unreadable input or, with `stop`, the first
            malformed row.
    """
    start = time.perf_counter()
    step = make_step(name, options)
    dropped_path, report_path = (Path(f"{out_path}.{kind}") for kind in ("dropped.jsonl", "report.json"))
    malformed: Counter[str] = Counter()
    with ExitStack() as stack:
        stack.enter_context(executing(Execution(workers=workers, on_error=on_error, engine=engine)))
        aside = stack.enter_context(open_writer(dropped_path))
        kept = stack.enter_context(open_writer(out_path))

        def put_aside(_: str, dropped: Dropped) -> None:
            aside.write({"reason": dropped.reason, "match": dropped.match, "row": dropped.row})

        def put_malformed(dropped: Dropped) -> None:
            malformed[dropped.reason] += 1
            put_aside(name, dropped)

        rows = canonical_rows(in_path, columns=columns, on_error=on_error, on_malformed=put_malformed)
        watched = _watched(rows, name, count_rows(in_path), show=progress)
        folded = fold(watched, [step], on_dropped=put_aside, on_error=on_error)
        for row in folded:
            kept.write(row)
    count = folded.counts[0]
    count.rows_in += malformed.total()
    count.dropped += malformed
    report = _report(count, str(in_path), str(out_path), _all_options(name, options or {}), start)
    write_report(report_path, report)
    return report


def _report(count: StepCount, source: str, target: str, options: dict[str, Any], start: float) -> Report:
    return Report(
        tool=count.step,
        options=options,
        input=source,
        output=target,
        rows_in=count.rows_in,
        kept=count.kept,
        dropped=dict(sorted(count.dropped.items())),
        summary=count.summary,
        seconds=time.perf_counter() - start,
    )


def canonical_rows(
    path: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    on_error: OnError = "stop",
    on_malformed: Callable[[Dropped], None] | None = None,
) -> Iterator[Row]:
    """Read a file with canonical column names.

    Args:
        path: A file or folder that `read_rows` reads.
        columns: Canonical name -> column of the file, for what `to_canonical` does not detect.
        on_error: What a malformed row does: `stop` raises, `skip` hands it to `on_malformed`.
        on_malformed: Receives skipped rows; without it, a row with wrong columns raises.

    Raises:
        DataToolsError: The file cannot be read, or, with `stop`, a row.
    """
    for row in read_rows(path, on_error=on_error, on_malformed=on_malformed):
        try:
            yield to_canonical(row, columns)
        except DataToolsError as error:
            if on_error == "stop" or on_malformed is None:
                raise
            on_malformed(Dropped(row, "malformed", str(error)))


def write_report(path: Path, report: Report) -> None:
    """Write a report as JSON, whole or not at all."""
    values = {name: getattr(report, name) for name in Report.__slots__ if name != "seconds"}
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2, ensure_ascii=False, default=str) + "\n", encoding="utf-8")


def _all_options(tool: str, options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: options.get(name, option.default) for name, option in option_table(tool).items()}


def _watched(rows: Iterable[Row], name: str, total: int | None, *, show: bool) -> Iterable[Row]:
    """Show a bar on a terminal."""
    if not show:
        return rows
    from tqdm import tqdm

    bar: Iterable[Row] = tqdm(rows, desc=name, total=total, unit=" rows", disable=None)
    return bar
