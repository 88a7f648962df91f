r"""Answer text to tokens: numbers, symbols, commands, text, operators, each a `(kind, value)` pair.

Decides what a run of letters is (a function name, a unit, a word, a product of variables) so that the
parser sees one alphabet for LaTeX and plain text. The number of tokens is bounded; nothing here recurses.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

MAX_TOKENS = 1500

Kind = Literal["num", "sym", "cmd", "text", "op", "begin", "end", "eof"]


class Token(NamedTuple):
    """One token: its kind and its canonical value."""

    kind: Kind
    value: str


class LatexError(ValueError):
    """The text is not an answer that this grammar covers; the message says why."""


def _words(text: str) -> list[str]:
    return text.split()


def _table(text: str) -> dict[str, str]:
    return dict(item.split(":", 1) for item in text.split())


_TRIGONOMETRY = _words("sin cos tan cot sec csc sinh cosh tanh coth sech csch")
FUNCTIONS = (
    {name: name for name in _TRIGONOMETRY}
    | {f"{prefix}{name}": f"a{name}" for name in _TRIGONOMETRY for prefix in ("arc", "a", "ar")}
    | {name: name for name in _words("exp ln log lg gcd lcm min max floor ceil det abs sign arg")}
    | _table("tg:tan ctg:cot cosec:csc arctg:atan ceiling:ceil sgn:sign Re:re Im:im inf:min sup:max GCD:gcd")
    | _table("LCM:lcm hcf:gcd")
)
"""Names that take an argument, in LaTeX or plain, to their canonical name."""

_LATEX_ONLY = frozenset(_words("inf sup arg sign Re Im det"))
_PLAIN_COMMANDS = _table(
    "sqrt:sqrt pi:pi frac:frac binom:binom cdot:cdot times:times infty:infty cup:cup cap:cap pm:pm theta:theta"
    " inf:infty infinity:infty Infinity:infty oo:infty alpha:alpha beta:beta and:and or:or et:and mod:bmod in:in"
    " choose:choose union:cup cbrt:cbrt degrees:degree degree:degree deg:degree percent:% percents:% gamma:gamma"
    " lambda:lambda phi:phi omega:omega sigma:sigma plus:+ minus:-"
)
_COMMANDS = _table(
    "le:<= leq:<= leqslant:<= ge:>= geq:>= geqslant:>= lt:< gt:> ne:!= neq:!= approx:approx simeq:approx sim:approx"
    " thickapprox:approx cdot:* times:* ast:* div:/ over:/ lbrack:[ rbrack:] colon:: lvert:| rvert:| vert:|"
    " land:and wedge:and lor:or vee:or backslash:setminus smallsetminus:setminus doteq:= varnothing:emptyset"
    " rightarrow:to longrightarrow:to implies:to Rightarrow:to varphi:phi varepsilon:epsilon vartheta:theta"
    " dbinom:binom tbinom:binom degrees:degree ldots:dots cdots:dots mod:bmod lparen:( rparen:) epsi:epsilon"
    " bigcup:cup bigcap:cap"
)
_GREEK = frozenset(
    _words(
        "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau upsilon phi chi"
        " psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega ell hbar partial nabla varrho"
    )
)
_MARKS = frozenset(
    _words("vec overline overrightarrow hat bar tilde widehat mathcal mathbb mathscr underline")
)
_OPERATORS = {"≤": "<=", "≥": ">=", "≠": "!=", ";": ",", "`": "'"}
_TOKEN = re.compile(
    r"(?P<num>\d+(?:\.\d+)?(?:E[+-]?\d+|e[+-]\d+|e\d+(?![\w.{]))?|\.\d+)"
    r"|\\begin\s*\{(?P<begin>[a-zA-Z]+)\*?\}(?:\s*\{[lcr|\s]*\})?|\\end\s*\{(?P<end>[a-zA-Z]+)\*?\}"
    r"|\\text\s*\{(?P<text>[^{}]*)\}|\\(?P<cmd>[A-Za-z]+)|\\(?P<escaped>.)"
    r"|(?P<word>[A-Za-z]+)|(?P<op><=|>=|==|!=|/=|\*\*|->|=>|:=|[^\s\w])",
    re.DOTALL,
)
_GROUPED = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")
_OPEN, _CLOSE = "([{", ")]}"
_NUMBER_NAMES = _words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
    " seventeen eighteen nineteen twenty"
)
NUMBER_WORDS = {word: value for value, word in enumerate(_NUMBER_NAMES)}
"""Number words to their values, zero to twenty."""
SCALES = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
"""Words that multiply the number before them."""


def tokenize(cleaned: str, units: frozenset[str], grouped: bool = True) -> list[Token]:
    """The tokens of a cleaned text, ended by one of kind `eof`.

    Args:
        cleaned: Text as `normalize.clean` gives it.
        units: Words of two letters or more that are units where they follow a number.
        grouped: Whether `1,234` outside brackets is one number.

    Raises:
        LatexError: There are more than `MAX_TOKENS` tokens.
    """
    if grouped and "," in cleaned:
        cleaned = _join_groups(cleaned)
    tokens: list[Token] = []
    for match in _TOKEN.finditer(cleaned):
        kind, value = match.lastgroup, match.group(match.lastgroup or 0)
        if kind == "num":
            tokens.append(Token("num", value))
        elif kind == "word":
            _read_word(value, tokens, units)
        elif kind == "cmd":
            tokens.append(_command(value))
        elif kind == "op":
            tokens.append(Token("op", _OPERATORS.get(value, value)))
        elif kind == "text":
            tokens.append(_text(value))
        elif kind == "escaped":
            tokens.append(_escaped(value))
        else:
            tokens.append(Token("begin" if kind == "begin" else "end", value))
        if len(tokens) > MAX_TOKENS:
            raise LatexError(f"more than {MAX_TOKENS} tokens")
    tokens.append(Token("eof", ""))
    return tokens


def _join_groups(text: str) -> str:
    """Take the commas out of `1,234` where it stands outside brackets: inside, commas separate."""
    if "(" not in text and "[" not in text and "{" not in text:
        return _GROUPED.sub(lambda m: m.group().replace(",", ""), text)
    pieces: list[str] = []
    depth = at = 0
    for match in _GROUPED.finditer(text):
        before = text[at : match.start()]
        depth += sum(before.count(char) for char in _OPEN) - sum(before.count(char) for char in _CLOSE)
        number = match.group()
        pieces += [before, number if depth > 0 else number.replace(",", "")]
        at = match.end()
    return "".join(pieces) + text[at:]


def _command(name: str) -> Token:
    if name in FUNCTIONS:
        return Token("cmd", FUNCTIONS[name])
    if name in _GREEK:
        return Token("sym", name)
    name = _COMMANDS.get(name, name)
    if not name[:1].isalpha():
        return Token("op", name)
    if name in _MARKS:
        return Token("cmd", "mark")
    return Token("cmd", name)


def _escaped(char: str) -> Token:
    if char in "{}":
        return Token("cmd", "lbrace" if char == "{" else "rbrace")
    if char == "|":
        return Token("op", "|")
    return Token("cmd", "\\") if char == "\\" else Token("op", char)


def _text(content: str) -> Token:
    word = content.strip().strip(",;").strip()
    if len(word) == 1 and word.isalpha():
        return Token("sym", word)
    if word in FUNCTIONS:
        return Token("cmd", FUNCTIONS[word])
    if word in ("and", "or", "", "mod", "choose", "in", "degrees", "degree", "percent", "lcm", "gcd"):
        return _plain(word) if word else Token("op", ",") if content.strip() else Token("text", "")
    return Token("text", word)


def _plain(word: str) -> Token:
    name = _PLAIN_COMMANDS[word]
    return Token("op", name) if name in ("%", "+", "-") else _command(name)


def _read_word(word: str, tokens: list[Token], units: frozenset[str]) -> None:
    after_number = bool(tokens) and (tokens[-1].kind == "num" or tokens[-1].value in (")", "}", "text"))
    after_text = bool(tokens) and tokens[-1].kind == "text"
    if len(word) == 1:
        tokens.append(Token("sym", word))
    elif word in FUNCTIONS and word not in _LATEX_ONLY:
        tokens.append(Token("cmd", FUNCTIONS[word]))
    elif (after_number or after_text) and word in units:
        tokens.append(Token("text", word))
    elif word in _PLAIN_COMMANDS:
        tokens.append(_plain(word))
    elif len(word) > 3 and (name := _function_prefix(word)):
        tokens.append(Token("cmd", FUNCTIONS[name]))
        _read_word(word[len(name) :], tokens, units)
    elif len(word) > 3 or word.lower() in NUMBER_WORDS or after_text:
        tokens.append(Token("text", word))
    else:
        tokens.extend(Token("sym", char) for char in word)


def _function_prefix(word: str) -> str:
    for name in ("sin", "cos", "tan", "ln", "log"):
        rest = word[len(name) :]
        if word.startswith(name) and (len(rest) <= 1 or rest in _PLAIN_COMMANDS):
            return name
    return ""
