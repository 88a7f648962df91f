r"""Text as sentences with the maths set apart, and keys under which two spellings of an expression meet.

`masked` replaces every maths span by one placeholder character, so that sentences can be cut and words matched
without tripping over dots, commas and letters inside the maths. Nothing is parsed: a key is the expression
without spaces, sizes and fonts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MASK = "\x01"

_MATHS = re.compile(
    r"\$\$(?P<a>(?:[^$\\]|\\.){1,4000})\$\$"
    r"|(?<!\\)\$(?P<b>(?:[^$\\]|\\.){1,3000})\$"
    r"|\\\((?P<c>.{1,3000}?)\\\)"
    r"|\\\[(?P<d>.{1,4000}?)\\\]"
    r"|(?P<e>\\begin\{(?P<env>align|equation|gather|eqnarray|multline)\*?\}.{1,4000}?\\end\{(?P=env)\*?\})",
    re.DOTALL,
)
_NOISE = re.compile(
    r"\[asy\].*?\[/asy\]|<<[^<>\n]{0,200}>>|<img_\d+>|https?://\S+|</?[a-zA-Z][^<>\n]{0,60}>"
    r"|\\(?:label|tag|vspace|hspace)\*?\{[^{}]*\}|\\(?:blacksquare|qed|Box)(?![a-zA-Z])",
    re.DOTALL,
)
_SENTENCE_END = re.compile(
    r"(?<=[.!?])['\"”)*]*\s+(?=[A-Z\d(\x01\[*\"“-])|\n\s*\n\s*(?=[A-Z(*#-])|(?<=[a-z\x01:])\n(?=[A-Z])"
)
_FONT = r"\\(?:mathbf|boldsymbol|mathrm|textbf|textit|mathit|mathsf|emph|underline|bf|rm|bm)(?![a-zA-Z])\s*"
_FONT_GROUP = re.compile(_FONT + r"\{([^{}]*)\}")
_FONT_SWITCH = re.compile(_FONT)
_INVISIBLE = re.compile(
    r"\\(?:left|right|displaystyle|textstyle|limits|bigg?|Bigg?|Bigl|Bigr|bigl|bigr|nolimits)(?![a-zA-Z])"
    r"|\\[!,;:> ]|~|\\q?quad(?![a-zA-Z])|\s+"
)
_FRACTION = re.compile(r"\\[dtc]frac(?![a-zA-Z])")
_BINOMIAL = re.compile(
    r"\\left\(\s*\\begin\{array\}\{[lcr]\}\s*([^&{}\\]{1,40}?)\s*\\\\\s*([^&{}\\]{1,40}?)\s*\\end\{array\}\s*\\right\)"
)
_WEAK_BRACES = re.compile(r"(?<![a-zA-Z\d}\]^_])\{([^{}]*)\}")
_ONE_TOKEN_BRACES = re.compile(r"(?<=[_^])\{(\w)\}")
_THOUSANDS = re.compile(r"(?<=\d)(?:,|\{,\})(?=\d{3}(?!\d))")
_SPACED_DIGITS = re.compile(r"(?<=\d) (?=\d)")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of a masked text.

    Args:
        text: The words, maths as `MASK`.
        first: Index of the first maths span in it, in the list that `masked` returned.
        ends_paragraph: Nothing but a blank line, or the end, follows.
    """

    text: str
    first: int
    ends_paragraph: bool


def masked(text: str) -> tuple[str, list[str]]:
    """Replace maths by `MASK` and take out pictures, links and calculator marks.

    Returns:
        The text, and the contents of the maths spans in order. A span that ends its sentence inside the maths
        is followed by a full stop.
    """
    spans: list[str] = []

    def hide(match: re.Match[str]) -> str:
        content = match["a"] or match["b"] or match["c"] or match["d"] or match["e"]
        content = content.strip()
        stop = "." if content.endswith((".", ". \\]")) else ""
        spans.append(content.rstrip(" .,;"))
        return MASK + stop

    return _MATHS.sub(hide, _NOISE.sub(" ", text).replace(MASK, " ")), spans


def split_sentences(text: str) -> list[Sentence]:
    """Cut a masked text into sentences."""
    sentences: list[Sentence] = []
    first = at = 0
    for match in _SENTENCE_END.finditer(text):
        piece = text[at : match.start()]
        if piece.strip():
            sentences.append(Sentence(piece.strip(), first, "\n" in match.group()))
            first += piece.count(MASK)
        at = match.end()
    if text[at:].strip():
        sentences.append(Sentence(text[at:].strip(), first, True))
    return sentences


def tidy(expression: str) -> str:
    r"""An expression without fonts and array binomials: `\mathbf{2 0}` becomes `20`."""
    text = expression
    if "\\" in text:
        text = _BINOMIAL.sub(r"\\binom{\1}{\2}", text)
        text = _FONT_SWITCH.sub("", _FONT_GROUP.sub(_ungrouped, text))
    return text.strip()


def _ungrouped(match: re.Match[str]) -> str:
    inner = _SPACED_DIGITS.sub("", match[1])
    keep = match.start() > 0 and match.string[match.start() - 1] in "^_"
    return f"{{{inner}}}" if keep else inner


def maths_key(expression: str) -> str:
    """The expression without spaces, fonts, sizes, thousands marks and braces that group nothing."""
    text = _FRACTION.sub(r"\\frac", tidy(expression))
    text = _INVISIBLE.sub("", text)
    text = _THOUSANDS.sub("", text).rstrip(".")
    if "{" in text:
        text = _ONE_TOKEN_BRACES.sub(r"\1", _WEAK_BRACES.sub(r"\1", text))
    return text
