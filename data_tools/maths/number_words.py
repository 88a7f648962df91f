"""Numbers written as words: `twenty-five`, `two hundred`, `third`. The one table of such words."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

_UNIT_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
_TEN_WORDS = "twenty thirty forty fifty sixty seventy eighty ninety"
_ORDINAL_WORDS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
_UNITS = {word: value for value, word in enumerate(_UNIT_WORDS.split())}
_TENS = {word: 10 * value for value, word in enumerate(_TEN_WORDS.split(), start=2)}
_ORDINALS = {word: value for value, word in enumerate(_ORDINAL_WORDS.split(), start=1)}
CARDINALS = _UNITS | _TENS
"""Single words to the whole number that each is: `zero` to `nineteen`, then the tens to `ninety`."""
SCALES = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
"""Words that multiply the number before them."""
PARTS = {"half": 2, "halves": 2, "quarter": 4, "quarters": 4} | {
    f"{word}{plural}": value for word, value in _ORDINALS.items() if 3 <= value <= 10 for plural in ("", "s")
}
"""Words for one of so many equal parts: `half`, `third`, `fifths`."""
_SUFFIXES = ("st", "nd", "rd", "th")
_DIGITS, _SMALL, _ROUND, _SCALE = ("|".join(words) for words in (list(_UNITS)[1:10], _UNITS, _TENS, SCALES))
_BELOW_100 = rf"(?:(?:{_ROUND})(?:[-\s]+(?:{_DIGITS}))?|{_SMALL})"
_AFTER = rf"[-\s]+{_BELOW_100}\b|\s+and\s+{_BELOW_100}\b(?!\s+(?:{_SCALE})\b)"
WHOLE_NUMBER = rf"{_BELOW_100}\b(?:\s+(?:{_SCALE})\b(?:{_AFTER})?)*"
"""Pattern of a number in words inside a text, lower case; `whole_number` gives its value."""
_TOKEN = re.compile(r"[a-z]+|-")


class _Token(NamedTuple):
    text: str
    kind: str


def whole_number(words: str) -> int | None:
    """Return the whole number that a text in lower case says, and nothing besides: `two hundred and five`."""
    tokens = [_Token(text, "word" if text.isalpha() else "sign") for text in _TOKEN.findall(words)]
    value, length = _cardinal(tokens, 0)
    return value if tokens and length == len(tokens) else None


def read_number_words(tokens: list[Any], make: Callable[[str, Any], Any]) -> list[Any]:
    """Replace number words by numbers; ordinals become the number and the word `th`, as `4th` does.

    Args:
        tokens: Objects with `text` and `kind`.
        make: Builds such an object from text and kind.

    Returns:
        The tokens; runs such as `two hundred five` and `twenty - five` have become one.
    """
    items: list[Any] = []
    position = 0
    while position < len(tokens):
        token = tokens[position]
        if token.kind != "word" and token.kind != "number":
            items.append(token)
            position += 1
        elif token.kind == "word" and token.text in _ORDINALS:
            items += [make(str(_ORDINALS[token.text]), "number"), make("th", "word")]
            position += 1
        elif token.text in _SUFFIXES and items and items[-1].kind == "number":
            items.append(make("th", "word"))
            position += 1
        else:
            value, length = _cardinal(tokens, position)
            items.append(make(str(value), "number") if length else token)
            position += length or 1
    return items


def _is_end_of_number(behind: list[Any]) -> bool:
    """Whether `and` ties to what follows, as in `two hundred and five`; not in `one hundred and two hundred`."""
    texts = [token.text for token in behind]
    return bool(texts) and (texts[0] in _UNITS or texts[0] in _TENS) and not (len(texts) > 1 and texts[1] in SCALES)


def _cardinal(tokens: list[Any], start: int) -> tuple[int, int]:
    """Return the value of the number words from a position on, and how many tokens they take (0: none)."""
    total = current = 0
    position, length = start, 0
    last = 0
    while position < len(tokens):
        word = tokens[position].text
        if word == "and" and last >= 100 and _is_end_of_number(tokens[position + 1 : position + 3]):
            position += 1
            continue
        if tokens[position].kind != "word":
            joined = word == "-" and 20 <= last <= 90 and position + 1 < len(tokens)
            if joined and 0 < _UNITS.get(tokens[position + 1].text, 0) < 10:
                position += 1
                continue
            break
        if word in _UNITS and (not length or last >= 100 or (last >= 20 and 0 < _UNITS[word] < 10)):
            last = _UNITS[word]
            current += last
        elif word in _TENS and (not length or last >= 100):
            last = _TENS[word]
            current += last
        elif word in SCALES and current and last < SCALES[word]:
            last = SCALES[word]
            if last == 100:
                current *= 100
            else:
                total, current = total + current * last, 0
        else:
            break
        position += 1
        length = position - start
    return total + current, length
