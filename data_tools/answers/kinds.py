r"""Kinds of answers: each reads a text to a value, or does not, and says whether two values agree.

`agreement` asks them in order, and the first that reads both texts and can tell decides; `kind_of` asks the same kinds
whether a gold answer can be graded at all. A kind may read a prediction more freely than a gold answer: for a gold `C`
the prediction's letter counts wherever it stands, and the base of `1101_2` may be left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from data_tools.answers.clock import read_clock, same_time
from data_tools.answers.multiple_choice import gold_option, named_option, same_option
from data_tools.answers.normalize import Number, numbers_agree, read_number, rounds_to, squashed
from data_tools.answers.spoken import spoken
from data_tools.answers.stated import readings
from data_tools.maths.agreement import agree
from data_tools.maths.budget import TooLarge, renew_budget
from data_tools.maths.functions import Undefined, float_of
from data_tools.maths.grammar import parse
from data_tools.maths.number_words import CARDINALS
from data_tools.maths.tokens import LatexError
from data_tools.maths.units import units_agree
from data_tools.maths.values import number, symbols

_MAX_TEXT = 20_000
_ARTICLE = re.compile(r"(?:an?|the)\s+(?=[a-z]{3})")
_BASED = re.compile(
    r"(?:\\text\s*\{)?((?=\w*\d)[0-9A-Za-z]+)\}?\s*_"
    r"\s*(?:\{\s*(?:\\text\s*\{)?\s*(\w+)\s*\}?\s*\}|(\w))\s*"
)
_MIXED = re.compile(r"\d\s+\d+\s*/")
_SMALL_WITH_COMMA = re.compile(r"-?0,\d\d")
_WRAPPED = re.compile(r"\([^()]*\)")
_LOOSE = re.compile(r"\\(?:text|mathrm)(?![A-Za-z])|[{}\s$]|\\[,;:! ]")


class Kind(NamedTuple):
    """One kind of answer.

    Args:
        name: What it is.
        read_gold: The value of a cleaned gold answer of this kind, else None.
        read: The value of a cleaned prediction of this kind, else None.
        compare: A prediction's value and a gold's: the reason why they agree, an empty text where they differ, None
            where this kind cannot tell, so that the next one is asked.
    """

    name: str
    read_gold: Callable[[str], Any]
    read: Callable[[str], Any]
    compare: Callable[[Any, Any], str | None]


def agreement(left: str, right: str) -> str:
    """Return why a cleaned prediction and a cleaned gold answer agree, or an empty text.

    Raises:
        LatexError: One of them cannot be read.
        Undefined: One of them has no value.
        TooLarge: A value is too large to compute.
    """
    if squashed(left) == squashed(right) and bool(_MIXED.search(left)) == bool(_MIXED.search(right)):
        return "same text"
    left, right = spoken(left), spoken(right)
    for kind in KINDS:
        gold = kind.read_gold(right)
        answer = None if gold is None else kind.read(left)
        reason = None if answer is None else kind.compare(answer, gold)
        if reason is not None:
            return reason
    return ""


def kind_of(cleaned: str) -> Kind:
    """Return the kind of a cleaned gold answer; any text is a `TEXT`, so that one is not asked.

    Raises:
        LatexError: No kind reads it.
        TooLarge: It is a number too large to compute.
    """
    for kind in KINDS:
        if kind not in (TEXT, EXPRESSION) and kind.read_gold(cleaned) is not None:
            return kind
    renew_budget()
    _check_expression(cleaned)
    return EXPRESSION


def _same_number(answer: Number, gold: Number) -> str | None:
    if numbers_agree(answer, gold):
        return "same number"
    return None if answer.grouped or gold.grouped else ""  # `1,234` may be a list


def _read_text(text: str) -> str | None:
    low = text.lower()
    return (_ARTICLE.sub("", low, count=1) if _ARTICLE.match(low) else low) if len(text) > 1 else None


def _read_based(text: str) -> tuple[str, int] | None:
    r"""Return digits and base of `1101_2`, `1101_{2}` or `21_{\text{three}}`."""
    match = _BASED.fullmatch(text) if "_" in text else None
    if not match:
        return None
    name = match.group(2) or match.group(3)
    base = int(name) if name.isdigit() and len(name) < 3 else CARDINALS.get(name.lower(), 0)
    return (match.group(1).upper(), base) if 2 <= base <= 36 else None


def _same_based(answer: tuple[str, int], gold: tuple[str, int]) -> str | None:
    if not answer[1]:  # the base is often left out where the question gives it
        return "same digits" if answer[0] == gold[0] else None
    return "same number in its base" if answer == gold else ""


def _same_expression(left: str, right: str) -> str:
    """Try each way to read both texts; if none can be compared, say why the first could not."""
    failure: Exception | None = None
    compared = False
    for ours in readings(left):
        for theirs in readings(right):
            if _is_decimal_comma(left, ours) and not _is_decimal_comma(right, theirs) and "." not in right:
                continue
            if _is_decimal_comma(right, theirs) and not (
                _is_decimal_comma(left, ours) or ("." in left and _SMALL_WITH_COMMA.match(right))
            ):
                continue  # a gold "2,3" is a list
            try:
                reason = _same_reading(ours, theirs)
            except (LatexError, Undefined, TooLarge) as error:
                failure = failure or error
                continue
            compared = True
            if reason:
                return reason
    if failure and not compared:
        short = len(left) + len(right) <= _MAX_TEXT
        if short and left.count("{") == left.count("}") and _loose(left) == _loose(right):
            return "same text"
        raise failure
    return ""


def _is_decimal_comma(text: str, reading: str) -> bool:
    return reading == text.replace(",", ".") and reading != text


def _loose(text: str) -> str:
    loose = _LOOSE.sub("", text).lower()
    return loose[1:-1].rstrip(".") if _WRAPPED.fullmatch(loose) else loose


def _same_reading(left: str, right: str) -> str:
    numbers = read_number(left), read_number(right)
    if numbers[0] and numbers[1]:
        return "same number" if numbers_agree(numbers[0], numbers[1]) else ""
    trees = parse(left), parse(right)
    if not units_agree(trees[0].units, trees[1].units):
        return ""
    # A gold decimal is rounded to its digits; a predicted one must be exact for practical purposes.
    for decimal, other, digits in ((numbers[0], trees[1], 10), (numbers[1], trees[0], 5)):
        if decimal and decimal.digits >= digits and other.node.op in ("add", "mul", "pow", "root", "call", "sym"):
            try:
                value = float_of(number(other.node))
            except (Undefined, TooLarge):
                continue
            if abs(value.imag) < 1e-12 and rounds_to(value.real, decimal):
                return "rounds to the same number"
    return "same value" if agree(trees[0].node, trees[1].node) else ""


def _check_expression(cleaned: str) -> None:
    """Check that one reading of a gold answer is an expression; a number among them has to be within the guards."""
    failure: LatexError | TooLarge | None = None
    for reading in readings(cleaned):
        try:
            node = parse(reading).node
            if not symbols(node) and node.op in ("add", "mul", "pow", "root", "call"):
                number(node)
            return
        except Undefined:  # a list or a sign of both: compared part by part
            return
        except (LatexError, TooLarge) as error:
            failure = error
    if failure:
        raise failure


TEXT = Kind("text", _read_text, _read_text, lambda answer, gold: "same text" if answer == gold else None)
EXPRESSION = Kind("expression", str, str, _same_expression)
KINDS = (
    Kind("number", read_number, read_number, _same_number),
    TEXT,
    Kind("option", gold_option, named_option, same_option),
    Kind("time", read_clock, read_clock, same_time),
    Kind("based integer", _read_based, lambda text: _read_based(text) or (squashed(text).upper(), 0), _same_based),
    EXPRESSION,
)
