r"""Signature of a maths problem: tokens, numbers, and a key up to renamed variables.

Sentence embeddings cannot tell a copy from a sibling: one changed number has a median cosine of .985, a renamed
variable .85. So problems are compared as token sequences in which numbers (digits or words), operators and maths
commands count, and LaTeX spelling, wording of the request and names of variables do not.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from data_tools.maths.number_words import read_number_words
from data_tools.problems.clean import clean_text, figure_numbers, has_figure

Kind = Literal["number", "variable", "run", "command", "symbol", "word"]

BRACKETS = frozenset("(){}[]")

_UNSEEN = re.compile(
    r"\\(?:left|right|displaystyle|textstyle|limits|nolimits|bigg?[lrm]?|Bigg?[lrm]?|quad|qquad|hspace\*?\{[^{}]*\}"
    r"|hfill|noindent|newline|medskip|smallskip|bigskip|par|centering|hline|nonumber|phantom)(?![A-Za-z])"
    r"|\\[!,;:> ~]|\\\\|~|&|\\(?:begin|end)\{(?:align|aligned|equation|gather|gathered|center|split|eqnarray)\*?\}"
)
_WRAPPER = re.compile(
    r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathit|operatorname|mbox|rm|bf|emph|mathop)\*?(?![A-Za-z])"
)
_THOUSANDS = re.compile(r"(?<![\d.])(\d{1,3})((?:(?:,|\{,\}|\\,|\\!,|,\\!)\d{3})+)(?![\d])")
_SHORT_FRACTION = re.compile(r"\\([dtc]?frac)\s*(\d)\s*(\d)(?!\d)")
_NUMBER_FRACTION = re.compile(r"\\[dtc]?frac\s*\{\s*(\d+)\s*\}\s*\{\s*(\d+)\s*\}")
_CHARACTERS = str.maketrans(
    {"°": r"^\circ ", "²": "^2", "³": "^3", "π": r"\pi ", "√": r"\sqrt ", "∞": r"\infty ", "½": " 1/2 ", "¼": " 1/4 "}
)
_SPELLING = {
    "dfrac": "frac", "tfrac": "frac", "cfrac": "frac", "leq": "le", "leqslant": "le", "geq": "ge", "geqslant": "ge",
    "neq": "ne", "times": "cdot", "ast": "cdot", "ldots": "dots", "cdots": "dots", "dotsc": "dots", "dotsb": "dots",
    "lvert": "|", "rvert": "|", "vert": "|", "mid": "|", "lbrace": "{", "rbrace": "}", "to": "rightarrow",
    "degree": "circ", "varnothing": "emptyset", "tbinom": "binom", "dbinom": "binom", "choose": "choose",
    "lt": "<", "gt": ">", "land": "wedge", "overline": "bar", "varphi": "phi", "varepsilon": "epsilon",
}  # fmt: skip
_GREEK_NAMES = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau upsilon phi chi psi omega "
    "Gamma Delta Theta Lambda Xi Phi Psi Omega ell"
)
_GREEK = frozenset(_GREEK_NAMES.split())
# `$5 for each of` is money, `$5$` is maths.
_MONEY = re.compile(r"\$(?=\d[\d,.]*%?(?:[^$\\]*?\b[A-Za-z]{2,}\s+[A-Za-z]{2,}|[.?!]?\s*$))")
_TOKEN = re.compile(
    r"(?P<math>\$\$?|\\[()\[\]])|\\(?P<command>[A-Za-z]+)|\\(?P<escaped>[{}%$#_|])|(?P<number>\d+(?:\.\d+)?|\.\d+)"
    r"|(?P<axis>[a-z]-(?:axis|axes|intercepts?|coordinates?)\b)|(?P<letters>[A-Za-z]+(?:[’'][a-z]+)?)|(?P<other>[^\s\w]|_|\w)"
)
_SAID_NOTHING = frozenset(",.?:;'\"`*#“”’‘!$")
_STOP_WORDS = "the an please then that also given we have there exactly numerical its now here"
_STOP = frozenset(_STOP_WORDS.split())
_PHRASES = (
    (re.compile(r"\b(positive integer|positive whole number)(s?)\b"), r"natural number\2"),
    (re.compile(r"\b(?:determine|compute|calculate|evaluate|what (?:is|are)|what's|(?:figure|work) out)\b"), "find"),
    (re.compile(r"\bfind the number of\b"), "how many"),
    (re.compile(r"\b(?:assume|suppose|consider)(?: that)?\b"), "let"),
    (re.compile(r"\b(?:so|such) that\b"), "such that"),
    (re.compile(r"\b(?:greatest|biggest|maximal|largest)\b(?: possible\b)?"), "largest"),
    (re.compile(r"\b(?:least|minimal|smallest)\b(?: possible\b)?"), "smallest"),
    (re.compile(r"\b(?:give|write|state|represent)\b"), "express"),
    (re.compile(r"\b(?:is equal to|equals)\b"), "equal"),
    (re.compile(r"\b(?:in total|altogether|in all)\b"), "total"),
    (re.compile(r"\breals\b"), "real numbers"),
)  # fmt: skip
_PHRASE_HINT = re.compile(
    r"positive|number|determine|compute|calculate|evaluate|what|figure|work|assume|suppose|consider|that|st\b|mal|"
    r"give|write|state|represent|equal|total|altogether|in all|reals"
)


@dataclass(frozen=True, slots=True)
class Token:
    """One token of a problem.

    Args:
        text: Normal form: a number's value, a variable's name, a command without backslash, a word in lower case.
        kind: What it is; a `run` is several letters side by side in maths, such as `ab` or `ABC`.
        name: Whether it is a word written like a name, with one capital.
    """

    text: str
    kind: Kind
    name: bool = False


@dataclass(frozen=True)
class Signature:
    """A problem as the comparison sees it.

    Args:
        tokens: Its tokens.
        figure: Numbers in its figures, sorted.
        has_figure: Whether it has a figure; capital letters name points of it then.
    """

    tokens: tuple[Token, ...]
    figure: tuple[str, ...] = ()
    has_figure: bool = False

    @cached_property
    def numbers(self) -> tuple[str, ...]:
        """The numbers, number words included, in order."""
        return tuple(token.text for token in self.tokens if token.kind == "number")

    @cached_property
    def frame(self) -> tuple[str, ...]:
        """Numbers, maths commands and operators in order, brackets left out: what all copies have in common."""
        return tuple(
            token.text
            for token in self.tokens
            if token.kind in ("number", "command") or (token.kind == "symbol" and token.text not in BRACKETS)
        )

    @cached_property
    def frame_key(self) -> str:
        """A hash of `frame`."""
        return _digest(" ".join(self.frame))

    @cached_property
    def key(self) -> str:
        """A hash of all tokens with each variable replaced by its order of appearance; `by` stays as written."""
        return self._renamed_key(split_lower=False)

    @cached_property
    def run_key(self) -> str:
        """The same as `key`, with the letters of `by` taken as variables one by one, as those of `ABC` always are."""
        return self._renamed_key(split_lower=True)

    def _renamed_key(self, *, split_lower: bool) -> str:
        order: dict[str, str] = {}
        texts: list[str] = []
        for token in self.tokens:
            split = token.kind == "run" and (split_lower or token.text.isupper())
            if token.kind == "variable" or split:
                letters = token.text if split else [token.text]
                for letter in letters:
                    fixed = self.has_figure and letter.isupper()  # a point of the figure
                    texts.append(letter if fixed else order.setdefault(letter, f"v{len(order)}"))
            else:
                texts.append(f"{token.kind[0]}:{token.text}")
        return _digest(" ".join(texts))


def signature(problem: str) -> Signature:
    """Read a problem."""
    return Signature(tuple(tokenize(clean_text(problem))), figure_numbers(problem), has_figure(problem))


def normalize_latex(text: str) -> str:
    r"""Return a text with one spelling of LaTeX: no spacing, `1/2` for `\frac12`, 1000 for 1,000."""
    if not text.isascii():
        text = text.translate(_CHARACTERS)
    text = _WRAPPER.sub(" ", _UNSEEN.sub(" ", _MONEY.sub(" ", text)))
    text = _THOUSANDS.sub(lambda match: match[1] + re.sub(r"\D", "", match[2]), text)
    return _NUMBER_FRACTION.sub(r" \1/\2 ", _SHORT_FRACTION.sub(r"\\\1{\2}{\3}", text))


def tokenize(text: str) -> list[Token]:
    """Return the tokens of a cleaned problem, with number words read and the request put in one wording."""
    raw = _raw_tokens(normalize_latex(text))
    return _drop_single_braces(_reworded(read_number_words(raw, Token)))


def _raw_tokens(text: str) -> list[Token]:
    tokens: list[Token] = []
    in_math = False
    for match in _TOKEN.finditer(text):
        group, value = match.lastgroup, match[match.lastgroup or 0]
        if group == "math":
            in_math = not in_math if value[0] == "$" else value in (r"\(", r"\[")
        elif group == "number":
            tokens.append(Token(_number(value), "number"))
        elif group == "command":
            spelled = _SPELLING.get(value, value)
            tokens.append(Token(spelled, "variable" if spelled in _GREEK else "command"))
        elif group == "axis":
            tokens.append(Token(value, "word"))
        elif group == "letters":
            tokens.append(_letters(value, in_math))
        elif group == "escaped":
            tokens.append(Token(value if value in "|%" else f"\\{value}", "symbol"))
        elif value not in _SAID_NOTHING or (value == "!" and in_math) or value == "*":
            tokens.append(Token(_symbol(value), "symbol"))
    return tokens


def _letters(value: str, in_math: bool) -> Token:
    if len(value) == 1 and (in_math or value not in "aAI"):
        return Token(value, "variable")
    if in_math and len(value) <= 4:
        return Token(value, "run")
    if value == "percent":
        return Token("%", "symbol")
    return Token(value.lower().replace("’", "'"), "word", name=value[0].isupper() and not value[1:].isupper())


def _symbol(value: str) -> str:
    return {"≤": "le", "≥": "ge", "≠": "ne", "−": "-", "–": "-", "×": "cdot", "·": "cdot", "*": "cdot", "∣": "|"}.get(
        value, value
    )


def _number(value: str) -> str:
    """Return the value in one spelling: 007 is 7, 2.50 is 2.5."""
    whole, _, part = value.partition(".")
    whole, part = whole.lstrip("0") or "0", part.rstrip("0")
    return f"{whole}.{part}" if part else whole


def _reworded(tokens: list[Token]) -> list[Token]:
    """Put requests and common phrases in one wording; drop words that say nothing. Maths is not touched."""
    tokens_out: list[Token] = []
    words: list[Token] = []
    for token in tokens:
        if token.kind == "word":
            words.append(token)
        else:
            tokens_out += _plain_words(words)
            words = []
            tokens_out.append(token)
    return tokens_out + _plain_words(words)


def _plain_words(words: list[Token]) -> list[Token]:
    if not words:
        return words
    names = {word.text for word in words if word.name}
    said = " ".join(word.text for word in words)
    if _PHRASE_HINT.search(said):
        for pattern, plain in _PHRASES:
            said = pattern.sub(plain, said)
    return [Token(word, "word", name=word in names) for word in said.split(" ") if word not in _STOP]


def _drop_single_braces(tokens: list[Token]) -> list[Token]:
    """Take `{x}` as `x`, so that `x^{2}` is `x^2`."""
    kept: list[Token] = []
    for token in tokens:
        if token == _CLOSE and len(kept) >= 2 and kept[-2] == _OPEN and kept[-1].text != "}":
            kept[-2:] = kept[-1:]
        else:
            kept.append(token)
    return kept


_OPEN, _CLOSE = Token("{", "symbol"), Token("}", "symbol")


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
