r"""Answers in LaTeX or plain notation to a small tree: a bounded recursive-descent parser.

It reads what answers contain (arithmetic, functions, sums, integrals, matrices, sets, intervals, lists, relations,
units) and refuses the rest with `LatexError`. Depth and token count are capped, so time and memory are bounded for
every input; nothing is evaluated and no name is ever looked up outside the tables of `tokens`.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple

from data_tools.tokens import NUMBER_WORDS, SCALES, LatexError, Token, tokenize
from data_tools.units import UNIT_WORDS

MAX_DEPTH = 40
MAX_EXPONENT = 400


class Node(NamedTuple):
    """A tree node: an operation and its arguments (nodes, or a name, number or bracket for leaves)."""

    op: str
    args: tuple[Any, ...]


class Parsed(NamedTuple):
    """A parsed answer: its tree and the texts that stood where units stand."""

    node: Node
    units: tuple[str, ...]


ONE = Node("num", (Fraction(1),))
MINUS_ONE = Node("num", (Fraction(-1),))
_RELATIONS = frozenset(("=", "<", ">", "<=", ">=", "!=", "==", "/=", ":=", "approx", "in", "equiv", "to", "=>", "->"))
_RELATION_NAMES = {"==": "=", ":=": "=", "/=": "!=", "=>": "to", "->": "to"}
_SETS = frozenset(("cup", "cap", "setminus"))
_CLOSERS = frozenset((")", "]", "}", "rbrace", "rangle", "rfloor", "rceil"))
_ENDS = _RELATIONS | _SETS | _CLOSERS | frozenset((",", "and", "or", "+", "-", "pm", "mp", "*", "/", ":", "&", "\\"))
_PAIRED = {"lfloor": ("rfloor", "floor"), "lceil": ("rceil", "ceil")}
_BIG = {"sum": "sum", "prod": "prod"}
_INVERTIBLE = frozenset(("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "coth", "sech", "csch"))
_CALLED = frozenset("fghFGH")


def parse(cleaned: str, grouped: bool = True) -> Parsed:
    """The tree of one answer.

    Args:
        cleaned: Text as `normalize.clean` gives it.
        grouped: Whether `1,234` outside brackets is one number rather than two.

    Raises:
        LatexError: The text is outside the grammar or over a cap.
    """
    parser = _Parser(tokenize(cleaned, UNIT_WORDS, grouped))
    node = parser.items(frozenset(("eof",)))
    if parser.peek.kind != "eof":
        raise LatexError(f"unexpected {parser.peek.value!r}")
    return Parsed(node, tuple(parser.units))


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.at = 0
        self.peek = tokens[0]
        self.depth = 0
        self.bars = 0
        self.differentials: list[list[str]] = []
        self.units: list[str] = []

    def next(self) -> Token:
        token = self.peek
        if token.kind != "eof":
            self.at += 1
            self.peek = self.tokens[self.at]
        return token

    def take(self, value: str) -> bool:
        if self.peek.value == value and self.peek.kind != "text":
            self.next()
            return True
        return False

    def expect(self, value: str) -> None:
        if not self.take(value):
            raise LatexError(f"expected {value!r}, found {self.peek.value!r}")

    # Lists and relations ------------------------------------------------------------------------------------

    def items(self, closers: frozenset[str]) -> Node:
        """Relations separated by commas, "and", "or"; one alone is itself."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise LatexError(f"nested deeper than {MAX_DEPTH}")
        items: list[Node] = []
        joiner = ","
        while self.peek.kind != "eof" and self.peek.value not in closers:
            if self.peek.value in (",", "and", "or") and self.peek.kind != "text":
                word = self.next().value
                joiner = word if joiner == "," else joiner
                continue
            items.append(self.chain())
            follows = self.peek.value
            if follows not in (",", "and", "or") and follows not in closers and self.peek.kind != "eof":
                raise LatexError(f"unexpected {follows!r}")
        self.depth -= 1
        if not items:
            raise LatexError("empty")
        return items[0] if len(items) == 1 else Node("list", (joiner, *items))

    def chain(self) -> Node:
        parts: list[Node] = []
        relations: list[str] = []
        if self.peek.value in ("<", ">", "<=", ">=", "!="):
            parts.append(Node("sym", ("_",)))
        elif self.peek.value in ("=", "approx"):
            self.next()
        if not parts:
            parts.append(self.region())
        while self.peek.value in _RELATIONS and self.peek.kind != "text":
            relation = self.next().value
            if self.take("="):
                relation = {"<": "<=", ">": ">="}.get(relation, relation)
            relations.append(_RELATION_NAMES.get(relation, relation))
            parts.append(self.region())
        return Node("chain", (tuple(relations), *parts)) if relations else parts[0]

    def region(self) -> Node:
        left = self.ratio()
        while self.peek.value in _SETS:
            name = self.next().value
            left = Node(name, (left, self.ratio()))
        return left

    def ratio(self) -> Node:
        parts = [self.sum()]
        while self.take(":"):
            parts.append(self.sum())
        return Node("ratio", tuple(parts)) if len(parts) > 1 else parts[0]

    # Arithmetic ---------------------------------------------------------------------------------------------

    def sum(self) -> Node:
        terms: list[Node] = []
        while True:
            sign = self.peek.value
            if sign in ("+", "-", "pm", "mp") and self.peek.kind != "text":
                self.next()
                while self.peek.value in ("+", "-") and sign in ("+", "-"):
                    sign = "+" if self.next().value == sign else "-"
            elif terms:
                break
            term = self.product()
            if sign == "-":
                term = negate(term)
            elif sign in ("pm", "mp") and terms:
                term = Node(sign, (term,))
            elif sign in ("pm", "mp"):
                term = Node(sign, (term,))
            terms.append(term)
        return terms[0] if len(terms) == 1 else Node("add", tuple(terms))

    def product(self) -> Node:
        factors = [self.signed()]
        while True:
            value, kind = self.peek
            if kind == "text":
                self.unit(factors)
            elif value == "*" or value == "**":
                self.next()
                factors.append(self.signed())
            elif value == "/":
                self.next()
                if self.peek.kind == "text":
                    self.unit(factors)
                else:
                    factors.append(Node("pow", (self.signed(), MINUS_ONE)))
            elif value in ("bmod", "pmod", "mod"):
                self.next()
                factors = [Node("mod", (_product(factors), self.signed()))]
            elif kind == "eof" or value in _ENDS or (value == "|" and self.bars) or value in ("!=", "end", "mid"):
                return _product(factors)
            elif kind == "end" or value in (";", "?"):
                return _product(factors)
            else:
                factors.append(self.power())
