r"""Which candidate of a worked solution is its answer: a log-linear model over cues.

Every candidate has the weight of its cues; so has "the solution does not state its answer". The softmax over all of
them is a probability, and equal texts add theirs up: an answer that is announced and found again wins. The weights
in `ranking_weights.json` were fitted on solutions with known answers by `benchmarks/fit_extract.py`; the cues are
those of `data_tools.solutions.cues` and pairs of them. A cue without a weight counts nothing.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter, defaultdict
from functools import cache
from itertools import combinations
from pathlib import Path

from data_tools.solutions.candidates import Statement
from data_tools.solutions.cues import item_cues, repeat_cues, statement_cues
from data_tools.solutions.question import Question
from data_tools.solutions.sentences import maths_key

WEIGHTS = Path(__file__).with_name("ranking_weights.json")
"""Cue -> weight."""
_PROOF_WORDS = re.compile(
    r"\\(?:blacksquare|qed|square)(?![a-zA-Z])|\bQ\.?E\.?D\b|\b(?:prove|proof|claim|lemma|induction|inductive|"
    r"contradiction)\b|\bas\s+desired\b|\bwe\s+are\s+done\b|\bshow\s+that\b",
    re.IGNORECASE,
)
_PAIRED = (
    "from-end:", "last", "not-last", "says:answer", "says:therefore", "says:example", "says:conclusion", "before:is",
    "before:get", "before:answer-is", "before:count", "relation:", "left:", "kind:", "ends-", "alone", "places:",
    "shape:", "letters:",
)  # fmt: skip


def ranked(statements: list[Statement], question: Question, *, solution: str) -> list[tuple[str, float]]:
    """Return the candidate answers and their probabilities, likeliest first.

    Args:
        statements: The statements of the solution.
        question: What the problem asks for.
        solution: The solution itself; long ones and proofs state their answer less often.

    Returns:
        Answers with probabilities; what is missing to 1 is the probability that none is right.
    """
    scores: list[tuple[str, str, float]] = []
    for key, answer, cues in candidate_cues(statements, question):
        scores.append((key, answer, _weight(cues)))
    none = _weight(none_cues(question, solution))
    top = max([none, *(score for _, _, score in scores)])
    total = math.exp(none - top)
    shares: defaultdict[str, float] = defaultdict(float)
    texts: dict[str, str] = {}
    for key, answer, score in scores:
        share = math.exp(score - top)
        total += share
        shares[key] += share
        texts[key] = answer
    order = sorted(shares, key=lambda key: shares[key], reverse=True)
    return [(texts[key], shares[key] / total) for key in order]


def candidate_cues(statements: list[Statement], question: Question) -> list[tuple[str, str, list[str]]]:
    """Return key, text and cues of every candidate, in order; equal keys mean equal answers."""
    keys = [[maths_key(item.answer) for item in statement.items] for statement in statements]
    counts = Counter(key for row in keys for key in row)
    places = Counter(key for row in keys for key in set(row))
    candidates = []
    for statement, row in zip(statements, keys, strict=True):
        shared = statement_cues(statement, question)
        for number, key in enumerate(row):
            cues = shared + item_cues(statement, number, question) + repeat_cues(counts[key], places[key])
            paired = sorted({cue for cue in cues if cue.startswith(_PAIRED)})
            cues += [f"{one}&{other}" for one, other in combinations(paired, 2)]
            candidates.append((key, statement.items[number].answer, cues))
    return candidates


def none_cues(question: Question, solution: str) -> list[str]:
    """Return the cues for "no candidate is the answer": what is asked, length, how much it reads like a proof."""
    size = "long" if len(solution) > 3_000 else "mid" if len(solution) > 800 else "short"
    marks = len({match.group()[:5].lower() for match in _PROOF_WORDS.finditer(solution)})
    return [
        "none",
        f"none:proof-{question.proof}",
        f"none:{question.kind}",
        f"none:{size}",
        f"none:reads-{min(marks, 3)}",
    ]


def _weight(cues: list[str]) -> float:
    weights = _weights()
    return sum(weights.get(cue, 0.0) for cue in cues)


@cache
def _weights() -> dict[str, float]:
    weights: dict[str, float] = json.loads(WEIGHTS.read_text(encoding="utf-8"))
    return weights
