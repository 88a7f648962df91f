"""Fit the weights of `data_tools.solutions.ranking` on worked solutions with known answers, cross-validated.

`python -m benchmarks.fit_extract FOLDER` reads the worked solutions named below from FOLDER (JSON Lines, gzipped),
takes the boxes and `####` lines away so that every solution is one that marks nothing, judges each candidate with the
verifier, prints coverage and precision of five-fold cross-validation, and with `--write` writes the weights of a fit
on all rows. Needs scipy.
"""

from __future__ import annotations

import argparse
import json
import random
import zlib
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_matrix

from data_tools.answers.marks import boxed_spans
from data_tools.answers.verify import verify
from data_tools.rows.files import read_rows
from data_tools.solutions.candidates import statements
from data_tools.solutions.final_answer import LEAST_CONFIDENCE
from data_tools.solutions.proofs import answers_closed, proof_marks
from data_tools.solutions.question import Question, read_question
from data_tools.solutions.ranking import WEIGHTS, candidate_cues, none_cues

# file: (weight of a row, most rows). Large easy sets weigh little, so that olympiad solutions set the tone.
SOURCES = {
    "olympiadbench_675": (1.5, None),
    "omni_math_rule_2819": (1.0, None),
    "odyssey_387": (0.6, None),
    "minerva_272": (0.3, None),
    "harp_proof_based": (0.7, None),
    "math_train": (0.15, 1500),
    "gsm8k_train": (0.15, 600),
    "aime_1983_2023": (0.15, None),
}
L2 = 6.0
SMALLEST_PAIR = 0.05
FOLDS = 5


@dataclass
class Case:
    """One solution: its candidates as (key, cues, right), and the cues of "none of them"."""

    source: str
    name: str
    candidates: list[tuple[str, list[str], bool]]
    none: list[str]
    question: Question
    marks: int

    def is_given(self, answer: str, share: float) -> bool:
        """Whether `extract_answer` hands out an unmarked answer rather than abstain."""
        if self.question.proof == "too" or (self.question.kind == "closed" and not answers_closed(answer)):
            return False
        return share >= LEAST_CONFIDENCE[min(self.marks, 3)]


def unmarked(solution: str) -> str:
    for span in reversed(boxed_spans(solution)):
        solution = solution[: span.start] + span.content + solution[span.end :]
    return solution.split("####")[0]


def read_cases(folder: Path) -> list[Case]:
    cases = []
    for source, (_, most) in SOURCES.items():
        rows = list(read_rows(folder / f"{source}.jsonl.gz"))
        if most is not None and most < len(rows):
            rows = random.Random(0).sample(rows, most)
        for row in rows:
            question = read_question(row["problem"])
            for solution in row.get("solutions", [row.get("solution")])[:2]:
                text = unmarked(solution)
                right: dict[str, bool] = {}
                found = []
                for key, answer, cues in candidate_cues(statements(text), question):
                    if key not in right:
                        right[key] = "answer" in row and verify(answer, row["answer"]).correct
                    found.append((key, cues, right[key]))
                cases.append(Case(source, row["id"], found, none_cues(question, text), question, proof_marks(text)))
    return cases


