"""Functions are exact where they can be, guarded where they must be."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_tools.maths.functions import (
    FUNCTIONS,
    TooLarge,
    Undefined,
    binomial,
    exact_power,
    float_of,
    guarded,
    real_root,
)


@given(st.fractions(min_value=-50, max_value=50, max_denominator=50), st.integers(-9, 9))
def test_rational_powers_are_exact(base, exponent):
    if base == 0 and exponent < 0:
        with pytest.raises(Undefined):
            exact_power(base, exponent)
    else:
        assert exact_power(base, exponent) == base**exponent


def test_roots_are_exact_and_odd_roots_real():
    assert exact_power(Fraction(4, 9), Fraction(1, 2)) == Fraction(2, 3)
    assert real_root(-8, 3) == -2
    assert real_root(complex(-8), 3) == pytest.approx(-2)
    assert exact_power(-4, Fraction(1, 2)) == pytest.approx(2j)
    assert exact_power(10**30, Fraction(1, 2)) == 10**15


@pytest.mark.parametrize(
    "work",
    [
        lambda: exact_power(9, 9**9),
        lambda: exact_power(2.5 + 0j, 10**6),
        lambda: FUNCTIONS["fact"](10_000_000),
        lambda: binomial(10**9, 5 * 10**8),
        lambda: float_of(10**400),
        lambda: guarded(complex(math.inf)),
        lambda: guarded(1 << 200_000),
    ],
)
def test_what_is_too_large_is_said(work):
    with pytest.raises(TooLarge):
        work()


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("gcd", (24, 6128), 8),
        ("lcm", (3, Fraction(1, 2)), 3),
        ("gcd", (21, 0), 21),
        ("log", (8, 2), 3),
        ("lg", (1000,), 3),
        ("floor", (Fraction(-3, 2),), -2),
        ("ceil", (complex(2.0000000000001),), 2),
        ("max", (5, 2, complex(17)), 17),
        ("abs", (-3,), 3),
        ("abs", (3 + 4j,), 5),
        ("fact2", (7,), 105),
        ("sgn", (Fraction(-1, 3),), -1),
        ("cot", (complex(math.pi / 4),), 1),
        ("asec", (2,), math.pi / 3),
    ],
)
def test_values(name, arguments, expected):
    assert complex(FUNCTIONS[name](*arguments)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "argument"),
    [("ln", 0), ("tan", complex(math.pi / 2)), ("fact", -1), ("gcd", 1j), ("atanh", 1)],
)
def test_what_has_no_value_is_said(name, argument):
    with pytest.raises(Undefined):
        FUNCTIONS[name](argument)


@given(st.integers(0, 60), st.integers(0, 60))
def test_binomials_equal_pascals(n, k):
    assert binomial(n, k) == math.comb(n, k)
