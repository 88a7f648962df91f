"""The functions that answers use, on exact and complex values, each with a guard on the size of its result."""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable
from fractions import Fraction

from data_tools.maths.budget import TooLarge, spend_bits

Value = int | Fraction | complex
MAX_BITS = 100_000
MAX_FACTORIAL = 3_000


class Undefined(ArithmeticError):
    """There is no value: a pole, a word, a function that is not known."""


def float_of(value: Value | float) -> complex:
    """Return a value in double precision.

    Raises:
        TooLarge: It is beyond a double, or so small that a double is zero.
    """
    try:
        number = complex(value)
    except OverflowError as error:
        raise TooLarge("beyond double precision") from error
    if value and not number:
        raise TooLarge("below double precision")
    return number


def guarded(value: Value) -> Value:
    """Return a value in lowest form.

    Raises:
        TooLarge: It has too many digits or is no finite number.
    """
    if isinstance(value, complex):
        if not cmath.isfinite(value):
            raise TooLarge("a value beyond double precision")
    elif isinstance(value, Fraction):
        if value.denominator == 1:
            value = value.numerator
        bits = value.numerator.bit_length() + value.denominator.bit_length()
        if bits > MAX_BITS:
            raise TooLarge("a number of too many digits")
        spend_bits(bits, fraction=isinstance(value, Fraction))
    else:
        bits = value.bit_length()
        if bits > MAX_BITS:
            raise TooLarge("a number of too many digits")
        spend_bits(bits, fraction=False)
    return value


def exact_power(base: Value, exponent: Value) -> Value:
    """Return a power: exact where it is rational and of bounded size, else complex.

    An odd root of a negative real is the real one, as school mathematics has it.

    Raises:
        Undefined: 0 to a negative power.
        TooLarge: The result has too many digits or is beyond double precision.
    """
    if base == 0:
        if isinstance(exponent, complex) or exponent < 0:
            raise Undefined("division by zero")
        return 1 if exponent == 0 else 0
    if isinstance(exponent, int) and not isinstance(base, complex):
        bits = max(base.numerator.bit_length(), base.denominator.bit_length())
        if abs(base) == 1:
            return base if exponent % 2 else 1
        if bits * abs(exponent) > MAX_BITS:
            raise TooLarge("a power of too many digits")
        return Fraction(base) ** exponent if exponent < 0 else base**exponent
    if isinstance(exponent, Fraction) and not isinstance(base, complex):
        root = _rational_root(base, exponent.denominator)
        if root is not None:
            return exact_power(root, exponent.numerator)
    if isinstance(exponent, Fraction) and exponent.denominator % 2 and _is_negative(base):
        sign = -1 if exponent.numerator % 2 else 1
        return sign * _float_power(float_of(-base), float_of(exponent))
    return _float_power(float_of(base), float_of(exponent))


def _is_negative(value: Value) -> bool:
    if isinstance(value, complex):
        return value.real < 0 and abs(value.imag) <= 1e-15 * abs(value)
    return value < 0


def _float_power(base: complex, exponent: complex) -> complex:
    try:
        size = exponent * cmath.log(base)
    except ValueError as error:
        raise Undefined("a power of zero") from error
    if size.real > 700:
        raise TooLarge("beyond double precision")
    if exponent.imag == 0 and exponent.real == int(exponent.real) and abs(exponent.real) <= 200:
        return base ** int(exponent.real)
    if size.real < -700:
        raise TooLarge("below double precision")
    return cmath.exp(size)


def _rational_root(base: int | Fraction, degree: int) -> int | Fraction | None:
    """Return the exact real root where it is rational."""
    if degree > 64 or max(base.numerator.bit_length(), base.denominator.bit_length()) > 4_000:
        return None
    if base < 0:
        root = _rational_root(-base, degree) if degree % 2 else None
        return None if root is None else -root
    parts = [_integer_root(part, degree) for part in (base.numerator, base.denominator)]
    if parts[0] is None or parts[1] is None:
        return None
    return parts[0] if parts[1] == 1 else Fraction(parts[0], parts[1])


