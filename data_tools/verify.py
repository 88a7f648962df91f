r"""Whether a prediction is the gold answer: the cheapest sufficient test first.

Caps, then normalised text, exact numbers, typed comparison of lists, tuples, sets, intervals and matrices, and last a
guarded parse with numeric probing. A verdict is right, wrong, unparsable or timeout, never a silent zero: `unparsable`
says that the verifier could not read an answer, which is no evidence about it.

Nothing is evaluated as code, no signal is used, no state is shared: it works in threads and under asyncio. A hard
deadline needs a process that can be killed: `data_tools.workers.VerifierPool`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from data_tools.boxed import (
    final_boxes,
    last_answer_phrase,
    last_maths,
    last_number,
    without_thinking,
)
from data_tools.normalize import Number, clean, numbers_agree, read_number, rounds_to, squashed
from data_tools.structure import Shape, based_integer, shape, without_lhs, without_unit
from data_tools.symbolic import Refused, numeric_value, same_expression

MAX_CHARS = 20_000
"""Of a longer prediction only the end is read: that is where the answer is."""

Outcome = Literal["right", "wrong", "unparsable", "timeout"]
_BARE = 300
_LETTER = re.compile(r"\(?\s*([A-J])\s*\)?\.?")
_OPTION = re.compile(r"\(\s*([A-J])\s*\)|(?<![A-Za-z])([A-J])\s*[).:]\s")
_PERCENT = re.compile(r"\s*%\s*$")
_WORDS = re.compile(r"[A-Za-z]{3,}\s+[a-z]{2,}\s+[a-z]")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the verifier decided.

    Args:
        correct: Whether the prediction is right.
        outcome: `right`, `wrong`, `unparsable` (one side could not be read) or `timeout`.
        reason: Which test decided, or why none could.
    """

    correct: bool
    outcome: Outcome
    reason: str


def verify(prediction: str, gold: str | list[str]) -> Verdict:
    r"""Compare a prediction with the gold answer.

    Args:
        prediction: A bare answer or a whole model output; of an output, the part behind its thought counts, and in
            it the last box, answer phrase, formula or number.
        gold: The answer, or several of which each is right.

    Returns:
        The verdict; never raises on any text.

    Example:
        >>> verify("... so it is \\boxed{\\frac{1}{2}}.", "0.5").correct
        True
    """
    golds = [gold] if isinstance(gold, str) else list(gold)
    answers = candidates(prediction)
    if not answers:
        return Verdict(False, "unparsable", "no answer found in the prediction")
    verdicts = [_verdict(answer, gold_answer(text)) for answer in answers for text in golds]
    for outcome in ("right", "wrong"):
        for verdict in verdicts:
            if verdict.outcome == outcome:
                return verdict
    return verdicts[0] if verdicts else Verdict(False, "unparsable", "no gold answer")


def candidates(prediction: str) -> list[str]:
    """Return what may be the answer in a prediction: one text, or that of a joined group of boxes."""
    if not prediction.strip():
        return []
    text = without_thinking(prediction[-MAX_CHARS:])
    boxes = final_boxes(text) if "box" in text else []
    if boxes:
        joined = ", ".join(box.content for box in boxes)
        return [joined] if len(boxes) == 1 else [joined, boxes[-1].content]
    if _is_bare(text):
        return [text]
    phrase = last_answer_phrase(text)
    if phrase:
        inner = last_maths(phrase.content)
        return [inner.content if inner else phrase.content]
    formula = last_maths(text)
    if formula and len(formula.content) <= _BARE:
        return [formula.content]
    number = last_number(text)
    return [number.content] if number else [text] if len(text) <= _BARE else []


def _is_bare(text: str) -> bool:
    stripped = text.strip()
    if len(stripped) > _BARE or "\n\n" in stripped:
        return len(stripped) > _BARE and not re.search(r"\s[a-z]+\s", stripped[:2000])
    return not _WORDS.search(stripped) and "####" not in stripped and last_answer_phrase(stripped) is None


@lru_cache(maxsize=65_536)
def gold_answer(gold: str) -> str:
    """Return the bare answer of a gold text, which may itself be boxed, between dollars, or a sentence."""
    found = candidates(gold)
    return found[0] if found else gold


