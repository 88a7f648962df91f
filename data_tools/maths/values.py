"""Evaluate expression trees at fixed points, which decides equality without algebra.

Rational values are exact (`int`, `Fraction`), all others double-precision complex; every operation has a size guard,
so an evaluation takes bounded time and memory. Two expressions are the same if they agree at every point where both
have a real value. Points have prime, rational and irrational coordinates of both signs: primes make exact arithmetic
sharp, negative ones tell |x| from x. Symbols that one side lacks are fine as long as values agree (`0*y`).
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable, Mapping
from fractions import Fraction

from data_tools.maths.budget import Exhausted, TooLarge, spend
from data_tools.maths.calculus import big, derivative
from data_tools.maths.functions import FUNCTIONS, Undefined, Value, binomial, exact_power, float_of, guarded, real_root
from data_tools.maths.nodes import Node, walk

_PRIMES = (29, 37, 43, 53, 61, 71, 79, 89, 101, 109, 127, 137)
_RATIONALS = tuple(Fraction(a, b) for a, b in ((7, 5), (-3, 7), (11, 8), (-9, 11), (5, 13), (-8, 3), (13, 9), (-4, 9)))
_POSITIVE = (0.7390851332, 1.2020569031, 0.5772156649, 1.3247179572, 0.9159655941, 1.6180339887, 0.2614972128)
_CONSTANTS: dict[str, Value] = {"pi": complex(math.pi), "e": complex(math.e), "i": 1j}
_NOISE = 1e-11
_LEAST = 1e-290
_WHOLE = (1, 2, 3, 4, 5, 7, 8, 10, 12, 17, 26)
_COUNTING = frozenset("nkmjN")
_TRIGONOMETRY = frozenset(("sin", "cos", "tan", "cot", "sec", "csc"))


class Evaluation:
    """One evaluation at one point.

    Args:
        point: Symbol -> value.

    Attributes:
        cancelled: Whether terms have cancelled up to rounding errors: a value near zero may be nothing but noise.
    """

    def __init__(self, point: Mapping[str, Value]) -> None:
        self.point = dict(point)
        self.degrees: list[bool] = [False]
        self.cancelled = False

    def value(self, node: Node) -> Value:
        """Return the value of a tree.

        Raises:
            Undefined: It has no value here: a pole, a set, a word.
            TooLarge: A value or the work is over the guard.
        """
        spend(1)
        rule = _RULES.get(node.op)
        if rule is None:
            raise Undefined(f"{node.op} has no value")
        try:
            return rule(self, node)
        except OverflowError as error:
            raise TooLarge("beyond double precision") from error
        except (TypeError, ValueError, ZeroDivisionError) as error:  # a function given too many or odd arguments
            raise Undefined(str(error)) from error

    def all(self, nodes: tuple[Node, ...]) -> list[Value]:
        """Return the values of several trees."""
        return [self.value(node) for node in nodes]


def _symbol(ev: Evaluation, node: Node) -> Value:
    name = node.args[0]
    if name in ev.point:
        return ev.point[name]
    if name in _CONSTANTS:
        return _CONSTANTS[name]
    raise Undefined(f"{name} has no value")


def _add(ev: Evaluation, node: Node) -> Value:
    total: Value = 0
    values = ev.all(node.args)
    for value in values:
        total = guarded(total + value)
    if isinstance(total, complex) and abs(total) < _NOISE * max(abs(float_of(value)) for value in values):
        ev.cancelled = True
    return total


def _mul(ev: Evaluation, node: Node) -> Value:
    total: Value = 1
    for value in ev.all(node.args):
        if value == 0:
            return value
        total = guarded(total * value)
        if isinstance(total, complex) and abs(total) < _LEAST:
            raise TooLarge("below double precision")
    return total


def _pow(ev: Evaluation, node: Node) -> Value:
    base, exponent = ev.value(node.args[0]), ev.value(node.args[1])
    return guarded(exact_power(base, exponent))


def _root(ev: Evaluation, node: Node) -> Value:
    degree, radicand = ev.value(node.args[0]), ev.value(node.args[1])
    return real_root(radicand, degree)


def _call(ev: Evaluation, node: Node) -> Value:
    name, arguments = node.args[0], node.args[1:]
    ev.degrees.append(name in _TRIGONOMETRY)
    try:
        values = ev.all(arguments)
    finally:
        ev.degrees.pop()
    function = FUNCTIONS.get(name)
    if function is None:
        raise Undefined(f"no function {name}")
    value = guarded(function(*values))
    if isinstance(value, complex) and abs(value) < _NOISE:  # the sine of pi
        ev.cancelled = True
    return value


def _degree(ev: Evaluation, node: Node) -> Value:
    value = ev.value(node.args[0])
    return value * complex(math.pi / 180) if ev.degrees[-1] else value


def _apply(ev: Evaluation, node: Node) -> Value:
    """Evaluate an unknown function: some fixed smooth function that depends on its name."""
    name, argument = node.args
    seed = sum((at + 1) * ord(char) for at, char in enumerate(name)) % 997 / 997 + 0.31
    arguments = argument.args[2:] if argument.op == "tuple" else (argument,)
    total = complex(seed)
    for at, value in enumerate(ev.all(arguments)):
        total += cmath.sin(float_of(value) * (0.013 + 0.1 * seed) + at) * (1.3 + seed)
    return total


def _mod(ev: Evaluation, node: Node) -> Value:
    base, modulus = node.args
    bottom = ev.value(modulus)
    if not isinstance(bottom, int) or bottom == 0:
        raise Undefined("a modulus that is no integer")
    if base.op == "pow":
        root, exponent = ev.value(base.args[0]), ev.value(base.args[1])
        if isinstance(root, int) and isinstance(exponent, int) and exponent >= 0:
            return pow(root, exponent, bottom)
    top = ev.value(base)
    if isinstance(top, complex):
        raise Undefined("a remainder of no integer")
    return top % bottom


def _based(ev: Evaluation, node: Node) -> Value:
    digits, base = node.args[0].args[0], ev.value(node.args[1])
    if not isinstance(base, int) or not 2 <= base <= 36:
        raise Undefined("no number base")
    try:
        return int(str(digits), base)
    except ValueError as error:
        raise Undefined("digits outside the base") from error


_RULES: dict[str, Callable[[Evaluation, Node], Value]] = {
    "num": lambda ev, node: node.args[0],
    "sym": _symbol,
    "add": _add,
    "mul": _mul,
    "pow": _pow,
    "root": _root,
    "call": _call,
    "deg": _degree,
    "percent": lambda ev, node: guarded(ev.value(node.args[0]) * Fraction(1, 100)),
    "apply": _apply,
    "big": big,
    "diff": derivative,
    "mod": _mod,
    "based": _based,
    "binom": lambda ev, node: binomial(*ev.all(node.args)),
    "ratio": lambda ev, node: (
        guarded(exact_power(ev.value(node.args[1]), -1) * ev.value(node.args[0]))
        if len(node.args) == 2
        else _symbol(ev, Node("sym", (":",)))
    ),
}


def symbols(node: Node) -> set[str]:
    """Return the free names of a tree: symbols that are neither constants nor infinity."""
    return {n.args[0] for n in walk(node) if n.op == "sym"} - set(_CONSTANTS) - {"infty", "emptyset"}


def points(names: set[str]) -> list[dict[str, Value]]:
    """Return the points at which expressions of these names are compared."""
    ordered = sorted(names)
    chosen: list[dict[str, Value]] = []
    for coordinates in (_PRIMES, _RATIONALS, _POSITIVE, _RATIONALS[3:] + _RATIONALS[:3]):
        chosen.append(
            {
                name: coordinates[at % len(coordinates)] + at // len(coordinates)  # type: ignore[misc]
                for at, name in enumerate(ordered)
            }
        )
    return [{name: complex(v) if isinstance(v, float) else v for name, v in point.items()} for point in chosen]


def close(left: Value, right: Value) -> bool:
    """Say whether two values are equal: exactly, or to nine digits where one is not exact."""
    if not isinstance(left, complex) and not isinstance(right, complex):
        return left == right
    a, b = float_of(left), float_of(right)
    return abs(a - b) <= 1e-9 * max(abs(a), abs(b))


def same_values(left: Node, right: Node) -> bool:
    """Say whether two trees agree at every point where both have a value.

    Raises:
        Undefined: They have no value in common.
        TooLarge: Both are over the magnitude guard at every point.
    """
    names = symbols(left) | symbols(right)
    compared = 0
    reason: ArithmeticError | None = None
    for point in _points_for(names, left, right):
        evaluations = Evaluation(point), Evaluation(point)
        values: list[Value] = []
        large = 0
        for evaluation, node in zip(evaluations, (left, right), strict=True):
            try:
                values.append(evaluation.value(node))
            except Exhausted:
                raise
            except TooLarge as error:
                large, reason = large + 1, error
            except Undefined as error:
                reason = error
        if large == 1 and len(values) == 1:
            return False  # one is beyond all bounds, the other is not
        if len(values) < 2 or (names and compared and _imaginary(values, point)):
            continue
        noise = [ev.cancelled and abs(float_of(v)) < _NOISE for ev, v in zip(evaluations, values, strict=True)]
        if all(noise):
            reason = Undefined("nothing but rounding errors is left")
            continue
        zero = (noise[0] and values[1] == 0) or (noise[1] and values[0] == 0)
        if not zero and not close(values[0], values[1]):
            return False
        compared += 1
    if not compared:
        raise reason or Undefined("no value")
    return True


def _points_for(names: set[str], left: Node, right: Node) -> list[dict[str, Value]]:
    """Return where two trees are compared: functions of whole numbers at whole numbers only, rounding at many."""
    if not names:
        return [{}]
    calls = {n.args[0] for n in (*walk(left), *walk(right)) if n.op == "call"}
    chosen = points(names)
    if calls & {"gcd", "lcm"}:
        return chosen[:1]
    if calls & {"floor", "ceil"}:
        whole: list[dict[str, Value]] = [{name: k + at for at, name in enumerate(sorted(names))} for k in _WHOLE]
        return [chosen[0], *whole, *(() if names <= _COUNTING else chosen[1:])]
    return chosen


def _imaginary(values: list[Value], point: Mapping[str, Value]) -> bool:
    """Whether a root or logarithm of a negative coordinate left the real line: no evidence either way."""
    negative = any(not isinstance(c, complex) and c < 0 for c in point.values())
    return negative and any(isinstance(v, complex) and abs(v.imag) > 1e-9 for v in values)


def number(node: Node) -> Value:
    """Return the value of a tree without names.

    Raises:
        Undefined: It has names or no value.
        TooLarge: It is over the magnitude guard.
    """
    return Evaluation({}).value(node)
