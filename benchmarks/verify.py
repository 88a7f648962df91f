"""The verifier against math-verify on the same pairs in the same run: accuracy, speed, traps.

    OMP_NUM_THREADS=1 python -m benchmarks.verify shared/cases --rollouts shared/data/rollouts

Both graders see the same pairs in turns of `TURN`, so that a busy machine slows both; rates are per second of CPU
time, the slowest pair is wall time. Math-verify gets the set-up that scored best in trials: bare answers between
dollars, LaTeX, expression and string extraction, and a limit of `PEER_LIMIT_S` seconds per call (by default it is 5,
which makes it slower on the traps and no better). Caches are warm for neither: each pair is seen once. `tables`
returns the lines of the table for other benchmarks.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from data_tools.answers.verify import verify
from data_tools.rows.files import read_rows

TURN = 50
PEER_LIMIT_S = 1
SAMPLE = 1_500


@dataclass(frozen=True)
class Pair:
    """A prediction with its gold answer, the right verdict where it is known, and whether it is a sentence."""

    prediction: str
    gold: str
    expected: bool | None
    prose: bool = True


@dataclass
class Score:
    """What one grader did on one set of pairs."""

    right: int = 0
    false_positives: int = 0
    false_negatives: int = 0
    raised: int = 0
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: float = 0.0

    @property
    def accuracy(self) -> float:
        """Return the share of right verdicts."""
        return self.right / max(1, self.right + self.false_positives + self.false_negatives)

    @property
    def rate(self) -> float:
        """Return pairs per second of CPU time."""
        return len(self.seconds) / self.cpu_seconds


def cases(path: Path) -> list[Pair]:
    found = []
    for line in path.open(encoding="utf-8"):
        row = json.loads(line)
        found.append(Pair(row["prediction"], row["gold"], row["expected"], prose=row.get("prose", True)))
    return found


def outputs(path: Path) -> list[Pair]:
    """Return the model outputs among the extraction cases; no verdict is expected, only speed is measured."""
    rows = (row for row in read_rows(path) if row["expected_answer"])
    return [Pair(row["text"], str(row["expected_answer"]), None) for row in rows]


def rollouts(folder: Path, seed: int = 0) -> list[Pair]:
    """Return a seeded sample of logged responses with upstream's verdicts, which hold some errors."""
    found = []
    for path in sorted(folder.glob("*.jsonl.gz")):
        for row in read_rows(path):
            for response in row.get("responses", ()):
                if response.get("text") and response.get("correct") is not None:
                    found.append(Pair(response["text"], row["answer"], response["correct"]))
    return random.Random(seed).sample(found, min(SAMPLE, len(found)))


def ours() -> Callable[[Pair], bool]:
    return lambda pair: verify(pair.prediction, pair.gold).correct


def math_verify_grader() -> Callable[[Pair], bool]:
    import math_verify

    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    config = [
        math_verify.LatexExtractionConfig(boxed_match_priority=0),
        math_verify.ExprExtractionConfig(),
        math_verify.StringExtractionConfig(),
    ]

    def parsed(text: str) -> list[object]:
        return math_verify.parse(text, extraction_config=config, parsing_timeout=PEER_LIMIT_S)

    def in_dollars(text: str) -> str:
        return text if "$" in text or "boxed" in text else f"${text}$"

    def grade(pair: Pair) -> bool:
        prediction = pair.prediction if pair.prose else in_dollars(pair.prediction)
        gold = in_dollars(pair.gold)
        return bool(math_verify.verify(parsed(gold), parsed(prediction), timeout_seconds=PEER_LIMIT_S))

    return grade


def measure(pairs: list[Pair], graders: dict[str, Callable[[Pair], bool]]) -> dict[str, Score]:
    """Grade all pairs with every grader, in turns."""
    scores = {name: Score() for name in graders}
    for start in range(0, len(pairs), TURN):
        for name, grade in graders.items():
            for pair in pairs[start : start + TURN]:
                _grade(grade, pair, scores[name])
    return scores


def _grade(grade: Callable[[Pair], bool], pair: Pair, score: Score) -> None:
    began, cpu_began = time.perf_counter(), time.process_time()
    try:
        correct = grade(pair)
    except Exception:  # whatever a peer raises is counted
        correct = False
        score.raised += 1
    score.seconds.append(time.perf_counter() - began)
    score.cpu_seconds += time.process_time() - cpu_began
    if pair.expected is not None:
        score.right += correct == pair.expected
        score.false_positives += correct and not pair.expected
        score.false_negatives += pair.expected and not correct


def tables(folder: Path, rollout_folder: Path | None = None, *, peer: bool = True) -> list[str]:
    """Return the lines of the Markdown table: one row per set of pairs and grader."""
    graders = {"data_tools": ours()} | ({"math-verify": math_verify_grader()} if peer else {})
    warm_up = Pair("\\boxed{\\sqrt{x}+1}", "$1+\\sqrt{x}$", True)
    for grade in graders.values():
        grade(warm_up)
    sets = {name: cases(folder / f"{name}.jsonl") for name in ("verify_core", "verify_mechanical", "verify_traps")}
    sets["extract_model_outputs"] = outputs(folder / "extract_model_outputs.jsonl")
    if rollout_folder is not None:
        sets["rollouts (upstream verdicts)"] = rollouts(rollout_folder)
    lines = [
        "| pairs | n | grader | accuracy | false + | false - | pairs/CPU s | slowest | over 20 ms | over 1 s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, pairs in sets.items():
        for grader, score in measure(pairs, graders).items():
            judged = any(pair.expected is not None for pair in pairs)
            quality = (
                f"{score.accuracy:.2%} | {score.false_positives} | {score.false_negatives}" if judged else "- | - | -"
            )
            slow = [sum(second > limit for second in score.seconds) for limit in (0.02, 1.0)]
            lines.append(
                f"| {name} | {len(pairs)} | {grader} | {quality} | {score.rate:,.0f} |"
                f" {max(score.seconds) * 1e3:,.1f} ms | {slow[0]} | {slow[1]} |"
            )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path, help="folder of verify_*.jsonl and extract_model_outputs.jsonl")
    parser.add_argument("--rollouts", type=Path, help="folder of logged responses with verdicts")
    parser.add_argument("--no-peer", action="store_true", help="measure only data_tools")
    arguments = parser.parse_args()
    print("\n".join(tables(arguments.cases, arguments.rollouts, peer=not arguments.no_peer)))


if __name__ == "__main__":
    main()
