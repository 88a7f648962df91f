"""Coverage, precision and order of `extract_answer` on worked solutions and model outputs, per source.

`python -m benchmarks.extract FOLDER [--outputs FILE]` reads every file of worked solutions in FOLDER (JSON Lines,
gzipped) and prints a Markdown table: the share of solutions answered, answered rightly (judged by the verifier against
the known answer), the precision of what is answered, the precision of the surer half by confidence, and the speed.
The weights of unmarked solutions were fitted on some of these files: `benchmarks/fit_extract.py` has the
cross-validated figures for those.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from data_tools.answers.verify import verify
from data_tools.rows.files import read_rows
from data_tools.solutions.final_answer import Extraction, extract_answer


def cases(path: Path) -> Iterator[tuple[str, str | None, list[str]]]:
    """Text, problem and accepted answers of each solution in a file."""
    for row in read_rows(path):
        if "text" in row:
            yield row["text"], None, [row["expected_answer"]]
            continue
        golds = [] if "answer" not in row else row["answer"].split("; ") if "minerva" in path.name else [row["answer"]]
        for solution in row.get("solutions", [row.get("solution")]):
            yield solution, row["problem"], golds


def measure(path: Path) -> None:
    found: list[tuple[Extraction, bool]] = []
    seconds = 0.0
    for solution, problem, golds in cases(path):
        start = time.perf_counter()
        extraction = extract_answer(solution, problem)
        seconds += time.perf_counter() - start
        right = extraction.answer is not None and bool(golds) and verify(extraction.answer, golds).correct
        found.append((extraction, right))
    answered = [(e.confidence, right) for e, right in found if e.answer is not None]
    said = sorted(answered, key=lambda pair: pair[0], reverse=True)
    half = said[: max(1, len(said) // 2)]
    rights = sum(right for _, right in said)
    routes = Counter(e.method for e, _ in found).most_common(4)
    print(
        f"| {path.name.split('.')[0]} | {len(found):,} | {len(said) / len(found):.2%} | {rights / len(found):.2%} "
        f"| {rights / max(1, len(said)):.2%} | {sum(right for _, right in half) / len(half):.2%} "
        f"| {len(found) / seconds:,.0f} | {', '.join(f'{name} {count:,}' for name, count in routes)} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--outputs", type=Path, help="JSON Lines with text and expected_answer")
    arguments = parser.parse_args()
    print("| source | solutions | answered | right | precision | of the surer half | per second | routes |")
    print("|---|---|---|---|---|---|---|---|")
    for path in [*sorted(arguments.folder.glob("*.jsonl.gz")), *([arguments.outputs] if arguments.outputs else [])]:
        measure(path)


if __name__ == "__main__":
    main()
