r"""Whether two expressions are the same, by a guarded parse and numeric probing.

latex2sympy2_extended parses; what could grow without bound (towers of powers, huge exponents, large factorials, deep
nesting, long texts) is refused before. Expressions are compared by value at fixed random points to 30 digits: no
simplification, no evaluation of text as code.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

MAX_CHARS = 400
MAX_DEPTH = 24
_BIG_EXPONENT = re.compile(r"\^\s*\{?\s*[-+]?\s*\(?\s*\d{4,}")
_TOWER = re.compile(r"\^\s*\{?[^{}^]{0,40}\^\s*\{?[^{}^]{0,40}\^|!\s*\)?\s*!|\^\s*\{?\s*\(?\d+\)?\s*!")
_NESTED_POWER = re.compile(r"\d{2,}\s*\^\s*\{?\s*\d+\s*\^\s*\{?\s*\d{2,}")
_BIG_FACTORIAL = re.compile(r"\d{5,}\s*\)?\s*!|\\binom\s*\{\s*\d{6,}")
_HUGE_NUMBER = re.compile(r"\d{400,}")
_SUSPICIOUS = re.compile(r"__|\bimport\b|lambda|\\input|\\def(?![A-Za-z])|`|\"")
_PLAIN_SQRT = re.compile(r"(?<![\\A-Za-z])(sqrt|pi|sin|cos|tan|log|ln)(?![A-Za-z])")
_PLAIN_CALL = re.compile(r"\\sqrt\s*\(([^()]*)\)")
_POINTS = ((0.7390851332, 1.2020569031, 0.5772156649), (1.3247179572, 0.9159655941, 1.6180339887))
_DIGITS = 30


class Refused(ValueError):
    """The text is over a cap or outside what can be parsed; the message says why."""


def same_expression(left: str, right: str) -> bool:
    """Say whether two cleaned texts are equal expressions or equations.

    Raises:
        Refused: One of them cannot be parsed within the caps.
    """
    return _same(parsed(left), parsed(right))


def guard(text: str) -> None:
    """Refuse a text that could take unbounded time or memory.

    Raises:
        Refused: Always with the reason.
    """
    if len(text) > MAX_CHARS:
        raise Refused(f"longer than {MAX_CHARS} characters")
    depth = deepest = 0
    for char in text:
        depth += (char in "([{") - (char in ")]}")
        deepest = max(deepest, depth)
    if deepest > MAX_DEPTH:
        raise Refused(f"nested deeper than {MAX_DEPTH}")
    for pattern, why in (
        (_BIG_EXPONENT, "an exponent of four digits or more"),
        (_TOWER, "a tower of powers or factorials"),
        (_NESTED_POWER, "a tower of powers"),
        (_BIG_FACTORIAL, "a factorial of five digits or more"),
        (_HUGE_NUMBER, "a number of 400 digits or more"),
        (_SUSPICIOUS, "not a mathematical expression"),
    ):
        if pattern.search(text):
            raise Refused(why)


@lru_cache(maxsize=4096)
def parsed(text: str) -> Any:
    """Return the sympy expression of a cleaned text.

    Raises:
        Refused: It cannot be parsed within the caps.
    """
    guard(text)
    latex2sympy, config = _parser()
    latex = _PLAIN_SQRT.sub(r"\\\1 ", text).replace("**", "^").replace("*", "\\cdot ")
    latex = _PLAIN_CALL.sub(r"\\sqrt{\1}", latex)
    try:
        return latex2sympy(latex, normalization_config=None, conversion_config=config)
    except Exception as error:  # the parser raises everything from its own errors to TypeError and RecursionError
        raise Refused(f"not parsed: {type(error).__name__}") from error


@lru_cache(maxsize=1)
def _parser() -> tuple[Any, Any]:
    from latex2sympy2_extended import latex2sympy
    from latex2sympy2_extended.latex2sympy2 import ConversionConfig

    return latex2sympy, ConversionConfig(lowercase_symbols=False)


def _same(left: Any, right: Any) -> bool:
    import sympy

    try:
        if left == right:
            return True
    except RecursionError as error:
        raise Refused("nested too deep to compare") from error
    if isinstance(left, sympy.Eq) and isinstance(right, sympy.Eq):
        return _proportional(left.lhs - left.rhs, right.lhs - right.rhs)
    if isinstance(left, sympy.Expr) and isinstance(right, sympy.Expr):
        return _same_value(left, right)
    if isinstance(left, sympy.core.relational.Relational) and isinstance(right, sympy.core.relational.Relational):
        return bool(left.canonical == right.canonical)
    return False


def _unbounded(expression: Any) -> bool:
    import sympy

    return bool(expression.has(sympy.Integral, sympy.Sum, sympy.Product, sympy.Limit, sympy.Derivative))


def _same_value(left: Any, right: Any) -> bool:
    if left.free_symbols != right.free_symbols or _unbounded(left) or _unbounded(right):
        return False
    return all(_close(a, b) for a, b in zip(_values(left), _values(right), strict=True))


def _proportional(left: Any, right: Any) -> bool:
    if left.free_symbols != right.free_symbols or _unbounded(left) or _unbounded(right):
        return False
    ratios = [a / b for a, b in zip(_values(left), _values(right), strict=True) if abs(b) > 1e-20]
    return len(ratios) == len(_POINTS) and all(_close(ratio, ratios[0]) for ratio in ratios)


def _values(expression: Any) -> list[complex]:
    """Return the value of an expression at each point; its symbols take the coordinates in alphabetical order."""
    names = sorted(expression.free_symbols, key=str)
    values = []
    for point in _POINTS:
        chosen = {symbol: point[i % len(point)] + 0.37 * (i // len(point)) for i, symbol in enumerate(names)}
        try:
            values.append(complex(expression.evalf(_DIGITS, subs=chosen, maxn=200)))
        # sympy's own faults on odd but well-formed input come as AttributeError and RecursionError.
        except (TypeError, ValueError, ArithmeticError, AttributeError, RecursionError) as error:
            raise Refused(f"no numeric value: {type(error).__name__}") from error
    return values


def _close(left: complex, right: complex) -> bool:
    return abs(left - right) <= 1e-10 * max(1e-30, abs(left), abs(right))


def numeric_value(text: str) -> complex:
    """Return the value of an expression without symbols.

    Raises:
        Refused: It has symbols, or no value within the caps.
    """
    import sympy

    expression = parsed(text)
    if not isinstance(expression, sympy.Expr) or expression.free_symbols or _unbounded(expression):
        raise Refused("not a number")
    return _values(expression)[0]
