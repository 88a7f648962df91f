r"""The shape of an answer: lists, tuples, sets, intervals, an assignment, a unit, a base.

Works on text as `normalize.clean` gives it, one pass each, without parsing what is inside.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_DEPTH = 8
_OPEN, _CLOSE = "([{", ")]}"
_SET_BRACES = re.compile(r"\\\{|\\lbrace(?![A-Za-z])|\\\}|\\rbrace(?![A-Za-z])")
_JOINERS = re.compile(r"\\text\s*\{\s*,?\s*(?:and|or)\s*,?\s*\}|(?<![A-Za-z\\])(?:and|or)(?![A-Za-z])|;")
_LHS = re.compile(
    r"\s*(?:[A-Za-z]|\\[A-Za-z]+|[A-Za-z]_\{?\w{1,4}\}?|[A-Za-z]\s*\(\s*[A-Za-z]\s*\)|[A-Z]{2,3}|\\angle\s*[A-Z]{1,3})"
    r"\s*(?:=|\\approx|\\in(?![A-Za-z])|:(?!\s*\d))\s*"
)
_UNIT_TEXT = re.compile(r"\s*\\(?:text|mathrm|rm)\s*\{[^{}]*\}\s*(?:\^\s*(?:\{?\d\}?))?\s*$")
_UNIT_WORD = re.compile(
    r"(?<=[\d)}])\s*(?:square|cubic)?\s*(?:[A-Za-z]{2,}(?:\s+(?:per|of)\s+[a-z]+)?\.?(?:\s*/\s*[a-z]+)?)\s*"
    r"(?:\^\s*\{?\d\}?)?\s*$"
)
_UNIT_LETTER = re.compile(r"(?<=\d)\s+(?:[a-z]m|[a-z]g|[cmk]?m|g|s|h|l|L)(?:\s*\^\s*\{?\d\}?)?\s*$")
_BASE = re.compile(r"\s*([0-9A-Za-z]+)\s*_\s*(?:\{\s*(?:\\text\s*\{)?\s*(\w+)\s*\}?\s*\}|(\w))\s*$")
_BASE_NAMES = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10}
_ENVIRONMENT = re.compile(r"\\begin\{([pbvB]?matrix|array)\}(?:\{[lcr| ]*\})?(.*?)\\end\{\1\}", re.DOTALL)
_MULTIPLIERS = re.compile(r"(?<=\d)\s*(million|billion|thousand)s?\b")
_SCALE = {"thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000}


@dataclass(frozen=True, slots=True)
class Shape:
    """An answer taken apart.

    Args:
        kind: `one` (nothing to take apart), `list` (order does not matter), `set`, `tuple` (order matters; also
            intervals and points), `matrix`.
        items: The parts.
        brackets: Opening and closing bracket of a tuple.
        rows: Number of rows of a matrix.
    """

    kind: str
    items: tuple[str, ...]
    brackets: str = ""
    rows: int = 0


def split_top(text: str, separator: str = ",") -> list[str]:
    """Split at separators outside every bracket; one part if brackets do not balance."""
    if separator not in text:
        return [text]
    parts, depth, start = [], 0, 0
    escaped = False
    for index, char in enumerate(text):
        if escaped:
            escaped = False
            if char in "{}":
                depth += 1 if char == "{" else -1
        elif char == "\\":
            escaped = True
        elif char in _OPEN:
            depth += 1
        elif char in _CLOSE:
            depth -= 1
        elif char == separator and depth == 0:
            parts.append(text[start:index])
            start = index + 1
    return [text] if depth and not _half_open(text) else [*parts, text[start:]]


def _half_open(text: str) -> bool:
    """Whether brackets are of different kinds on both ends but as many, as in `[1, 2)`."""
    return sum(map(text.count, _OPEN)) == sum(map(text.count, _CLOSE))


def shape(text: str, depth: int = 0) -> Shape:
    """Take the outermost structure of a cleaned answer apart."""
    text = text.strip()
    if depth > MAX_DEPTH:
        return Shape("one", (text,))
    if "\\begin" in text:
        whole = _ENVIRONMENT.fullmatch(text)
        if whole:
            rows = [row for row in re.split(r"\\\\", whole.group(2)) if row.strip()]
            cells = tuple(cell.strip() for row in rows for cell in row.split("&"))
            return Shape("matrix", cells, rows=len(rows))
        return Shape("one", (text,))
    joined = _JOINERS.sub(",", text) if "and" in text or "or" in text or ";" in text else text
    parts = split_top(joined)
    if len(parts) > 1:
        items = tuple(part.strip() for part in parts if part.strip())
        return (
            Shape("list", items) if len(items) > 1 else shape(items[0], depth + 1) if items else Shape("one", (text,))
        )
    inner = _inside(text)
    if inner is None:
        return Shape("one", (text,))
    brackets, content = inner
    if brackets == "{}":
        return Shape("set", tuple(part.strip() for part in split_top(_JOINERS.sub(",", content)) if part.strip()))
    items = tuple(part.strip() for part in split_top(content.replace(";", ",")))
    if len(items) > 1:
        return Shape("tuple", items, brackets)
    return shape(content, depth + 1) if brackets in ("()", "[]") else Shape("one", (text,))


def _inside(text: str) -> tuple[str, str] | None:
    """Return brackets and content where one pair of brackets surrounds the whole text."""
    plain = _SET_BRACES.sub(lambda m: "{" if m.group() in ("\\{", "\\lbrace") else "}", text)
    if len(plain) < 2 or plain[0] not in _OPEN or plain[-1] not in _CLOSE:
        return None
    depth = 0
    for index, char in enumerate(plain):
        depth += (char in _OPEN) - (char in _CLOSE)
        if depth == 0 and index < len(plain) - 1:
            return None
    return (plain[0] + plain[-1], plain[1:-1].strip()) if depth == 0 else None


def without_lhs(text: str) -> str:
    r"""Drop `x =`, `f(x) =`, `x \\in` and the like from the front, where one thing is defined."""
    match = _LHS.match(text)
    rest = text[match.end() :] if match else ""
    return rest.strip() if rest.strip() and "=" not in rest else text


def without_unit(text: str) -> str:
    """Drop a unit behind a value: text commands, plain words, common abbreviations, degrees, percent."""
    scaled = _MULTIPLIERS.sub(lambda m: " \\cdot " + str(_SCALE[m.group(1)]), text)
    stripped = scaled.replace("\\degree", "").replace("°", "")
    for pattern in (_UNIT_TEXT, _UNIT_WORD, _UNIT_LETTER):
        shorter = pattern.sub("", stripped).strip()
        if shorter:
            stripped = shorter
    return stripped.strip()


def based_integer(text: str) -> tuple[str, int] | None:
    r"""Return digits and base of `1101_2`, `1101_{2}` or `21_{\\text{three}}`."""
    match = _BASE.fullmatch(text)
    if not match:
        return None
    name = match.group(2) or match.group(3)
    base = int(name) if name.isdigit() and len(name) < 3 else _BASE_NAMES.get(name.lower(), 0)
    return (match.group(1).upper(), base) if 2 <= base <= 36 else None
