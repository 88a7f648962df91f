"""The tree of a parsed answer: named tuples of an operation and its arguments, and the few ways to build them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple


class Node(NamedTuple):
    """A tree node.

    Args:
        op: The operation: num, sym, text, add, mul, pow, root, call, list, set, tuple, matrix, chain, ...
        args: Nodes, or for leaves and brackets a number or name.
    """

    op: str
    args: tuple[Any, ...]


ONE = Node("num", (1,))
MINUS_ONE = Node("num", (-1,))
EMPTY = Node("sym", ("emptyset",))
REALS = (Node("sym", ("R",)), Node("apply", ("mark", Node("sym", ("R",)))))
"""How the set of all real numbers is written: `R`, `\\mathbb{R}`."""
MAX_LITERAL = 2_000
"""Digits and decimal shift up to which a number literal is read."""


def negate(node: Node) -> Node:
    """Return the negative of a node; of a number or a percentage, the number."""
    if node.op == "percent":
        return Node("percent", (negate(node.args[0]),))
    return Node("num", (-node.args[0],)) if node.op == "num" else Node("mul", (MINUS_ONE, node))


def product_of(factors: Sequence[Node]) -> Node:
    """Return the product of nodes; one alone is itself."""
    return factors[0] if len(factors) == 1 else Node("mul", tuple(factors))


def by_rule(member: Node, rule: Node) -> Node:
    """Return the set `{member | rule}`: the rule alone, unless the member is said to be in less than the reals."""
    within = member.op == "chain" and member.args[0] == ("in",) and member.args[2] not in REALS
    return Node("list", (member, rule)) if within else rule


def power(base: Node, exponent: Node) -> Node:
    """Return a power node."""
    return Node("pow", (base, exponent))


def literal(text: str) -> Node:
    """Return the exact number of a literal such as `12`, `.5`, `1500E-1`.

    Raises:
        ValueError: It has too many digits or too large an exponent.
    """
    lowered = text.lower()
    mantissa, _, exponent = lowered.partition("e")
    if len(mantissa) > MAX_LITERAL or abs(int(exponent or 0)) > MAX_LITERAL:
        raise ValueError("a number of too many digits")
    whole, _, places = mantissa.partition(".")
    shift = int(exponent or 0) - len(places)
    value = Fraction(int(whole + places)) * Fraction(10) ** shift
    return Node("num", (value.numerator if value.denominator == 1 else value,))


def walk(node: Node) -> list[Node]:
    """Return a node and all below it."""
    pending = [node]
    for current in pending:
        pending.extend(child for child in current.args if isinstance(child, Node))
    return pending


def holds(node: Node, op: str) -> bool:
    """Say whether an operation occurs in a tree."""
    return any(current.op == op for current in walk(node))
