r"""Answer text to tokens, the same alphabet for LaTeX and plain notation.

Decides what a run of letters is (a function, a unit, a word, a product of variables). Linear, not recursive, and
bounded in the number of tokens.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from data_tools.maths.number_words import CARDINALS
from data_tools.maths.units import UNIT_LETTERS, UNIT_WORDS

MAX_TOKENS = 1_500

Kind = Literal["num", "sym", "cmd", "text", "op", "begin", "end", "eof"]


class Token(NamedTuple):
    """One token.

    Args:
        kind: Its class.
        value: Its canonical value.
        spaced: Whether a space stands before it.
    """

    kind: Kind
    value: str
    spaced: bool = False


class LatexError(ValueError):
    """The text is not an answer that the grammar covers; the message says why."""


def _table(text: str) -> dict[str, str]:
    return dict(item.split(":", 1) for item in text.split())


def _words(text: str) -> list[str]:
    return text.split()


_TRIGONOMETRY = _words("sin cos tan cot sec csc sinh cosh tanh coth sech csch")
FUNCTIONS: dict[str, str] = (
    {name: name for name in _TRIGONOMETRY}
    | {f"{prefix}{name}": f"a{name}" for name in _TRIGONOMETRY for prefix in ("arc", "a", "ar")}
    | {name: name for name in _words("exp ln log lg gcd lcm min max floor ceil det abs arg")}
    | _table("tg:tan ctg:cot cosec:csc arctg:atan ceiling:ceil Re:re Im:im GCD:gcd LCM:lcm hcf:gcd sgn:sgn sign:sgn")
)
"""Names that take an argument, in LaTeX or plain, to their canonical name."""

_LATEX_ONLY = frozenset(("Re", "Im", "det", "arg", "sign", "sec", "min"))
_PLAIN = _table(
    "sqrt:sqrt pi:pi frac:frac binom:binom cdot:cdot times:times infty:infty cup:cup cap:cap pm:pm theta:theta"
    " infinity:infty Infinity:infty oo:infty alpha:alpha beta:beta and:and or:or mod:bmod in:in choose:choose"
    " union:cup cbrt:cbrt degrees:degree degree:degree percent:percent gamma:gamma lambda:lambda phi:phi"
    " omega:omega sigma:sigma inf:infty et:and"
)
_COMMANDS = _table(
    "le:<= leq:<= leqslant:<= ge:>= geq:>= geqslant:>= lt:< gt:> ne:!= neq:!= approx:approx simeq:approx"
    " thickapprox:approx cdot:* times:* ast:* div:/ lbrack:[ rbrack:] colon:: lvert:| rvert:| vert:| mid:|"
    " land:and wedge:and lor:or vee:or backslash:setminus smallsetminus:setminus doteq:= varnothing:emptyset"
    " rightarrow:to longrightarrow:to varphi:phi varepsilon:epsilon vartheta:theta dbinom:binom tbinom:binom"
    " degrees:degree mod:bmod lparen:( rparen:) bigcup:cup bigcap:cap percent:%"
    " ldots:dots cdots:dots vdots:dots"
    " iff:iff implies:to Rightarrow:to equiv:equiv Vert:|"
)
_GREEK = frozenset(
    _words(
        "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau upsilon phi chi psi"
        " omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega ell hbar partial"
    )
)
_MARKS = frozenset(_words("vec overline overrightarrow hat bar tilde widehat mathcal mathbb mathscr underline"))
_STRUCTURAL = _words("frac sqrt binom int sum prod lim cup cap pm mp infty in to quad pi bmod pmod choose emptyset")
_REPEATING = re.compile(r"(\d*)\.(\d*)\\(?:overline|bar)\s*\{(\d+)\}")
_KNOWN = frozenset(FUNCTIONS) | frozenset(_COMMANDS) | _GREEK | _MARKS | frozenset(_STRUCTURAL)
_PRIMES = re.compile(r"\^\s*\{\s*(?:\\prime\s*)+\}|\^\s*\\prime(?![A-Za-z])|\\prime(?![A-Za-z])")
_OPERATORS = {";": ",", "`": "'", "==": "=", ":=": "=", "/=": "!="}
_TOKEN = re.compile(
    r"(?P<num>\d+(?:\.\d*)?(?:(?:E[+-]?|e[+-]?)\d{1,4}(?![\w.{^]))?|\.\d+)"
    r"|\\begin\s*\{(?P<begin>[a-zA-Z]+)\*?\}(?:\s*\{[lcr|\s]*\})?|\\end\s*\{(?P<end>[a-zA-Z]+)\*?\}"
    r"|(?P<row>\\(?=[-\d]))|\\text\s*\{(?P<text>[^{}]*)\}|\\(?P<cmd>[A-Za-z]+)|\\(?P<escaped>.)"
    r"|(?P<word>[A-Za-z]+)|(?P<op><=|>=|==|!=|/=|\*\*|->|=>|:=|[^\s\w]|_)",
    re.DOTALL,
)


def tokenize(cleaned: str) -> list[Token]:
    """Return the tokens of a cleaned text, ended by one of kind `eof`.

    Raises:
        LatexError: There are more than `MAX_TOKENS` tokens, or a character that no answer holds.
    """
    if "prime" in cleaned:
        cleaned = _PRIMES.sub(lambda match: "'" * match.group().count("prime"), cleaned)
    if ".\\" in cleaned or "line" in cleaned or "bar" in cleaned:
        cleaned = _REPEATING.sub(_repeating_fraction, cleaned)
    cleaned = cleaned.replace("{}", "") if cleaned != "{}" else "\\emptyset"
    tokens: list[Token] = []
    end = 0
    for match in _TOKEN.finditer(cleaned):
        spaced = match.start() > end
        if spaced and (gap := cleaned[end : match.start()].strip()):
            raise LatexError(f"unexpected {gap[:10]!r}")
        end = match.end()
        kind = match.lastgroup or ""
        _add(kind, match.group(kind), spaced, tokens)
        if len(tokens) > MAX_TOKENS:
            raise LatexError(f"more than {MAX_TOKENS} tokens")
    tokens.append(Token("eof", ""))
    return tokens


def _repeating_fraction(match: re.Match[str]) -> str:
    whole, places, period = match.groups()
    top = int(whole + places + period) - int(whole + places or 0)
    return f"\\frac{{{top}}}{{{(10 ** len(period) - 1) * 10 ** len(places)}}}"


def _add(kind: str, value: str, spaced: bool, tokens: list[Token]) -> None:
    if kind == "num":
        tokens.append(Token("num", value, spaced))
    elif kind == "word":
        _read_word(value, spaced, tokens)
    elif kind == "cmd":
        _read_command(value, tokens)
    elif kind == "op":
        tokens.append(Token("op", _OPERATORS.get(value, value), spaced))
    elif kind == "text":
        _read_text(value, tokens)
    elif kind == "escaped":
        tokens.append(_escaped(value))
    elif kind == "row":
        tokens.append(Token("cmd", "\\"))
    else:
        tokens.append(Token("begin" if kind == "begin" else "end", value))


def _read_command(name: str, tokens: list[Token]) -> None:
    r"""Read a command; one that lost the space behind it, as in `\\sinx`, is two."""
    if name not in _KNOWN:
        for cut in (len(name) - 1, len(name) - 2):
            if cut > 1 and name[:cut] in _KNOWN:
                tokens.append(_command(name[:cut]))
                tokens.extend(Token("sym", char) for char in name[cut:])
                return
    tokens.append(_command(name))


def _command(name: str) -> Token:
    if name in FUNCTIONS:
        return Token("cmd", FUNCTIONS[name])
    if name in _MARKS:
        return Token("cmd", "mark")
    name = _COMMANDS.get(name, name)
    if name in _GREEK:
        return Token("sym", name)
    return Token("cmd", name) if name[:1].isalpha() else Token("op", name)


def _escaped(char: str) -> Token:
    if char in "{}":
        return Token("cmd", "lbrace" if char == "{" else "rbrace")
    if char == "\\":
        return Token("cmd", "\\")
    return Token("op", "|" if char == "|" else char)


def _behind_value(tokens: list[Token]) -> bool:
    return bool(tokens) and (tokens[-1].kind in ("num", "text") or tokens[-1].value in (")", "}", "%", "degree"))


def _read_text(content: str, tokens: list[Token]) -> None:
    word = content.strip().strip(",;.").strip()
    behind = _behind_value(tokens) or (len(tokens) > 1 and tokens[-1].value == "/" and tokens[-2].kind == "text")
    if not word:
        return
    if word in UNIT_LETTERS and behind:
        tokens.append(Token("text", word))
    elif len(word) == 1 and word.isalpha():
        tokens.append(Token("sym", word))
    elif word in FUNCTIONS and not (behind and word in UNIT_WORDS):
        tokens.append(Token("cmd", FUNCTIONS[word]))
    elif word in ("and", "or", "mod", "choose", "percent", "degrees", "degree", "pi") or (word == "in" and not behind):
        tokens.append(_plain(word))
    else:
        tokens.append(Token("text", word))


def _plain(word: str) -> Token:
    return Token("sym", "pi") if word == "pi" else _command(_PLAIN[word])


def _read_word(word: str, spaced: bool, tokens: list[Token]) -> None:
    behind = _behind_value(tokens)
    behind_text = bool(tokens) and tokens[-1].kind == "text"
    if len(word) == 1:
        tokens.append(Token("text" if behind_text else "sym", word, spaced))
    elif behind and word in UNIT_WORDS:
        tokens.append(Token("text", word, spaced))
    elif word in FUNCTIONS and word not in _LATEX_ONLY:
        tokens.append(Token("cmd", FUNCTIONS[word]))
    elif word in _PLAIN:
        tokens.append(_plain(word))
    elif len(word) > 3 and (name := _function_prefix(word)):
        tokens.append(Token("cmd", FUNCTIONS[name]))
        _read_word(word[len(name) :], False, tokens)
    elif len(word) > 3 or word.lower() in CARDINALS or behind_text:
        tokens.append(Token("text", word, spaced))
    else:
        tokens.extend(Token("sym", char, spaced and not at) for at, char in enumerate(word))


def _function_prefix(word: str) -> str:
    for name in ("sin", "cos", "tan", "ln", "log"):
        rest = word[len(name) :]
        if word.startswith(name) and (len(rest) <= 1 or rest in _PLAIN):
            return name
    return ""
