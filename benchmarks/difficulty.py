"""How many samples adaptive sampling saves on logged rollouts, and how often it keeps another set than n = 16.

`python benchmarks/difficulty.py DIR` reads every `*.jsonl.gz` in DIR whose questions have 16 judged responses each.
The logged responses are replayed in many random orders, since the order decides when a question is given up.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from pathlib import Path

from data_tools.rollouts.adaptive import StopRule, sample_until_settled
from data_tools.rollouts.pass_rates import Window
from data_tools.rollouts.store import prompt_id
from data_tools.rows.files import read_rows
from data_tools.rows.row import Row

N = 16
WINDOWS = {
    "light-r1-grpo (.25 to .625)": Window(0.25, 0.625),
    "light-r1-stage1 (below .5)": Window(0.0, 0.5, high_inclusive=False),
    "light-r1-stage2 (below .5, mixed)": Window(0.0, 0.5, high_inclusive=False, mixed=True),
    "open-r1-dapo (.1 to .6, open)": Window(0.1, 0.6, low_inclusive=False, high_inclusive=False),
    "middle (.2 to .8)": Window(0.2, 0.8),
}


def logged(folder: Path) -> list[tuple[Row, list[bool]]]:
    found = []
    for path in sorted(folder.glob("*.jsonl.gz")):
        for row in read_rows(path):
            verdicts = [item["correct"] for item in row.get("responses", ()) if item["correct"] is not None]
            if len(verdicts) == N:
                found.append((row, verdicts))
    return found


def replay(questions: list[tuple[Row, list[bool]]], rule: StopRule, step: int, orders: int) -> tuple[float, float]:
    """Return (share of samples saved, share of questions decided otherwise than by all n)."""
    drawn = wrong = 0
    shuffled: dict[str, list[bool]] = {}

    def draw(asked: Sequence[tuple[Row, int, int]]) -> list[list[bool]]:
        return [shuffled[prompt_id(row)][first : first + count] for row, first, count in asked]

    for order in range(orders):
        for row, verdicts in questions:
            name = prompt_id(row)
            shuffled[name] = random.Random(f"{order}:{name}").sample(verdicts, N)
        found = sample_until_settled([row for row, _ in questions], draw, rule, step=step)
        drawn += sum(map(len, found.values()))
        for name, verdicts in found.items():
            early = rule.window.reason(sum(verdicts) / len(verdicts)) is None
            wrong += early != (rule.window.reason(sum(shuffled[name]) / N) is None)
    total = orders * len(shuffled)
    return 1 - drawn / (total * N), wrong / total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--orders", type=int, default=50)
    arguments = parser.parse_args()
    questions = logged(arguments.folder)
    print(f"{len(questions)} questions with {N} judged samples, {arguments.orders} orders each\n")
    print("| window | risk | step | samples saved | decided otherwise |")
    print("|---|---|---|---|---|")
    for name, window in WINDOWS.items():
        for risk, step in ((0.0, 1), (0.01, 1), (0.02, 1), (0.02, 4), (0.05, 1)):
            saved, wrong = replay(questions, StopRule(window, N, risk), step, arguments.orders)
            print(f"| {name} | {risk} | {step} | {saved:.1%} | {wrong:.2%} |")


if __name__ == "__main__":
    main()
