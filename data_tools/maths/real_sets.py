"""Sets of real numbers as sorted pieces, so that `x>5`, `(5,∞)` and `(5,7)∪[7,∞)` are one thing.

Endpoints are values in double precision; a piece of one point is a finite set's element.
"""

from __future__ import annotations

import math
from functools import reduce
from typing import NamedTuple

from data_tools.maths.budget import TooLarge
from data_tools.maths.functions import Undefined, float_of
from data_tools.maths.nodes import EMPTY, REALS, Node, holds
from data_tools.maths.values import number, symbols

_FLIP = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}


class Piece(NamedTuple):
    """One interval.

    Args:
        low: Lower end.
        low_open: Whether the lower end is left out (1) or not (0); sorts closed ends first.
        high: Upper end.
        high_closed: Whether the upper end belongs to it.
    """

    low: float
    low_open: int
    high: float
    high_closed: int


Region = tuple[Piece, ...]
WHOLE: Region = (Piece(-math.inf, 1, math.inf, 0),)


def region_of(node: Node) -> Region | None:
    """Return the set of reals that a tree denotes, or None where it is no such set."""
    try:
        return _region(node)
    except (Undefined, TooLarge):
        return None


def same_region(left: Region, right: Region) -> bool:
    """Say whether two regions are the same, ends compared to nine digits."""
    return len(left) == len(right) and all(
        a.low_open == b.low_open and a.high_closed == b.high_closed and _near(a.low, b.low) and _near(a.high, b.high)
        for a, b in zip(left, right, strict=True)
    )


def _near(left: float, right: float) -> bool:
    if math.isinf(left) or math.isinf(right):
        return left == right
    return abs(left - right) <= 1e-9 * max(1.0, abs(left), abs(right))


def _end(node: Node) -> float:
    if node == Node("sym", ("infty",)):
        return math.inf
    if node.op == "percent":
        return _end(node.args[0])
    if node.op == "mul" and len(node.args) == 2 and node.args[0] == Node("num", (-1,)):
        return -_end(node.args[1])
    if node.op == "add" and len(node.args) == 1:
        return _end(node.args[0])
    if holds(node, "apply"):
        raise Undefined("a value of an unknown function")
    value = float_of(number(node))
    if abs(value.imag) > 1e-12 * max(1.0, abs(value)):
        raise Undefined("a complex end")
    return value.real


def _region(node: Node) -> Region | None:
    if node.op == "tuple" and len(node.args) == 4 and node.args[0] in "([]" and node.args[1] in ")][":
        return _interval(node)
    if node.op == "set":
        ends = sorted(_end(item) for item in node.args)
        return normal([Piece(end, 0, end, 1) for end in ends])
    if node == EMPTY:
        return ()
    if node in REALS:
        return WHOLE
    if node.op in ("cup", "cap", "setminus"):
        left, right = _region(node.args[0]), _region(node.args[1])
        return None if left is None or right is None else _combine(node.op, left, right)
    if node.op == "chain":
        return _from_relations(node)
    if node.op == "list" and all(item.op in ("chain", "tuple", "cup") for item in node.args):
        parts = [_region(item) for item in node.args]
        if None in parts:
            return None
        if any(item.op == "chain" and "!=" in item.args[0] for item in node.args):  # all of them hold
            return reduce(
                lambda left, right: _combine("cap", left, right), [part for part in parts if part is not None]
            )
        return normal([piece for part in parts if part for piece in part])
    return None


def _interval(node: Node) -> Region:
    low, high = _end(node.args[2]), _end(node.args[3])
    low_open = int(node.args[0] in "(]" or low == -math.inf)
    high_closed = int(node.args[1] == "]" and high != math.inf)
    if low > high:
        raise Undefined("an interval whose ends are swapped")
    return (Piece(low, low_open, high, high_closed),)


