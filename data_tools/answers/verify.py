r"""Whether a prediction is the gold answer: the cheapest sufficient test first.

Caps, then normalised text, exact numbers, and for what is left a bounded parse (`grammar`), typed comparison
(`agreement`) and values at fixed points (`values`). A verdict is right, wrong, unparsable or timeout, never a silent
zero: `unparsable` says that the verifier could not read one side, which is no evidence about the answer.

Nothing is evaluated as code, no computer algebra is used, no signal is set and no state but caches is shared, so it
works in threads and under asyncio. Work is bounded by caps; `data_tools.answers.verifier_pool.VerifierPool` adds a
hard deadline. The conventions (rounding, percent, units, order) are listed with examples in docs/verify.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from data_tools.answers.clock import clocks_agree, read_clock
from data_tools.answers.marks import last_answer_phrase
from data_tools.answers.normalize import clean, numbers_agree, read_number, rounds_to, squashed
from data_tools.answers.spoken import spoken
from data_tools.answers.stated import candidates, last_number, readings
from data_tools.maths.agreement import agree
from data_tools.maths.budget import TooLarge, renew_budget
from data_tools.maths.functions import Undefined, float_of
from data_tools.maths.grammar import parse
from data_tools.maths.tokens import LatexError
from data_tools.maths.units import units_agree
from data_tools.maths.values import number
from data_tools.traces.thoughts import behind_any_tag

Outcome = Literal["right", "wrong", "unparsable", "timeout"]
MAX_GOLD = 300
"""A longer gold text is a worked solution, of which the stated answer counts."""
_MAX_TEXT = 20_000
_LETTER = re.compile(r"\(?\s*([A-J])\s*\)?\.?")
_OPTION = re.compile(r"\(\s*([A-J])\s*\)|(?<![A-Za-z\\])([A-J])\s*(?:[).:]|\s[A-Za-z]{2,})")
_GOLD_OPTION = re.compile(r"\(\s*([A-J])\s*\)\s*\S")
_STATED_OPTION = re.compile(
    r"\(\s*([A-J])\s*\)|(?:[Oo]ption|[Cc]hoice|[Aa]nswer)(?: is)?[:\s]*\**\s*([A-J])(?![A-Za-z])|^\**([A-J])[).]"
)
_OPTION_WORD = re.compile(r"\b(?:option|choice|answer)\b", re.IGNORECASE)
_ARTICLE = re.compile(r"(?:an?|the)\s+(?=[a-z]{3})")
_BASED = re.compile(
    r"(?:\\text\s*\{)?((?=\w*\d)[0-9A-Za-z]+)\}?\s*_"
    r"\s*(?:\{\s*(?:\\text\s*\{)?\s*(\w+)\s*\}?\s*\}|(\w))\s*"
)
_BASES = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10}
_MIXED = re.compile(r"\d\s+\d+\s*/")
_SMALL_WITH_COMMA = re.compile(r"-?0,\d\d")
_WRAPPED = re.compile(r"\([^()]*\)")
_LOOSE = re.compile(r"\\(?:text|mathrm)(?![A-Za-z])|[{}\s$]|\\[,;:! ]")


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


def verify(prediction: str, gold: str | list[str], *, with_thought: bool = True) -> Verdict:
    r"""Compare a prediction with the gold answer.

    Args:
        prediction: A bare answer or a whole model output; of an output, the part behind its thought counts, and in
            it the last box, answer phrase, formula or number.
        gold: The answer, or several of which each is right.
        with_thought: False if the thought was cut off before, so that all of the prediction counts.

    Returns:
        The verdict; never raises on any text.

    Example:
        >>> verify("... so it is \\boxed{\\frac{1}{2}}.", "0.5").correct
        True
    """
    if isinstance(gold, str) and prediction.strip() and prediction.strip() == gold.strip():
        return Verdict(True, "right", "same text")
    answers = candidates(behind_any_tag(prediction) if with_thought else prediction)
    if not answers:
        return Verdict(False, "unparsable", "no answer found in the prediction")
    if isinstance(gold, str) and _LETTER.fullmatch(clean(gold)) and (option := _last_option(prediction)):
        answers = [option]
    verdicts = [
        _verdict(answer, bare) for text in ([gold] if isinstance(gold, str) else gold)
        for bare in gold_answers(text) for answer in answers
    ]  # fmt: skip
    for outcome in ("right", "wrong"):
        for verdict in verdicts:
            if verdict.outcome == outcome:
                return verdict
    return verdicts[0] if verdicts else Verdict(False, "unparsable", "no gold answer")


@lru_cache(maxsize=65_536)
def gold_answers(gold: str) -> tuple[str, ...]:
    """Return the bare answers of a gold text: all of it, unless it is long, boxed or says "the answer is"."""
    stated = "box" in gold or len(gold) > MAX_GOLD or last_answer_phrase(gold) is not None
    return (tuple(candidates(behind_any_tag(gold))) if stated else ()) or (gold,)


def gold_answer(gold: str) -> str:
    """Return the likeliest of `gold_answers`."""
    return gold_answers(gold)[0]


def _verdict(answer: str, gold: str) -> Verdict:
    left, right = clean(answer), clean(gold)
    if not left or not right:
        return Verdict(False, "unparsable", "the answer is empty" if right else "the gold answer is empty")
    try:
        renew_budget()
        reason = _agree(left, right)
    except RecursionError:  # the caller's own stack was nearly used up
        return Verdict(False, "unparsable", "nested too deep")
    except (LatexError, Undefined, TooLarge) as error:
        tail = last_number(left)
        if tail and " " in left.strip() and squashed(tail) != squashed(left):
            rescued = _verdict(tail, gold)
            if rescued.correct:
                return rescued
        return Verdict(False, "unparsable", str(error))
    if reason:
        return Verdict(True, "right", reason)
    return Verdict(False, "wrong", f"{left[:60]!r} is not {right[:60]!r}")


def _agree(left: str, right: str) -> str:
    """Return the test by which two cleaned answers agree, or an empty text."""
    if squashed(left) == squashed(right) and bool(_MIXED.search(left)) == bool(_MIXED.search(right)):
        return "same text"
    left, right = spoken(left), spoken(right)
    numbers = read_number(left), read_number(right)
    if numbers[0] and numbers[1]:
        if numbers_agree(numbers[0], numbers[1]):
            return "same number"
        if "," not in left + right:
            return ""
    if len(left) > 1 and _without_article(left) == _without_article(right):
        return "same text"
    letter = _LETTER.fullmatch(right)
    if not letter and len(right) > 3 and (stated := _GOLD_OPTION.match(right)) and _LETTER.fullmatch(left):
        return "same choice" if _choice(left) == stated.group(1) else ""
    if letter and (choice := _choice(left)):
        return "same choice" if choice == letter.group(1) else ""
    ours, theirs = read_clock(left), read_clock(right)
    if ours and theirs and (ours.half or theirs.half or _are_times(left, right)):
        return "same time" if clocks_agree(ours, theirs) else ""
    bases = _based_integer(left), _based_integer(right)
    if bases[0] and bases[1]:
        return "same number in its base" if bases[0] == bases[1] else ""
    if bases[1] and squashed(left).upper() == bases[1][0]:  # the base is often left out where the question gives it
        return "same digits"
    return _agree_readings(left, right)


def _are_times(left: str, right: str) -> bool:
    """Whether two texts such as `4:05` are times and no ratios: a ratio has no zero in front."""
    return ":" in left and ":" in right and ":0" in left + right


def _choice(text: str) -> str:
    whole = _LETTER.fullmatch(text)
    if whole:
        return whole.group(1)
    option = _OPTION.search(text)
    return (option.group(1) or option.group(2)) if option else ""


def _last_option(prediction: str) -> str:
    """Return the option letter that a longer output ends with; an empty text for a bare answer or a box."""
    tail = prediction[-400:]
    if "\\box" in tail or (len(prediction) < 20 and not _OPTION_WORD.search(tail)):
        return ""
    found = _STATED_OPTION.findall(tail)
    return "".join(found[-1]) if found else ""


def _based_integer(text: str) -> tuple[str, int] | None:
    r"""Return digits and base of `1101_2`, `1101_{2}` or `21_{\text{three}}`."""
    match = _BASED.fullmatch(text) if "_" in text else None
    if not match:
        return None
    name = match.group(2) or match.group(3)
    base = int(name) if name.isdigit() and len(name) < 3 else _BASES.get(name.lower(), 0)
    return (match.group(1).upper(), base) if 2 <= base <= 36 else None


def _agree_readings(left: str, right: str) -> str:
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
                reason = _agree_parsed(ours, theirs)
            except (LatexError, Undefined, TooLarge) as error:
                failure = failure or error
                continue
            compared = True
            if reason:
                return reason
    if failure and not compared:
        if (
            len(left) + len(right) <= _MAX_TEXT
            and left.count("{") == left.count("}")
            and _loose(left) == _loose(right)
        ):
            return "same text"
        raise failure
    return ""


def _is_decimal_comma(text: str, reading: str) -> bool:
    return reading == text.replace(",", ".") and reading != text


def _loose(text: str) -> str:
    loose = _LOOSE.sub("", text).lower()
    return loose[1:-1].rstrip(".") if _WRAPPED.fullmatch(loose) else loose


def _without_article(text: str) -> str:
    return _ARTICLE.sub("", text.lower(), count=1) if _ARTICLE.match(text.lower()) else text.lower()


def _agree_parsed(left: str, right: str) -> str:
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
