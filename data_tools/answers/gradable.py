"""Whether a gold answer is something that the verifier can compare with, and if not, why."""

from __future__ import annotations

import re
from typing import Literal

from data_tools.answers.clock import read_clock
from data_tools.answers.multiple_choice import option_letter, read_choices
from data_tools.answers.normalize import clean, read_number
from data_tools.answers.spoken import NO_VALUE, spoken
from data_tools.answers.stated import readings
from data_tools.answers.verify import gold_answers
from data_tools.maths.functions import TooLarge, Undefined
from data_tools.maths.grammar import parse
from data_tools.maths.tokens import LatexError
from data_tools.maths.units import UNIT_WORDS
from data_tools.maths.values import number, symbols

Ungradable = Literal[
    "no_answer", "too_long", "free_text", "unparsable", "unbounded", "proof", "needs_figure", "letter"
]
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{3,}")
_COMMAND = re.compile(r"\\[A-Za-z]+(?:\s*\{(?:[pbvBV]?matrix|cases|array|aligned)\})?")
_TEXT = re.compile(r"\\text\s*\{([^{}]*)\}")
_WORDS = """
sin cos tan cot sec csc log exp sqrt frac max min gcd lcm mod arcsin arccos arctan sinh cosh tanh and the for all
real numbers reals integers infinity undefined none hundred thousand million billion dollars cents
"""
_MATHS_WORDS = frozenset(_WORDS.split())


def why_ungradable(answer: str, problem: str = "") -> tuple[Ungradable | None, str]:
    """Return why the verifier cannot grade an answer, with a detail; None if it can.

    Args:
        answer: A gold answer.
        problem: Its problem, for the options of a multiple choice.
    """
    failure: tuple[Ungradable | None, str] = ("no_answer", "")
    for bare in gold_answers(answer):
        failure = _why_bare(bare, problem)
        if failure[0] is None:
            return failure
    return failure


def _why_bare(bare: str, problem: str) -> tuple[Ungradable | None, str]:
    cleaned = spoken(clean(bare))
    if not cleaned:
        return "no_answer", ""
    if cleaned == NO_VALUE or read_number(cleaned) or read_clock(cleaned):
        return None, ""
    if letter := option_letter(bare):
        return (None, "") if letter in read_choices(problem) or letter.lower() in cleaned else ("letter", letter)
    words = _words(cleaned)
    if words:
        return "free_text", " ".join(words[:5])
    failure: tuple[Ungradable, str] = ("unparsable", "")
    for reading in readings(cleaned):
        try:
            node = parse(reading).node
            if not symbols(node) and node.op in ("add", "mul", "pow", "root", "call"):
                number(node)
        except LatexError as error:
            failure = ("unparsable", str(error))
        except TooLarge as error:
            failure = ("unbounded", str(error))
        except Undefined:  # a list or a sign of both: compared part by part
            return None, ""
        else:
            return None, ""
    return failure


def _words(cleaned: str) -> list[str]:
    """Words of running text in a cleaned answer: units, functions and set words are none."""
    plain = _COMMAND.sub(" ", _TEXT.sub(r" \1 ", cleaned))
    words = [word for word in _WORD.findall(plain) if not word.isupper()]
    return [word for word in words if word.lower() not in _MATHS_WORDS and word not in UNIT_WORDS]