def _integer_root(value: int, degree: int) -> int | None:
    if degree == 2:
        root = math.isqrt(value)
        return root if root * root == value else None
    if value.bit_length() > 1_000:
        return None
    guess = round(value ** (1 / degree))
    return next((root for root in (guess - 1, guess, guess + 1) if root**degree == value), None)


def real_root(radicand: Value, degree: Value) -> Value:
    r"""Return `\\sqrt[degree]{radicand}`, real where there is a real one."""
    if not isinstance(degree, int) or not 1 <= degree <= 10_000:
        return exact_power(radicand, exact_power(degree, -1))
    return exact_power(radicand, Fraction(1, degree))


def binomial(top: Value, bottom: Value) -> Value:
    """Return the binomial coefficient of integers, or of any top over a small integer.

    Raises:
        Undefined: The lower number is no integer.
        TooLarge: The result has too many digits.
    """
    if isinstance(top, int) and isinstance(bottom, int) and top >= 0:
        if bottom < 0 or bottom > top:
            return 0
        if min(bottom, top - bottom) * max(1, top.bit_length()) > 50_000:
            raise TooLarge("a binomial coefficient of too many digits")
        return math.comb(top, bottom)
    if isinstance(bottom, int) and 0 <= bottom <= 200:
        total: Value = 1
        for k in range(bottom):
            total = total * (top - k) * Fraction(1, k + 1)
        return total
    a, b = float_of(top), float_of(bottom)
    if a.imag or b.imag or a.real < 0 or b.real < 0 or b.real > a.real:
        raise Undefined("a binomial coefficient of no integers")
    return complex(math.exp(math.lgamma(a.real + 1) - math.lgamma(b.real + 1) - math.lgamma(a.real - b.real + 1)))


def _factorial(value: Value) -> Value:
    if isinstance(value, int) and value >= 0:
        if value > MAX_FACTORIAL:
            raise TooLarge("a factorial of too many digits")
        return math.factorial(value)
    real = float_of(value)
    if real.imag or real.real < -0.5 or real.real > 150:
        raise Undefined("a factorial of no natural number")
    return complex(math.gamma(real.real + 1))


def _double_factorial(value: Value) -> Value:
    if not isinstance(value, int) or not 0 <= value <= MAX_FACTORIAL:
        raise Undefined("a double factorial of no natural number")
    return math.prod(range(value, 0, -2))


def _rationals(values: tuple[Value, ...]) -> list[Fraction]:
    if any(isinstance(value, complex) for value in values):
        raise Undefined("a divisor of no rational number")
    return [Fraction(value) for value in values]  # type: ignore[arg-type]


def _gcd(*values: Value) -> Value:
    parts = _rationals(values)
    return _plain(Fraction(math.gcd(*(p.numerator for p in parts)), math.lcm(*(p.denominator for p in parts))))


def _lcm(*values: Value) -> Value:
    parts = _rationals(values)
    return _plain(Fraction(math.lcm(*(p.numerator for p in parts)), math.gcd(*(p.denominator for p in parts))))


def _plain(value: Fraction) -> int | Fraction:
    return value.numerator if value.denominator == 1 else value


def _real(value: Value) -> int | Fraction | float:
    if not isinstance(value, complex):
        return value
    if abs(value.imag) > 1e-12 * max(1.0, abs(value)):
        raise Undefined("an order of complex numbers")
    return value.real


def _sign(value: Value) -> Value:
    return 0 if value == 0 else 1 if _real(value) > 0 else -1


def _smallest(*values: Value) -> Value:
    return min(values, key=_real)


def _largest(*values: Value) -> Value:
    return max(values, key=_real)


def _round(function: Callable[[float], int]) -> Callable[[Value], Value]:
    def rounded(value: Value) -> Value:
        real = _real(value)
        if isinstance(real, float) and abs(real) > 1e15:
            raise Undefined("beyond double precision")
        nearest = round(real)
        if isinstance(real, float) and abs(real - nearest) < 1e-11:
            return nearest
        return function(real)  # type: ignore[arg-type]

    return rounded


