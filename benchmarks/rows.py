"""Speed and peak memory of the row tools on a million rows, each in a process of its own.

`python benchmarks/rows.py FILE --rows 1000000` repeats the rows of FILE (any format) under new ids until there are
enough, then runs the tools from file to file. Memory is the peak resident size of the whole process.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from data_tools.engine.run_tool import run_tool
from data_tools.rows.files import read_rows, write_rows
from data_tools.rows.row import Row

TOOLS: dict[str, dict[str, Any]] = {
    "segment": {"keep": "short"},
    "balance": {"by": "source", "cap": 100_000},
    "difficulty": {"min_pass_rate": 0.25, "max_pass_rate": 0.625},
    "filter_length": {"column": "problem", "max_length": 500},
    "filter_repetition": {"column": "problem"},
    "filter_language": {},
    "convert": {"to": "messages"},
    "stats": {"page": "stats.html"},
}


def repeated(path: Path, count: int) -> Iterator[Row]:
    rows = [dict(row) for row in read_rows(path)]
    for n, row in enumerate(islice(cycle(rows), count)):
        text = f"{row['problem']} ({n})"
        solution = f"Thus $\\boxed{{{row.get('answer')}}}$."
        yield {
            **row,
            "id": n,
            "problem": text,
            "solution": solution,
            "n_correct": n % 17,
            "n": 16,
            "source": str(n % 9),
        }


def measure(tool: str, source: Path, workers: int, results: Any) -> None:
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        options = {k: f"{folder}/{v}" if k == "page" else v for k, v in TOOLS[tool].items()}
        report = run_tool(tool, source, Path(folder) / "out.jsonl", options, workers=workers)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    results.put((report.rows_in, report.kept, time.perf_counter() - start, peak))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "in.jsonl"
        write_rows(source, repeated(arguments.file, arguments.rows))
        print(f"{arguments.rows:,} rows, {source.stat().st_size / 2**20:,.0f} MiB, {arguments.workers} worker(s)\n")
        print("| tool | rows in | kept | seconds | rows/s | peak memory |")
        print("|---|---|---|---|---|---|")
        for tool in TOOLS:
            results = context.Queue()
            process = context.Process(target=measure, args=(tool, source, arguments.workers, results))
            process.start()
            rows, kept, seconds, peak = results.get(timeout=3600)
            process.join()
            speed = rows / seconds
            print(f"| {tool} | {rows:,} | {kept:,} | {seconds:.0f} | {speed:,.0f} | {peak:.2f} GiB |", flush=True)


if __name__ == "__main__":
    main()