def _verdict(answer: str, gold: str) -> Verdict:
    left, right = clean(answer), clean(gold)
    if not right:
        return Verdict(False, "unparsable", "the gold answer is empty")
    if not left:
        return Verdict(False, "unparsable", "the answer is empty")
    try:
        reason = _agree(left, right, depth=0)
    except Refused as error:
        return Verdict(False, "unparsable", str(error))
    return (
        Verdict(True, "right", reason) if reason else Verdict(False, "wrong", f"{left[:60]!r} is not {right[:60]!r}")
    )


def _agree(left: str, right: str, depth: int) -> str:
    """Return the test by which two cleaned answers agree, or an empty text."""
    if squashed(left) == squashed(right):
        return "same text"
    numbers = read_number(left), read_number(right)
    if numbers[0] and numbers[1]:
        return "same number" if numbers_agree(numbers[0], numbers[1]) else ""
    if left.lower() == right.lower() and len(left) > 1:
        return "same text"
    letter = _LETTER.fullmatch(right)
    if letter:
        return "same choice" if _choice(left) == letter.group(1) else ""
    return _agree_typed(left, right, depth)


def _choice(text: str) -> str:
    whole = _LETTER.fullmatch(text)
    if whole:
        return whole.group(1)
    option = _OPTION.search(text + " ")
    return (option.group(1) or option.group(2)) if option else ""


def _agree_typed(left: str, right: str, depth: int) -> str:
    bases = based_integer(left), based_integer(right)
    if bases[0] and bases[1]:
        return "same number in its base" if bases[0] == bases[1] else ""
    if bases[1] and not bases[0]:  # the base is often left out where the question gives it
        return "same digits" if squashed(left).upper() == bases[1][0] else ""
    shapes = shape(without_lhs(left)), shape(without_lhs(right))
    if depth < 4 and ("one" not in (shapes[0].kind, shapes[1].kind)):
        return _agree_shapes(shapes[0], shapes[1], depth)
    if "one" not in (shapes[0].kind, shapes[1].kind) or (shapes[0].kind == "one") != (shapes[1].kind == "one"):
        many = shapes[0] if shapes[0].kind != "one" else shapes[1]
        if len(many.items) == 1 and depth < 4:
            return _agree(shapes[0].items[0], shapes[1].items[0], depth + 1)
        if many.kind != "matrix" and "cup" not in left + right:
            return ""
    return _agree_values(left, right)


def _agree_shapes(left: Shape, right: Shape, depth: int) -> str:
    if len(left.items) != len(right.items):
        return ""
    kinds = {left.kind, right.kind}
    ordered = kinds <= {"tuple", "matrix"} or kinds == {"tuple", "list"}
    if kinds == {"tuple"} and left.brackets != right.brackets:
        return ""
    if kinds == {"matrix"} and left.rows != right.rows:
        return ""
    if kinds == {"tuple", "set"}:
        return ""
    if ordered:
        pairs = zip(left.items, right.items, strict=True)
        return "same parts" if all(_agree(a, b, depth + 1) for a, b in pairs) else ""
    rest = list(right.items)
    for item in left.items:
        found = next((i for i, other in enumerate(rest) if _agrees_somehow(item, other, depth)), None)
        if found is None:
            return ""
        rest.pop(found)
    return "same set of parts"


def _agrees_somehow(left: str, right: str, depth: int) -> bool:
    try:
        return bool(_agree(left, right, depth + 1))
    except Refused:
        return False


def _agree_values(left: str, right: str) -> str:
    left, right = without_unit(without_lhs(left)), without_unit(without_lhs(right))
    if squashed(left) == squashed(right):
        return "same value"
    percents = bool(_PERCENT.search(left)), bool(_PERCENT.search(right))
    if any(percents):
        left, right = _PERCENT.sub("", left), _PERCENT.sub("", right)
    numbers = read_number(left), read_number(right)
    if numbers[0] and numbers[1]:
        return "same number" if _numbers(numbers[0], numbers[1], percents) else ""
    if _decimal_of(numbers[0], right) or _decimal_of(numbers[1], left):
        return "rounds to the same number"
    return "same expression" if same_expression(left, right) else ""


def _numbers(left: Number, right: Number, percents: tuple[bool, bool]) -> bool:
    if numbers_agree(left, right):
        return True
    if percents[0] == percents[1]:
        return False
    fraction, percent = (right, left) if percents[0] else (left, right)
    return fraction.value * 100 == percent.value


def _decimal_of(number: Number | None, expression: str) -> bool:
    """Whether a decimal of 5 digits or more is an irrational expression's value, rounded."""
    if number is None or number.digits < 5:
        return False
    value = numeric_value(expression)
    return abs(value.imag) < 1e-12 and rounds_to(value.real, number)