def _from_relations(node: Node) -> Region | None:
    relations, parts = node.args[0], node.args[1:]
    if relations == ("in",) or (relations == ("=",) and parts[1].op in ("set", "cup", "setminus")):
        return _region(parts[1])
    if relations == ("!=",) and parts[0].op == "sym" and not symbols(parts[1]):
        return _combine("setminus", WHOLE, (Piece(_end(parts[1]), 0, _end(parts[1]), 1),))
    if len(relations) > 2 or not all(relation in _FLIP for relation in relations):
        return None
    if len(relations) == 2:
        if not _is_name(parts[1]):
            return None
        first = _half(_FLIP[relations[0]], _end(parts[0]))
        return _combine("cap", first, _half(relations[1], _end(parts[2])))
    if not symbols(parts[1]) and (center := _center(parts[0])) is not None:
        return _around(center, relations[0], _end(parts[1]))
    if not symbols(parts[0]) and (center := _center(parts[1])) is not None:
        return _around(center, _FLIP[relations[0]], _end(parts[0]))
    if _is_name(parts[0]) and not symbols(parts[1]):
        return _half(relations[0], _end(parts[1]))
    if _is_name(parts[1]) and not symbols(parts[0]):
        return _half(_FLIP[relations[0]], _end(parts[0]))
    return None


def _center(node: Node) -> float | None:
    """Return the point from which a tree is a variable's distance, as 2 for `|x-2|`; None for any other tree."""
    if node.op != "call" or node.args[0] != "abs":
        return None
    terms = node.args[1].args if node.args[1].op == "add" else (node.args[1],)
    if not _is_name(terms[0]) or any(symbols(term) for term in terms[1:]):
        return None
    return -sum(_end(term) for term in terms[1:])


def _around(center: float, relation: str, radius: float) -> Region:
    sides = _half(relation, center + radius), _half(_FLIP[relation], center - radius)
    return _combine("cap" if relation in ("<", "<=") else "cup", *sides)


def _is_name(node: Node) -> bool:
    if node.op == "apply":
        return bool(symbols(node.args[1]))
    return node.op == "sym" and node.args[0] not in ("infty", "pi", "e", "i")


def _half(relation: str, end: float) -> Region:
    if relation in (">", ">="):
        return (Piece(end, int(relation == ">"), math.inf, 0),)
    return (Piece(-math.inf, 1, end, int(relation == "<=")),)


def _holds(region: Region, x: float, exactly: bool) -> bool:
    """Say whether a point, or the open gap that begins at it, belongs to a region."""
    for low, low_open, high, high_closed in region:
        if exactly and (low < x < high or (x == low and not low_open) or (x == high and high_closed)):
            return True
        if not exactly and low <= x < high:
            return True
    return False


def _combine(operation: str, left: Region, right: Region) -> Region:
    rule = {
        "cup": lambda a, b: a or b,
        "cap": lambda a, b: a and b,
        "setminus": lambda a, b: a and not b,
    }[operation]
    ends = sorted({end for piece in (*left, *right) for end in (piece.low, piece.high)} | {-math.inf})
    pieces = []
    for at, end in enumerate(ends):
        if math.isfinite(end) and rule(_holds(left, end, True), _holds(right, end, True)):
            pieces.append(Piece(end, 0, end, 1))
        if end < math.inf and rule(_holds(left, end, False), _holds(right, end, False)):
            pieces.append(Piece(end, 1, ends[at + 1] if at + 1 < len(ends) else math.inf, 0))
    return normal(pieces)


def normal(pieces: list[Piece]) -> Region:
    """Return pieces sorted, with touching ones joined."""
    joined: list[Piece] = []
    for piece in sorted(pieces):
        last = joined[-1] if joined else None
        touching = last and (
            piece.low < last.high or (piece.low == last.high and (last.high_closed or not piece.low_open))
        )
        if last and touching:
            high, closed = max((last.high, last.high_closed), (piece.high, piece.high_closed))
            joined[-1] = Piece(last.low, last.low_open, high, closed)
        else:
            joined.append(piece)
    return tuple(joined)
