r"""Answers in LaTeX or plain notation to a small tree: a bounded recursive-descent parser.

It reads what answers contain: arithmetic, functions, sums, integrals, matrices, sets, intervals, lists, relations and
units; the rest is refused with `LatexError`. Depth and token count are capped, so time and memory are bounded for
every input. Nothing is evaluated here, and no name is looked up outside the tables of `tokens`.

This file holds the upper half of the grammar, lists down to products; `atoms` holds the lower half.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from data_tools.maths.atoms import Atoms
from data_tools.maths.nodes import MINUS_ONE, Node, negate, power, product_of
from data_tools.maths.number_words import SCALES
from data_tools.maths.tokens import LatexError, tokenize
from data_tools.maths.units import UNIT_LETTERS, UNITS

MAX_DEPTH = 40
MAX_CHARS = 2_000
MAX_WORDS = 4
"""Words that are no units, up to which a text behind a value says what is counted; with more it is prose."""
_RELATIONS = frozenset(("=", "<", ">", "<=", ">=", "!=", "approx", "in", "equiv", "to", "=>", "->", "iff"))
_SETS = frozenset(("cup", "cap", "setminus"))
_CLOSERS = frozenset((")", "]", "}", "rbrace", "rangle", "rfloor", "rceil", "&", "\\"))
_SUM_SIGNS = frozenset(("+", "-", "pm", "mp"))
_ENDS = _RELATIONS | _SETS | _CLOSERS | _SUM_SIGNS | frozenset((",", "and", "or", ":", "quad", "?"))


class Parsed(NamedTuple):
    """A parsed answer.

    Args:
        node: Its tree.
        units: The texts that stood where units stand; they are not in the tree.
    """

    node: Node
    units: tuple[str, ...]


@lru_cache(maxsize=16_384)
def _parse_cached(cleaned: str) -> Parsed | str:
    """Return the tree, or why there is none; exceptions are not cached, texts are."""
    parser = _Parser(tokenize(cleaned))
    try:
        node = parser.items(frozenset(("eof",)))
    except LatexError as error:
        return str(error)
    except RecursionError:  # the caller's own stack was nearly used up
        return "nested too deep"
    if parser.peek.kind != "eof":
        return f"unexpected {parser.peek.value!r}"
    if sum(word not in UNITS for text in parser.units for word in text.split()) > MAX_WORDS:
        return "free text"
    return Parsed(node, tuple(parser.units))


def parse(cleaned: str) -> Parsed:
    """Return the tree of one answer.

    Args:
        cleaned: Text as `normalize.clean` gives it.

    Raises:
        LatexError: The text is outside the grammar or over a cap.
    """
    if len(cleaned) > MAX_CHARS:
        raise LatexError(f"longer than {MAX_CHARS} characters")
    parsed = _parse_cached(cleaned)
    if isinstance(parsed, str):
        raise LatexError(parsed)
    return parsed


def _as_set(node: Node) -> Node:
    """Return an operand of a set operation; a number is a set of one whose braces had no backslashes."""
    return Node("set", (node,)) if node.op == "num" else node


class _Parser(Atoms):
    """Lists, relations, sums and products."""

    def items(self, closers: frozenset[str]) -> Node:
        """Read relations separated by commas, "and", "or"; one alone is itself."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise LatexError(f"nested deeper than {MAX_DEPTH}")
        nodes: list[Node] = []
        trailing = False
        while self.peek.kind not in ("eof", "end") and not self.at_any(closers):
            if self.peek.value in (",", "and", "or") and self.peek.kind in ("op", "cmd"):
                self.next()
                trailing = True
                continue
            if nodes and not trailing:
                raise LatexError(f"unexpected {self.peek.value!r}")
            nodes.append(self.chain())
            trailing = False
        self.depth -= 1
        if not nodes:
            raise LatexError("empty")
        return nodes[0] if len(nodes) == 1 else Node("list", tuple(nodes))

    def chain(self) -> Node:
        """Read one or more values with relations between them."""
        parts: list[Node] = []
        relations: list[str] = []
        if self.at_any(_RELATIONS):
            if self.peek.value not in ("=", "approx", "in"):
                parts.append(Node("sym", ("?",)))
            else:
                self.next()
        if not parts:
            parts.append(self.region())
        while self.at_any(_RELATIONS):
            relations.append({"=>": "to", "->": "to"}.get(self.peek.value, self.next().value))
            parts.append(self.region())
        return Node("chain", (tuple(relations), *parts)) if relations else parts[0]

    def region(self) -> Node:
        """Read sets with set operations between them, from the left."""
        left = self.ratio()
        sets = 0
        while self.at_any(_SETS):
            sets += 1
            if sets > MAX_DEPTH:
                raise LatexError("nested too deep")
            name = self.next().value
            left = Node(name, (_as_set(left), _as_set(self.ratio())))
        return left

    def ratio(self) -> Node:
        """Read a ratio `a:b:c`."""
        parts = [self.sum()]
        while self.take(":"):
            parts.append(self.sum())
        return Node("ratio", tuple(parts)) if len(parts) > 1 else parts[0]

    def sum(self) -> Node:
        """Read terms; inside an integral, up to the one that holds the differential."""
        terms: list[Node] = []
        differentials = len(self.differentials[-1]) if self.differentials else 0
        while True:
            sign = self.peek.value if self.peek.kind in ("op", "cmd") else ""
            if sign in _SUM_SIGNS:
                if terms and self.differentials and len(self.differentials[-1]) > differentials:
                    break
                self.next()
                while sign in "+-" and self.peek.value in ("+", "-") and self.peek.kind == "op":
                    sign = "+" if self.next().value == sign else "-"
            elif terms:
                break
            term = self.product()
            terms.append(negate(term) if sign == "-" else Node(sign, (term,)) if sign in ("pm", "mp") else term)
        return terms[0] if len(terms) == 1 else Node("add", tuple(terms))

    def product(self) -> Node:
        """Read factors: explicit, implicit, divided; units behind a value are taken aside."""
        factors = [self.signed()]
        while True:
            kind, value, _ = self.peek
            if kind == "text":
                self._unit(factors)
            elif self._ends_product(kind, value):
                break
            elif value in ("*", "**"):
                self.next()
                factors.append(self.signed())
            elif value in ("/", "over"):
                self._divide(factors)
            elif value == "bmod":
                self.next()
                factors = [Node("mod", (product_of(factors), self.signed()))]
            elif value == "(" and self.tokens[self.at + 1].value == "bmod":
                self.next()
                self._infix(factors)
                self.expect(")")
            elif value in ("pmod", "choose"):
                self._infix(factors)
            elif kind == "num" and factors[-1].op == "num" and self.tokens[self.at - 1].kind == "num":
                raise LatexError("two numbers side by side")
            elif not self._unit_letter():
                factors.append(self.power())
        return product_of(factors)

    def _ends_product(self, kind: str, value: str) -> bool:
        if kind in ("eof", "end") or (kind != "sym" and value in _ENDS):
            return True
        return (value == "|" and self.bars > 0) or (value == "[" and self.outward)

    def _divide(self, factors: list[Node]) -> None:
        behind_unit = self.at == self.unit_end
        over = self.next().value == "over"
        if self.peek.kind == "text" or (behind_unit and self.peek.value in UNIT_LETTERS):
            self._unit(factors)
        elif over:
            top, bottom = product_of(factors), self.product()
            factors[:] = [top, power(bottom, MINUS_ONE)]
        else:
            factors.append(power(self.signed(), MINUS_ONE))

    def _infix(self, factors: list[Node]) -> None:
        name = self.next().value
        right = self.power() if name == "pmod" else self.product()
        factors[:] = [Node("binom" if name == "choose" else "pmod", (product_of(factors), right))]

    def _unit(self, factors: list[Node]) -> None:
        """Take a text behind a value aside; number words such as million multiply."""
        word = self.next().value
        scale = SCALES.get(word.lower().rstrip("s") if word.lower() not in SCALES else word.lower())
        if scale:
            factors.append(Node("num", (scale,)))
            return
        if self.take("^"):
            exponent = self.script()
            word += f"^{exponent.args[0]}" if exponent.op == "num" else ""
        self.units.append(word)
        self.unit_end = self.at

    def _unit_letter(self) -> bool:
        r"""Take `5 m` as a unit: a spaced unit letter behind a number, with nothing behind it; `5^\circ C` too."""
        if self.peek.kind != "sym" or self.peek.value not in UNIT_LETTERS:
            return False
        before, behind = self.tokens[self.at - 1], self.tokens[self.at + 1]
        scale = before.value == "degree" and self.peek.value in "CFK"
        if not scale and not (self.peek.spaced and before.kind == "num"):
            return False
        if not (behind.kind == "eof" or behind.value in (",", ")", "]", "}", "^", "/")):
            return False
        if behind.value in ("^", "/") and self.tokens[self.at + 2].kind == "eof":
            return False
        if behind.value == "/" and self.tokens[self.at + 2].value not in UNIT_LETTERS:
            return False
        self._unit([])
        return True
