"""Sums, products, limits, integrals and derivatives by number: bounded work, good to about nine digits.

An integral without limits runs from a fixed point to the value of its variable, so that two ways to write the same
integral agree. Sums take integer bounds; symbolic bounds are integers at the point of prime coordinates.
"""

from __future__ import annotations

from typing import Protocol

from data_tools.maths.budget import TooLarge
from data_tools.maths.functions import Undefined, Value, float_of, guarded
from data_tools.maths.nodes import Node, walk

MAX_TERMS = 2_000


class Evaluator(Protocol):
    """What evaluates a body: the values of its symbols and the value of a tree."""

    point: dict[str, Value]

    def value(self, node: Node) -> Value:
        """Return the value of a tree."""


def big(ev: Evaluator, node: Node) -> Value:
    """Return the value of a sum, product, limit or integral."""
    kind = node.args[0]
    if kind == "int":
        return _integral(ev, *node.args[1:])
    if kind == "lim":
        return _limit(ev, node.args[1], node.args[3])
    _, low, high, body = node.args
    if low.op != "chain" or low.args[0] != ("=",) or low.args[1].op != "sym":
        raise Undefined("a sum without an index")
    first, last = ev.value(low.args[2]), ev.value(high)
    name = low.args[1].args[0]
    if not isinstance(first, int) or not isinstance(last, int):
        raise Undefined("a sum without integer bounds")
    if last - first > MAX_TERMS:
        raise TooLarge("a sum of too many terms")
    total: Value = 0 if kind == "sum" else 1
    for index in range(first, last + 1):
        value = _bound_value(ev, name, index, body)
        total = guarded(total + value if kind == "sum" else total * value)
    return total


def _bound_value(ev: Evaluator, name: str, value: Value, body: Node) -> Value:
    """Return the value of a body where one symbol is bound."""
    outer = ev.point.get(name)
    ev.point[name] = value
    try:
        return ev.value(body)
    finally:
        if outer is None:
            del ev.point[name]
        else:
            ev.point[name] = outer


_NODES_WEIGHTS = (
    (-0.9324695142031521, 0.1713244923791704),
    (-0.6612093864662645, 0.3607615730481386),
    (-0.2386191860831969, 0.4679139345726910),
    (0.2386191860831969, 0.4679139345726910),
    (0.6612093864662645, 0.3607615730481386),
    (0.9324695142031521, 0.1713244923791704),
)


def _integral(ev: Evaluator, variable: Node, low: Node, high: Node, body: Node) -> Value:
    """Integrate by Gauss quadrature on 16 pieces; an indefinite integral runs from 0.3 to its variable's value."""
    name = variable.args[0]
    if low.op == "text" or high.op == "text":
        start, stop = 0.3 + 0j, float_of(ev.point.get(name, 1.7))
    else:
        start, stop = float_of(ev.value(low)), float_of(ev.value(high))
    total = 0j
    half = (stop - start) / 32
    for piece in range(16):
        middle = start + half * (2 * piece + 1)
        for at, weight in _NODES_WEIGHTS:
            total += weight * half * float_of(_bound_value(ev, name, middle + half * at, body))
    return total


def _limit(ev: Evaluator, low: Node, body: Node) -> Value:
    """Extrapolate to the target from three nearby points."""
    if low.op != "chain" or low.args[0] != ("to",) or low.args[1].op != "sym":
        raise Undefined("a limit without a target")
    name, target = low.args[1].args[0], low.args[2]
    sign = -1 if target.op == "mul" else 1
    infinite = any(part == Node("sym", ("infty",)) for part in walk(target))
    goal = 0j if infinite else float_of(ev.value(target))
    values = []
    for step in (1e-3, 5e-4, 2.5e-4):
        at = complex(sign / step) if infinite else goal + step
        values.append(float_of(_bound_value(ev, name, at, body)))
    first, second = 2 * values[1] - values[0], 2 * values[2] - values[1]
    return (4 * second - first) / 3


def derivative(ev: Evaluator, node: Node) -> Value:
    """Return a derivative at the point of its variable."""
    variable, body = node.args
    if variable.op != "sym":
        raise Undefined("a derivative by no variable")
    name = variable.args[0]
    at = float_of(ev.point.get(name, 0.9))
    h = 1e-3
    values = [float_of(_bound_value(ev, name, at + k * h, body)) for k in (-2, -1, 1, 2)]
    return (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)