class Model:
    """The log-linear model as sparse matrices: one row per candidate, the last of each case is "none"."""

    def __init__(self, cases: list[Case], names: list[str]) -> None:
        index = {name: number for number, name in enumerate(names)}
        columns: list[int] = []
        ends = [0]
        self.starts = [0]
        right: list[bool] = []
        for case in cases:
            for cues in [*(cues for _, cues, _ in case.candidates), case.none]:
                columns += sorted({index[cue] for cue in cues if cue in index})
                ends.append(len(columns))
            answers = [is_right for _, _, is_right in case.candidates]
            right += [*answers, not any(answers)]
            self.starts.append(len(ends) - 1)
        self.matrix = csr_matrix((np.ones(len(columns)), columns, ends), shape=(len(ends) - 1, len(names)))
        self.lengths = np.diff(self.starts)
        self.right = np.array(right, dtype=float)
        self.weights = np.array([SOURCES[case.source][0] for case in cases])

    def shares(self, theta):
        """Return the probability of every candidate, and of "none", of every case."""
        scores = self.matrix @ theta
        top = np.maximum.reduceat(scores, self.starts[:-1])
        powers = np.exp(scores - np.repeat(top, self.lengths))
        return powers / np.repeat(np.add.reduceat(powers, self.starts[:-1]), self.lengths)

    def loss(self, theta):
        """Return the penalised negative log-likelihood of the right candidates, and its gradient."""
        shares = self.shares(theta)
        correct = np.add.reduceat(shares * self.right, self.starts[:-1])
        gradient = shares - shares * self.right / np.repeat(correct, self.lengths)
        value = -(self.weights * np.log(correct)).sum() + 0.5 * L2 * (theta**2).sum()
        return value, self.matrix.T @ (np.repeat(self.weights, self.lengths) * gradient) + L2 * theta

    def fit(self):
        """Return the weights with the least loss."""
        start = np.zeros(self.matrix.shape[1])
        return minimize(self.loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 200}).x


def cue_names(cases: list[Case]) -> list[str]:
    counts = Counter(cue for case in cases for _, cues, _ in case.candidates for cue in set(cues))
    return sorted(cue for cue, count in counts.items() if count >= 20) + sorted(
        {c for case in cases for c in case.none}
    )


def cross_validated(cases: list[Case], names: list[str]) -> list[tuple[str, float, bool, bool]]:
    """Return source, probability, whether given, and rightness of the likeliest answers, from folds lacking them."""
    results = []
    for fold in range(FOLDS):
        inside = [case for case in cases if zlib.crc32(case.name.encode()) % FOLDS == fold]
        outside = [case for case in cases if zlib.crc32(case.name.encode()) % FOLDS != fold]
        theta = Model(outside, names).fit()
        model = Model(inside, names)
        shares = model.shares(theta)
        for case, start in zip(inside, model.starts, strict=False):
            votes: defaultdict[str, float] = defaultdict(float)
            right = {key: is_right for key, _, is_right in case.candidates}
            for number, (key, _, _) in enumerate(case.candidates):
                votes[key] += shares[start + number]
            best = max(votes, key=lambda key: votes[key]) if votes else ""
            share = votes.get(best, 0.0)
            results.append((case.source, share, case.is_given(best, share), right.get(best, False)))
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    cases = read_cases(arguments.folder)
    names = cue_names(cases)
    results = cross_validated(cases, names)
    limits = (0.3, 0.4, 0.5, 0.6)
    heads = ["as given", *(f"at {limit}" for limit in limits)]
    print("| unmarked solutions | n |" + "".join(f" right, precision {head} |" for head in heads))
    print("|---|---|" + "---|" * len(heads))
    for source in SOURCES:
        own = [result[1:] for result in results if result[0] == source]
        line = f"| {source} | {len(own)} |"
        said_by_rule = [[right for _, given, right in own if given]]
        for said in said_by_rule + [[right for share, _, right in own if share >= limit] for limit in limits]:
            line += f" {sum(said) / len(own):.1%}, {sum(said) / max(1, len(said)):.1%} |"
        print(line)
    if arguments.write:
        theta = Model(cases, names).fit()
        names = [n for n, value in zip(names, theta, strict=True) if "&" not in n or abs(value) >= SMALLEST_PAIR]
        theta = Model(cases, names).fit()
        kept = {name: round(float(value), 2) for name, value in sorted(zip(names, theta, strict=True))}
        lines = ",\n".join(f"{json.dumps(name)}: {value}" for name, value in kept.items() if value)
        WEIGHTS.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
        print(f"\n{len(kept)} weights written")


if __name__ == "__main__":
    main()
