"""Whether a gold answer is something that the verifier can compare with, and if not, why.

The verifier's own kinds of answers are asked (`kinds.kind_of`). Three things are no answers though the verifier would
compare their texts: a table's mark of a missing value, running text, and a letter whose problem has no such option.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from data_tools.answers.kinds import EXPRESSION, kind_of
from data_tools.answers.multiple_choice import option_letter, read_choices
from data_tools.answers.normalize import clean
from data_tools.answers.spoken import NO_VALUE, spoken
from data_tools.answers.verify import gold_answers
from data_tools.maths.budget import TooLarge
from data_tools.maths.tokens import LatexError
from data_tools.maths.units import UNIT_WORDS

Reason = Literal["no_answer", "free_text", "unparsable", "unbounded", "letter"]
_MISSING = frozenset(("nan", "none", "null", "n/a", "<na>"))
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{3,}")
_COMMAND = re.compile(r"\\[A-Za-z]+(?:\s*\{(?:[pbvBV]?matrix|cases|array|aligned)\})?")
_TEXT = re.compile(r"\\text\s*\{([^{}]*)\}")
_WORDS = """
sin cos tan cot sec csc log exp sqrt frac max min gcd lcm mod arcsin arccos arctan sinh cosh tanh and the for all
real numbers reals integers infinity undefined none hundred thousand million billion dollars cents
"""
_MATHS_WORDS = frozenset(_WORDS.split())
_NAME = re.compile(r"[^\W\d_](?:[^\W\d_]|[\s'’.,&-])*|[^\W\d_]+\s*\d+")
_MOST_WORDS = 8
"""More words are a sentence, not a name."""


@dataclass(frozen=True, slots=True)
class Ungradable:
    """Why an answer cannot be graded.

    Args:
        reason: In one word, as it is counted.
        sentence: What is said of the answer: `is empty`, `'it depends' is free text`.
        detail: What stopped the verifier; empty where there is no more to say.
    """

    reason: Reason
    sentence: str
    detail: str = ""


def why_ungradable(answer: Any, problem: str | None = None, *, allow_text: bool = False) -> Ungradable | None:
    """Return why the verifier cannot grade a gold answer; None if it can.

    Args:
        answer: The value of a row's `answer`: a text, a number, or a list of which each is right and has to be
            gradable.
        problem: Its problem, which has to list the options if the answer is an option letter; None: a letter will do.
        allow_text: Whether a word or a name (`Tuesday`, `March 14`) will do: it is compared as a text.
    """
    if answer is None:
        return Ungradable("no_answer", "is missing")
    if isinstance(answer, list):
        faults = (why_ungradable(item, problem, allow_text=allow_text) for item in answer)
        return next((f for f in faults if f), None) if answer else Ungradable("no_answer", "is an empty list")
    if not isinstance(answer, str | int | float) or isinstance(answer, bool):
        return Ungradable("unparsable", f"is {answer!r}, not a text", "not a text")
    if not str(answer).strip():
        return Ungradable("no_answer", "is empty")
    shown = f"{str(answer)[:40]!r}"
    fault: Ungradable | None = Ungradable("no_answer", f"{shown} holds no answer")
    for bare in gold_answers(str(answer)):
        if bare.strip().lower() in _MISSING and bare.strip() != "none":  # the empty set, said in words
            return Ungradable("no_answer", f"is {bare.strip()!r}: a table's mark of a missing value")
        letter = option_letter(bare) if problem is not None else None
        if letter and letter.isupper() and letter not in read_choices(problem or ""):
            fault = Ungradable("letter", f"{shown} is an option letter, but the problem lists no such option", letter)
        elif cleaned := spoken(clean(bare)):
            fault = _why_cleaned(cleaned, shown, allow_text)
        if fault is None:
            return None
    return fault


def _why_cleaned(cleaned: str, shown: str, allow_text: bool) -> Ungradable | None:
    plain = _TEXT.sub(r" \1 ", cleaned)
    if allow_text and _NAME.fullmatch(plain.strip(" {}")) and len(plain.split()) <= _MOST_WORDS:
        return None
    failure: LatexError | TooLarge | None = None
    try:
        if kind_of(cleaned) is not EXPRESSION or cleaned == NO_VALUE:
            return None
    except (LatexError, TooLarge) as error:
        failure = error
    if words := _words(plain):
        return Ungradable("free_text", f"{shown} is free text", " ".join(words[:5]))
    if failure is None:
        return None
    if cleaned.count("{") != cleaned.count("}"):
        return Ungradable("unparsable", f"{shown} has braces that do not balance", str(failure))
    reason: Reason = "unbounded" if isinstance(failure, TooLarge) else "unparsable"
    return Ungradable(reason, f"{shown} cannot be graded: {failure}", str(failure))


def _words(plain: str) -> list[str]:
    """Words of running text in an answer: units, functions and set words are none."""
    words = [word for word in _WORD.findall(_COMMAND.sub(" ", plain)) if not word.isupper()]
    return [word for word in words if word.lower() not in _MATHS_WORDS and word not in UNIT_WORDS]
