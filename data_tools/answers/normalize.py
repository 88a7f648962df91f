r"""Answer strings to canonical text and exact numbers: the cheap front half of `verify`.

`clean` undoes what typesetting adds (delimiters, spacing, `\left`, `\dfrac`, unicode signs, broken escapes,
thin spaces between thousands) and changes no value. `read_number` recognises what is one plain number and
nothing else. `numbers_agree` holds the whole rounding convention. Nothing here parses expressions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

MAX_DIGITS = 4000
"""Numbers with more digits are compared as text only (Python refuses to convert more than 4,300)."""

_SIGNS = dict(zip("−–‐‑÷∕⁄（）［］｛｝，。：；％＝＋’′‘“”", "----///()[]{},.:;%=+'''\"\"", strict=True))
_NAMED = """
×times ·cdot ⋅cdot ∙cdot √sqrt πpi ∞infty °degree ±pm ∓mp ≤le ⩽le ≥ge ⩾ge ≠ne ≈approx ∪cup ∩cap ∖setminus
∅emptyset ∈in θtheta αalpha βbeta γgamma λlambda μmu εepsilon Ɛepsilon ωomega φphi ϕphi ρrho σsigma δdelta
ΔDelta τtau ⌊lfloor ⌋rfloor ⌈lceil ⌉rceil ⟨langle ⟩rangle ∫int ∑sum →to
"""
_UNICODE = str.maketrans(
    _SIGNS
    | {item[0]: f"\\{item[1:]} " for item in _NAMED.split()}
    | {char: f"\\frac{top}{bottom}" for char, top, bottom in ("½12", "⅓13", "⅔23", "¼14", "¾34", "⅕15", "⅛18")}
    | {digit: str(value) for value, digit in enumerate("０１２３４５６７８９")}
    | {digit: f"_{value}" for value, digit in enumerate("₀₁₂₃₄₅₆₇₈₉")}
    | {"ℝ": r"\mathbb{R}", "\u00a0": " ", "\u2009": r"\,", "\u202f": r"\,"}
    | dict.fromkeys("€£¥₹\u200b", "")
)
_SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n")
_SUPERSCRIPTS = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+")
# JSON reads "\frac" as a form feed and "rac", "\text" as a tab and "ext", and so on.
_LOST_ESCAPES = {"\x0c": "\\f", "\x08": "\\b", "\x07": "\\a", "\x0b": "\\v"}
_LOST_TAB = re.compile(r"\t(?=(?:ext|imes|heta|frac|an|au|riangle)(?![a-z]))")
_LOST_RETURN = re.compile(r"\r(?=(?:ight|angle|ho)(?![a-z]))")
_CHARACTER = re.compile(r'\\char"0*([0-9A-F]{1,5})')
_THOUSANDS = re.compile(r"(?<=\d)\s?(?:\{,\}|\{\\,\}|,\\!|\\[,;:! ]|~)\s?(?=\d{3}(?!\d))")
_DOUBLED = re.compile(r"\\\\(?=[A-Za-z(\[])")
_TYPESETTING = re.compile(
    r"(?P<row>\\\\)"
    r"|(?P<frac>\\[dtc]frac(?![A-Za-z]))"
    r"|(?P<text>\\(?:[mh]box|text(?:normal|rm|bf|it|tt|sf)|math(?:bf|it|sf|rm|tt)|boldsymbol|bm|rm|bf|operatorname\*?)"
    r"(?=\s*\{))"
    r"|(?P<degree>\^\s*(?:\\circ(?![A-Za-z])|\{\s*\\circ\s*\})|\\degree(?![A-Za-z]))"
    r"|(?P<percent>\\%)"
    r"|\\(?:left|right|[bB]igg?[lrm]?)(?![A-Za-z])\s*\.?"
    r"|\\(?:display|text|script)style(?![A-Za-z])"
    r"|\\(?:limits|nolimits|mathstrut|thinspace|hfill|enspace|nonumber|notag)(?![A-Za-z])|\\q?quad"
    r"|\\[hv]space\*?\{[^{}]*\}|\\(?:label|tag)\{[^{}]*\}"
    r"|\\\$|\\[,;:!> ()\[\]]|\$+|~"
)
_REPLACEMENT = {"row": r"\\", "frac": r"\frac", "text": r"\text", "degree": r"\degree ", "percent": "%"}
_WHOLE_TEXT = re.compile(r"\\text\s*\{([^{}]*)\}")
_LONGEST_REPEATED = 80  # the pattern tries every start and period
_REPEATED = re.compile(r"(\d*\.\d*?)(\d{1,6}?)\2{2,}\s*(?:\.{3}|\\[lc]?dots)\Z")
_ENDING = " .,;:\\"
_COARSEST = Fraction(1, 10**4)
_INTEGER = re.compile(r"[+-]?\d{1,400}")
_DECIMAL = re.compile(
    r"([+-]?)\s*(\d{1,3}(?:,\d{3})+(?![\d,])|\d*)(?:\.(\d*))?"
    r"(?:(?:[eE]|\s*(?:\\times|\\cdot|\*)\s*10\s*\^)\s*(?:\{\s*([+-]?\d{1,3})\s*\}|([+-]?\d{1,3})))?"
)
_FRACTION = re.compile(
    r"([+-]?)\s*(?:(\d{1,9})\s*)?\\frac\s*(?:\{\s*([+-]?\d+)\s*\}|(\d))\s*(?:\{\s*([+-]?\d+)\s*\}|(\d)(?!\d))"
    r"|([+-]?)\s*(?:(\d{1,9})\s+)?(\d+)\s*/\s*([+-]?\d+)"
)


@dataclass(frozen=True, slots=True)
class Number:
    """One plain number.

    Args:
        value: Its exact value.
        digits: Significant digits of a decimal literal with a fractional part or an exponent; 0 for an
            integer or a fraction, which are exact.
        unit: The value of one unit in the last place of a decimal literal; 0 otherwise.
        grouped: Whether commas part its thousands.
    """

    value: Fraction
    digits: int = 0
    unit: Fraction = Fraction(0)
    grouped: bool = False


def clean(text: str) -> str:
    """The text without typesetting: delimiters, sizes, spacing, doubled backslashes, odd characters."""
    if not text.isascii():
        text = _SUPERSCRIPTS.sub(lambda m: "^{" + m.group().translate(_SUPERSCRIPT) + "}", text).translate(_UNICODE)
    if not text.isprintable():
        text = _repair(text)
    if '\\char"' in text:
        text = _CHARACTER.sub(lambda match: chr(int(match.group(1), 16)), text).translate(_UNICODE)
    if "\\\\" in text and "\\begin" not in text:
        text = _DOUBLED.sub(r"\\", text)
    if "\\" in text or "{,}" in text or "~" in text:
        text = _THOUSANDS.sub("", text)
        text = _TYPESETTING.sub(lambda m: _REPLACEMENT[m.lastgroup] if m.lastgroup else " ", text)
    elif "$" in text:
        text = text.replace("$", " ")
    if len(text) < _LONGEST_REPEATED and text.endswith(("...", "dots")):
        text = _REPEATED.sub(r"\1\\overline{\2}", text)
    text = text.strip().rstrip(_ENDING)
    while whole := _WHOLE_TEXT.fullmatch(text):
        text = whole.group(1).strip().rstrip(_ENDING)
    return text


def _repair(text: str) -> str:
    for lost, escape in _LOST_ESCAPES.items():
        text = text.replace(lost, escape)
    text = _LOST_RETURN.sub(r"\\r", _LOST_TAB.sub(r"\\t", text))
    return "".join(char if char.isprintable() else " " for char in text)


def squashed(cleaned: str) -> str:
    """A cleaned text without any space: equal strings mean equal answers."""
    return "".join(cleaned.split())


def read_number(cleaned: str) -> Number | None:
    r"""The number that a cleaned text is, or None: `-12`, `1,234.50`, `3/4`, `\frac12`, `1\frac12`, `2e3`."""
    if _INTEGER.fullmatch(cleaned):
        return Number(Fraction(int(cleaned)))
    if len(cleaned) > MAX_DIGITS:
        return None
    if "frac" in cleaned or "/" in cleaned:
        return _read_fraction(cleaned)
    return _read_decimal(cleaned)


def _read_decimal(text: str) -> Number | None:
    match = _DECIMAL.fullmatch(text)
    if match is None:
        return None
    sign, whole, places, exponent, bare_exponent = match.groups()
    grouped, whole = "," in whole, whole.replace(",", "")
    places = places or ""
    if not whole and not places:
        return None
    shift = int(exponent or bare_exponent or 0) - len(places)
    scale = Fraction(10) ** shift
    value = int(sign + whole + places) * scale
    has_digits = bool(places) or exponent is not None or bare_exponent is not None
    digits = len((whole + places).lstrip("0")) if has_digits else 0
    return Number(value, digits, scale if digits else Fraction(0), grouped)


def _read_fraction(text: str) -> Number | None:
    match = _FRACTION.fullmatch(text)
    if match is None:
        return None
    sign, whole, top, short_top, bottom, short_bottom, sign2, whole2, top2, bottom2 = match.groups()
    numerator = int(top or short_top or top2)
    denominator = int(bottom or short_bottom or bottom2)
    mixed = int(whole or whole2 or 0)
    if denominator == 0 or (mixed and not 0 < numerator < denominator):
        return None
    value = mixed + Fraction(numerator, denominator)
    return Number(-value if (sign or sign2) == "-" else value)


def numbers_agree(prediction: Number, gold: Number) -> bool:
    """Whether two numbers count as the same answer.

    Equal values agree. A decimal stands for a value it was rounded or cut from only where it is precise
    enough: a gold decimal of 5 digits or more (4 where the prediction is a fraction) accepts a more precise
    prediction; a predicted decimal needs 10 digits, 4 of them decimals, against an exact gold.
    """
    if prediction.value == gold.value:
        return True
    if gold.digits and (not prediction.digits or prediction.unit < gold.unit):
        is_exact = not prediction.digits and prediction.value.denominator > 1
        return gold.digits >= (4 if is_exact else 5) and _rounds_to(prediction.value, gold)
    if prediction.unit > _COARSEST and prediction.unit < 1:
        return False
    return prediction.digits >= 10 and not gold.digits and _rounds_to(gold.value, prediction)


def rounds_to(value: float, number: Number) -> bool:
    """Whether a value known to double precision rounds to, or is cut to, the digits of a decimal."""
    return _rounds_to(Fraction(value), number)


def _rounds_to(value: Fraction, number: Number) -> bool:
    excess = abs(value) - abs(number.value)
    if (value < 0) != (number.value < 0) or not number.unit:
        return False
    return abs(excess) * 2 <= number.unit or 0 <= excess < number.unit
