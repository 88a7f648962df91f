r"""Which candidate of a worked solution is its answer: a log-linear model over cues.

Every candidate has the weight of its cues; so has "the solution does not state its answer". The softmax over all of
them is a probability, and equal texts add theirs up: an answer that is announced and found again wins. The weights
were fitted on solutions with known answers by `benchmarks/fit_extract.py`, which prints the table below; the cues
are those of `data_tools.cues`, a cue without a weight counts nothing.
"""

from __future__ import annotations

import math
from collections import defaultdict

from data_tools.candidates import Statement
from data_tools.cues import item_cues, statement_cues
from data_tools.question import Question
from data_tools.statements import maths_key


def ranked(found: list[Statement], question: Question, *, length: int) -> list[tuple[str, float]]:
    """Return the candidate answers and their probabilities, likeliest first.

    Args:
        found: The statements of the solution.
        question: What the problem asks for.
        length: Characters of the solution; long ones state their answer less often.

    Returns:
        Answers with probabilities; what is missing to 1 is the probability that none is right.
    """
    scores: list[tuple[str, str, float]] = []
    for statement in found:
        shared = _weight(statement_cues(statement, question))
        for number, item in enumerate(statement.items):
            weight = shared + _weight(item_cues(statement, number, question))
            scores.append((maths_key(item.answer), item.answer, weight))
    none = _weight(none_cues(question, length))
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


def none_cues(question: Question, length: int) -> list[str]:
    """Return the cues for "no candidate is the answer"."""
    size = "long" if length > 3_000 else "mid" if length > 800 else "short"
    return ["none", f"none:proof-{question.proof}", f"none:{question.kind}", f"none:{size}"]


def _weight(cues: list[str]) -> float:
    return sum(WEIGHTS.get(cue, 0.0) for cue in cues)


WEIGHTS: dict[str, float] = {
    "after:done": 0.10,
    "after:next": -1.15,
    "after:premise": 0.84,
    "after:verb": 0.63,
    "alone": 0.07,
    "asked-words:half": 0.18,
    "asked-words:most": 0.25,
    "asked-words:none": -0.61,
    "asked-words:some": -0.32,
    "before:answer-is": 1.00,
    "before:bound": 0.44,
    "before:choice": -0.44,
    "before:count": 0.42,
    "before:get": 0.66,
    "before:is": 1.37,
    "before:of": 0.02,
    "before:premise": -0.69,
    "closed:expression": -0.12,
    "closed:integer": -0.37,
    "closed:letter": -0.15,
    "closed:list": -0.05,
    "count:expression": 0.76,
    "count:integer": 1.30,
    "count:letter": -0.66,
    "count:list": -0.88,
    "count:number": 0.29,
    "count:sum": 0.39,
    "count:tuple": -0.97,
    "counts-noun": 1.52,
    "ends-paragraph": 0.37,
    "ends-sentence": 1.06,
    "from-end:0": 2.48,
    "from-end:1": 0.09,
    "from-end:2": -1.13,
    "from-end:3": -1.38,
    "from-end:4": -1.56,
    "from-end:9": -0.42,
    "from-start:0": 0.75,
    "from-start:1": -0.48,
    "function:expression": 0.25,
    "function:integer": -0.58,
    "function:letter": 0.44,
    "function:list": -0.21,
    "function:number": -0.62,
    "function:tuple": 0.23,
    "kind:equation": -1.48,
    "kind:expression": 0.22,
    "kind:list": -0.31,
    "kind:number": -0.35,
    "last": -0.12,
    "last-of-answer-sentence": 0.69,
    "left:arithmetic": -0.01,
    "left:asked": -0.67,
    "left:none": -0.41,
    "left:other": -0.78,
    "left:other-letter": -0.71,
    "left:target": 1.75,
    "letters:known": -0.18,
    "letters:new": -1.72,
    "list:expression": -0.36,
    "list:integer": 0.24,
    "list:letter": -0.37,
    "list:list": 0.93,
    "list:number": -0.50,
    "list:sum": -0.29,
    "list:tuple": -0.31,
    "long": -0.59,
    "long-chain": 0.43,
    "no-name": -1.09,
    "none": 1.92,
    "none:closed": 0.76,
    "none:count": -0.22,
    "none:function": 0.52,
    "none:list": 0.67,
    "none:long": 0.43,
    "none:mid": 0.85,
    "none:other": -0.05,
    "none:probability": 0.11,
    "none:proof-none": -0.76,
    "none:proof-only": 1.95,
    "none:proof-too": 0.72,
    "none:short": 0.63,
    "none:tuple": 0.13,
    "not-last": -1.80,
    "other:expression": 0.04,
    "other:integer": 0.87,
    "other:letter": -0.66,
    "other:list": -0.42,
    "other:number": 0.28,
    "other:sum": -0.08,
    "other:tuple": 0.01,
    "probability:expression": -0.52,
    "probability:integer": -0.40,
    "probability:letter": -0.05,
    "probability:list": -0.64,
    "probability:number": 1.19,
    "probability:sum": 0.35,
    "probability:tuple": -0.03,
    "relation:!": -0.91,
    "relation:<": -0.73,
    "relation:<=": 0.05,
    "relation:=": 0.99,
    "relation:>": -0.62,
    "relation:>=": 0.52,
    "relation:in": 0.43,
    "relation:mod": 0.10,
    "relation:~": -0.66,
    "says:answer": 0.24,
    "says:claim": 0.37,
    "says:conclusion": 0.60,
    "says:example": -0.25,
    "says:extreme": 0.73,
    "says:finally": 0.56,
    "says:only": 0.06,
    "says:premise": -0.10,
    "says:therefore": 0.02,
    "says:wanted": 0.22,
    "shape:expression": -0.59,
    "shape:integer": 0.93,
    "shape:letter": -1.56,
    "shape:list": -0.68,
    "shape:number": 0.51,
    "shape:sum": 0.33,
    "shape:tuple": -0.87,
    "stated-in-problem": -1.54,
    "tuple:expression": -0.63,
    "tuple:integer": -0.12,
    "tuple:letter": -0.10,
    "tuple:list": 0.59,
    "tuple:number": -0.06,
    "tuple:tuple": 0.21,
}
