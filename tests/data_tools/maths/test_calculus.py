"""Numeric calculus against what is known in closed form."""

from __future__ import annotations

import math

import pytest

from data_tools.maths.budget import renew_budget
from data_tools.maths.calculus import MAX_TERMS
from data_tools.maths.functions import TooLarge, Undefined
from data_tools.maths.grammar import parse
from data_tools.maths.values import Evaluation, same_values


@pytest.fixture(autouse=True)
def _full_budget():
    renew_budget()


def value(text, **point):
    return complex(Evaluation(point).value(parse(text).node))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\\int_0^\\pi \\sin x dx", 2),
        ("\\int_1^2 \\frac{dx}{x}", math.log(2)),
        ("\\lim_{x \\to 0} \\frac{\\sin x}{x}", 1),
        ("\\lim_{n \\to \\infty} \\frac{2n+1}{n}", 2),
        ("\\lim_{x \\to \\infty} \\frac{1}{x}", 0),
        ("\\sum_{k=1}^{10} k", 55),
        ("\\prod_{k=1}^{5} k", 120),
    ],
)
def test_values(text, expected):
    assert value(text) == pytest.approx(expected, abs=1e-9)


def test_a_derivative_is_taken_at_the_point():
    assert value("\\frac{d}{dx} x^3", x=2) == pytest.approx(12)


def test_two_ways_to_write_an_integral_agree_and_two_integrals_do_not():
    left, right = parse("\\int \\frac{3 dz}{z}").node, parse("\\int \\frac{3}{z}  dz").node
    assert same_values(left, right)
    assert not same_values(left, parse("\\int \\frac{2 dz}{z}").node)


def test_long_sums_are_refused():
    with pytest.raises(TooLarge):
        value(f"\\sum_{{k=1}}^{{{MAX_TERMS + 5}}} k")
    with pytest.raises(Undefined):
        value("\\sum_{k=1}^{1.5} k")
