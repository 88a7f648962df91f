r"""Detect proofs, and answers in them that can still be graded as values.

A proof-based problem has no short answer, even if its solution boxes something on the way: "$\boxed{n \ge 13}$",
"$\boxed{R \text{ lies on the arc } XY}$". The marks are words; each of five families counts once.
"""

from __future__ import annotations

import re

from data_tools.answers.multiple_choice import option_letter
from data_tools.solutions.question import Question

_FAMILIES = (
    re.compile(r"\\(?:blacksquare|qed|Box|square)(?![a-zA-Z])|\bQ\.?\s?E\.?\s?D\b|[■∎]"),
    re.compile(
        r"\bwe are done\b|\bas (?:desired|required|claimed|wanted)\b|\bcompletes? the (?:proof|induction)\b"
        r"|\bhence proved\b|\bwas to be (?:shown|proved)\b",
        re.IGNORECASE,
    ),
    re.compile(r"contradict|impossib|absurd", re.IGNORECASE),
    re.compile(r"\binducti|\blemma\b|\bclaim\b", re.IGNORECASE),
    re.compile(r"\bpro(?:ve|of|ved|ves|ving)\b", re.IGNORECASE),
)
_IN_TERMS = re.compile(r"\bin\s+terms\s+of\b|\bas\s+a\s+function\s+of\b", re.IGNORECASE)
_COMMAND = re.compile(r"\\[a-zA-Z]+")
_PROSE = re.compile(r"[a-z]{2,}")
_LETTERS_OR_RELATION = re.compile(r"(?<![a-zA-Z\\])[a-z](?![a-zA-Z])|\\(?:text|leq?|geq?|equiv)(?![a-zA-Z])|[=<>]")
_YES_NO = re.compile(r"(?:\\\w+\{)?\s*(?:yes|no|true|false)\b", re.IGNORECASE)


def proof_marks(solution: str) -> int:
    """How many of five families of proof words a solution uses: 0 to 5."""
    return sum(family.search(solution) is not None for family in _FAMILIES)


def is_statement(answer: str, question: Question, marks: int) -> bool:
    """Whether a boxed answer is the statement that a proof arrives at rather than a value.

    Args:
        answer: The content of the box.
        question: What the problem asks for.
        marks: `proof_marks` of the solution.
    """
    if option_letter(answer):
        return False
    if question.all and len(_PROSE.findall(_COMMAND.sub(" ", answer))) >= 3:
        return True
    if marks < (1 if question.all else 2) or _IN_TERMS.search(question.text):
        return False
    return _LETTERS_OR_RELATION.search(answer) is not None


def answers_closed(answer: str) -> bool:
    """Whether an answer is one that a yes-or-no question can have."""
    return _YES_NO.match(answer) is not None
