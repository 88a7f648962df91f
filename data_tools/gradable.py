r"""Problems whose answer the verifier can grade (the third step of DeepScaleR), the others with the reason.

A reward is only as good as the gold answer: free text, a proof, a picture nobody sees, a number too large to compare
or a text outside the verifier's grammar grades right outputs wrong. The answer is read by the verifier's own parser,
so that what passes here is what `data_tools.verify` can compare. Whether the answer is right is not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Literal

from data_tools.answers import readings
from data_tools.choices import option_letter, read_choices
from data_tools.clock import read_clock
from data_tools.columns import text
from data_tools.functions import TooLarge, Undefined
from data_tools.latex import parse
from data_tools.normalize import clean, read_number
from data_tools.probing import number, symbols
from data_tools.question import read_question
from data_tools.rows import Dropped, Row
from data_tools.spoken import NO_VALUE, spoken
from data_tools.tokens import LatexError
from data_tools.tool import per_row
from data_tools.units import UNIT_WORDS
from data_tools.verify import gold_answers

Ungradable = Literal[
    "no_answer", "too_long", "free_text", "unparsable", "unbounded", "proof", "needs_figure", "letter"
]

_FIGURE = re.compile(
    r"\b(?:see|shown|given|depicted|drawn|illustrated|displayed|pictured)\s+(?:\w+\s+){0,4}?"
    r"(?:figures?|diagrams?|pictures?|drawings?|charts?)\b"
    r"|\b(?:figures?|diagrams?|pictures?|charts?)\s+(?:\w+\s+){0,2}?(?:below|above|shown|at\s+(?:the\s+)?right)\b"
    r"|\b(?:in|on|from|of)\s+(?:the|this)\s+(?:adjacent\s+)?(?:figure|diagram)\b"
    r"|\bas\s+shown\b(?!\s+(?:in|by)\s+\w+\s+(?:table|equation))|<img|!\[[^\]]*\]\(|\\includegraphics",
    re.IGNORECASE,
)
_PICTURE_IN_TEXT = re.compile(
    r"\[asy\]|\\begin\{(?:tikzpicture|asy|tabular|array|picture)\}|\|\s*-{3,}", re.IGNORECASE
)
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{3,}")
_COMMAND = re.compile(r"\\[A-Za-z]+(?:\s*\{(?:[pbvBV]?matrix|cases|array|aligned)\})?")
_TEXT = re.compile(r"\\text\s*\{([^{}]*)\}")
_WORDS = """
sin cos tan cot sec csc log exp sqrt frac max min gcd lcm mod arcsin arccos arctan sinh cosh tanh and the for all
real numbers reals integers infinity undefined none hundred thousand million billion dollars cents
"""
_MATHS_WORDS = frozenset(_WORDS.split())


def gradable(
    rows: Iterable[Row],
    *,
    max_chars: int = 200,
    allow_text: bool = False,
    allow_figures: bool = False,
) -> Iterator[Row | Dropped]:
    """Keep problems whose answer the verifier can grade.

    Args:
        rows: Problems with an answer; a list of answers is gradable if each is.
        max_chars: Longest answer kept.
        allow_text: Keep answers that are a word or a name, such as "Tuesday", which are compared as texts.
        allow_figures: Keep problems that speak of a figure which is not in the text.

    Drops:
        no_answer: The answer is missing or empty.
        too_long: It is longer than max_chars.
        proof: The problem asks for a proof.
        needs_figure: The problem speaks of a figure that is not in its text.
        letter: The answer is an option letter, and the problem does not list the options.
        free_text: The answer is words.
        unbounded: The answer is a number too large to compare.
        unparsable: The verifier cannot read the answer; the match says why.
    """
    return per_row(check_gradable, rows, max_chars=max_chars, allow_text=allow_text, allow_figures=allow_figures)


def check_gradable(row: Row, *, max_chars: int, allow_text: bool, allow_figures: bool) -> Row | Dropped:
    """Keep or drop one row; see `gradable`."""
    problem = text(row, "problem")
    answers = _answers(row)
    if not answers or not all(answer.strip() for answer in answers):
        return Dropped(row, "no_answer")
    if any(len(answer) > max_chars for answer in answers):
        return Dropped(row, "too_long", max(map(len, answers)))
    if read_question(problem).proof == "only":
        return Dropped(row, "proof")
    if not allow_figures and needs_figure(problem):
        return Dropped(row, "needs_figure")
    for answer in answers:
        reason, detail = why_ungradable(answer, problem)
        if reason and not (allow_text and reason == "free_text"):
            return Dropped(row, reason, detail)
    return row


def needs_figure(problem: str) -> bool:
    """Say whether a problem speaks of a figure, and its text draws none."""
    return bool(_FIGURE.search(problem)) and not _PICTURE_IN_TEXT.search(problem)


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


def _answers(row: Row) -> list[str]:
    value = row.get("answer")
    if isinstance(value, list):
        return [str(item) for item in value]
    return [] if value is None else [str(value)]
