r"""Answers in words as maths: `negative forty-two`, `two thirds`, `no solutions`, `all reals`."""

from __future__ import annotations

import re

from data_tools.maths.number_words import CARDINALS, PARTS, SCALES, whole_number

NO_VALUE = "does not exist"
"""What is said of a limit, or of a value, that does not exist: compared as these words."""

_SET_NAMES = (
    (
        re.compile(
            r"(?:there (?:is|are|exists?) )?no (?:(?:real|such|possible|integer) )*(?:solutions?|roots?)(?: exists?)?"
            r"|none|(?:the )?empty set"
        ),
        "\\emptyset",
    ),
    (
        re.compile(
            r"(?:\w (?:is|can be) )?(?:all|any|every) (?:real numbers?|reals?)|(?:the )?(?:set of )?real numbers"
        ),
        "(-\\infty,\\infty)",
    ),
    (re.compile(r"dne|d\.n\.e|(?:the )?(?:limit )?does not exist"), NO_VALUE),
)
_WORDS = re.compile(r"[a-z]+(?:(?:\s*-\s*|\s+)[a-z]+)*")
_TOKEN = re.compile(r"[a-z]+|-")
_LONGEST = 100


def spoken(cleaned: str) -> str:
    """Return the maths that a cleaned answer says in words; an answer that says none as it is."""
    if len(cleaned) > _LONGEST:
        return cleaned
    if not cleaned[-1:].isalpha():
        return cleaned
    low = " ".join(cleaned.lower().split())
    if not _WORDS.fullmatch(low):
        return cleaned
    for pattern, maths in _SET_NAMES:
        if pattern.fullmatch(low):
            return maths
    return _number(low) or cleaned


def _number(low: str) -> str:
    words = _TOKEN.findall(low)
    sign = "-" if words[0] in ("minus", "negative") else ""
    words = words[1:] if sign else words
    if not all(word in CARDINALS or word in SCALES or word in PARTS or word in ("a", "and", "-") for word in words):
        return ""
    below = PARTS.get(words[-1]) if words else None
    if not below:
        return sign + whole if (whole := _whole(words)) else ""
    above = words[: -2 if words[-2:-1] == ["-"] else -1]
    before = _whole(above[:-2]) if above[-2:-1] == ["and"] else ""  # two and a half
    above = above[-1:] if before else above
    top = _whole(above) or ("1" if above == ["a"] or words == ["half"] else "")
    fraction = f"\\frac{{{top}}}{{{below}}}"
    return sign + (f"({before}+{fraction})" if before else fraction) if top else ""


def _whole(words: list[str]) -> str:
    """Return the digits of a whole number in words; an empty text where they are none."""
    value = whole_number(" ".join(words))
    return "" if value is None else str(value)
