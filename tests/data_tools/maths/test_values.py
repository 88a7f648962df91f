"""Equal expressions agree at all points, others at none that matters."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_tools.answers.verify import verify
from data_tools.maths.budget import renew_budget
from data_tools.maths.functions import TooLarge, Undefined
from data_tools.maths.grammar import parse
from data_tools.maths.values import Evaluation, close, number, points, same_values, symbols


@pytest.fixture(autouse=True)
def _full_budget():
    renew_budget()


def same(left, right):
    renew_budget()
    return same_values(parse(left).node, parse(right).node)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("\\sin 2x", "2\\sin x\\cos x"),
        ("\\frac{x^2-1}{x-1}", "x+1"),
        ("\\ln(x^2)", "2\\ln x"),
        ("(x+1)^{200}-(x+1)^{200}+x^{200}", "x^{200}"),
        ("\\sqrt[3]{2+\\sqrt{5}}+\\sqrt[3]{2-\\sqrt{5}}", "1"),
        ("\\gcd(a,b)", "1"),
        ("\\frac{2006!}{2005!}", "2006"),
        ("0y", "0"),
    ],
)
def test_identities(left, right):
    assert same(left, right)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("\\sqrt{x^2}", "x"),
        ("x", "y"),
        ("x^2", "x"),
        ("\\sin x", "\\cos x"),
        ("10^{15}+1", "10^{15}"),
        ("x+1", "x+1.0001"),
    ],
)
def test_differences(left, right):
    assert not same(left, right)


@settings(max_examples=60)
@given(st.lists(st.integers(-9, 9), min_size=1, max_size=5), st.lists(st.integers(-9, 9), min_size=1, max_size=5))
def test_polynomials_are_the_same_exactly_when_their_coefficients_are(first, second):
    def text(coefficients):
        return "+".join(f"({c})x^{{{power}}}" for power, c in enumerate(coefficients))

    def trimmed(coefficients):
        return coefficients if any(coefficients[-1:]) or not coefficients else trimmed(coefficients[:-1])

    assert same(text(first), text(second)) == (trimmed(first) == trimmed(second))


def test_one_side_beyond_the_guard_is_different_and_two_are_undecided():
    assert not same("9^{9^{9}}", "2")
    with pytest.raises(TooLarge):
        same("9^{9^{9}}", "8^{9^{9}}")


def test_work_is_bounded():
    with pytest.raises(TooLarge, match="steps"):
        number(parse("\\sum_{i=1}^{2000} \\sum_{j=1}^{2000} 1").node)


def test_no_value_is_said():
    for text in ("\\frac{1}{0}", "\\text{word}", "x", "(1,2)"):
        with pytest.raises(Undefined):
            number(parse(text).node)


def test_points_are_the_same_every_time_and_of_both_signs():
    assert points({"x", "y"}) == points({"y", "x"})
    assert any(not isinstance(point["x"], complex) and point["x"] < 0 for point in points({"x"}))
    assert symbols(parse("e^x+\\pi y").node) == {"x", "y"}
    assert close(1 + 1e-12j, 1)
    assert not close(10**20, 10**20 + 1)
    assert Evaluation({"x": 2}).value(parse("x^3").node) == 8


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("\\frac{\\sqrt{7}}{3^{1999}}", "\\frac{\\sqrt{5}}{3^{1999}}"),
        ("\\pi\\cdot10^{-40}", "2\\pi\\cdot10^{-40}"),
        ("1-\\cos\\frac{\\pi}{2^{98}}", "2-2\\cos\\frac{\\pi}{2^{98}}"),
        ("\\sqrt3-\\sqrt2", "\\sqrt3-\\sqrt3"),
        ("\\lfloor\\sqrt{n-1}\\rfloor", "\\lfloor\\sqrt{n-2}\\rfloor"),
    ],
)
def test_values_lost_to_rounding_or_underflow_are_never_equal(left, right):
    assert not verify(left, right).correct
    assert verify(left, left).correct


def test_rounding_noise_is_zero():
    assert verify("\\sqrt6-\\sqrt2\\sqrt3", "0").correct
    assert verify("\\sin\\pi", "0").correct
    assert not verify("10^{-20}\\pi", "0").correct