def _absolute(value: Value) -> Value:
    if isinstance(value, complex):
        return complex(abs(value))
    return -value if value < 0 else value


def _log(value: Value, base: Value = complex(math.e)) -> Value:
    if not isinstance(value, complex) and not isinstance(base, complex) and value > 0 and base > 1:
        exact = _exact_log(value, base)
        if exact is not None:
            return exact
    top = _natural(value)
    return top if base == complex(math.e) else top / _natural(base)


def _exact_log(value: int | Fraction, base: int | Fraction) -> int | None:
    size = _natural(base).real
    guess = round(_natural(value).real / size)
    return guess if abs(guess) < 2_000 and Fraction(base) ** guess == value else None


def _natural(value: Value) -> complex:
    if value == 0:
        raise Undefined("the logarithm of zero")
    if isinstance(value, int) and value > 0:
        return complex(math.log(value))
    if isinstance(value, Fraction) and value > 0:
        return complex(math.log(value.numerator) - math.log(value.denominator))
    return cmath.log(float_of(value))


def _checked(function: Callable[[complex], complex]) -> Callable[[Value], Value]:
    def apply(value: Value) -> Value:
        try:
            return function(float_of(value))
        except (ValueError, ZeroDivisionError) as error:
            raise Undefined("a pole") from error
        except OverflowError as error:
            raise TooLarge("beyond double precision") from error

    return apply


def _tan(z: complex) -> complex:
    if abs(cmath.cos(z)) < 1e-13:
        raise ZeroDivisionError
    return cmath.tan(z)


def _cot(z: complex) -> complex:
    if abs(cmath.sin(z)) < 1e-13:
        raise ZeroDivisionError
    return cmath.cos(z) / cmath.sin(z)


_FORWARD: dict[str, Callable[[complex], complex]] = {
    "sin": cmath.sin,
    "cos": cmath.cos,
    "tan": _tan,
    "cot": _cot,
    "sec": lambda z: 1 / cmath.cos(z),
    "csc": lambda z: 1 / cmath.sin(z),
    "sinh": cmath.sinh,
    "cosh": cmath.cosh,
    "tanh": cmath.tanh,
    "coth": lambda z: 1 / cmath.tanh(z),
    "sech": lambda z: 1 / cmath.cosh(z),
    "csch": lambda z: 1 / cmath.sinh(z),
}
_INVERSE: dict[str, Callable[[complex], complex]] = {
    "asin": cmath.asin,
    "acos": cmath.acos,
    "atan": cmath.atan,
    "asinh": cmath.asinh,
    "acosh": cmath.acosh,
    "atanh": cmath.atanh,
    "acot": lambda z: cmath.pi / 2 - cmath.atan(z),
    "asec": lambda z: cmath.acos(1 / z),
    "acsc": lambda z: cmath.asin(1 / z),
    "acoth": lambda z: cmath.atanh(1 / z),
    "asech": lambda z: cmath.acosh(1 / z),
    "acsch": lambda z: cmath.asinh(1 / z),
}

FUNCTIONS: dict[str, Callable[..., Value]] = {
    **{name: _checked(function) for name, function in (_FORWARD | _INVERSE).items()},
    "exp": lambda value: exact_power(complex(math.e), value),
    "ln": _log,
    "log": _log,
    "lg": lambda value: _log(value, 10),
    "gcd": _gcd,
    "lcm": _lcm,
    "min": _smallest,
    "max": _largest,
    "floor": _round(math.floor),
    "ceil": _round(math.ceil),
    "abs": _absolute,
    "sgn": _sign,
    "Re": lambda value: complex(float_of(value).real),
    "Im": lambda value: complex(float_of(value).imag),
    "arg": lambda value: complex(cmath.phase(float_of(value))),
    "fact": _factorial,
    "fact2": _double_factorial,
}
"""Name -> function of values. They raise `Undefined`, or `TooLarge` over a guard."""
