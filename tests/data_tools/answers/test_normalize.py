"""Cleaning changes no value, numbers are read exactly, and rounding follows the convention."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_tools.answers.normalize import clean, numbers_agree, read_number, rounds_to, squashed


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("$\\left(1,\\, 2\\right)$", "(1,2)"),
        ("\\dfrac12", "\\frac12"),
        ("\\mathrm{cm}", "cm"),
        ("90^\\circ", "90\\degree"),
        ("5\\%", "5%"),
        ("−5", "-5"),
        ("1{,}000", "1000"),
        ("1\\,000\\,000", "1000000"),
        ("x²", "x^{2}"),
        ("\frac12", "\\frac12"),  # a form feed: JSON lost the backslash
        ("\\quadx", "x"),
        ("42.", "42"),
    ],
)
def test_clean(text, cleaned):
    assert squashed(clean(text)) == cleaned


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-12", -12),
        ("1,234.50", Fraction(2469, 2)),
        (".5", Fraction(1, 2)),
        ("3/4", Fraction(3, 4)),
        ("1\\frac12", Fraction(3, 2)),
        ("1 1/2", Fraction(3, 2)),
        ("2.5\\times 10^{3}", 2500),
        ("1e3", 1000),
        ("-\\frac{1}{2}", Fraction(-1, 2)),
    ],
)
def test_numbers_are_read_exactly(text, value):
    number = read_number(text)
    assert number is not None
    assert number.value == value


@pytest.mark.parametrize("text", ["", "x", "1/0", "1,23", "--1", "1 2", "\\frac{1}{x}", "9" * 5000 + ".1"])
def test_what_is_no_number_is_not_read(text):
    assert read_number(text) is None


@given(st.integers(-(10**30), 10**30))
def test_grouping_does_not_change_an_integer(value):
    number = read_number(f"{value:,}")
    assert number is not None
    assert number.value == value


def agree(prediction, gold):
    numbers = read_number(prediction), read_number(gold)
    assert numbers[0] and numbers[1]
    return numbers_agree(*numbers)


def test_the_rounding_convention():
    assert agree("0.5", "1/2")
    assert not agree("0.67", "2/3")
    assert not agree("0.66667", "2/3")
    assert agree("0.6666666667", "2/3")
    assert agree("2/3", "0.6667")
    assert agree("2/3", "0.6666")  # cut rather than rounded
    assert not agree("2/3", "0.667")
    assert agree("3.14159265", "3.1416")
    assert not agree("3.1", "3.1416")


def test_rounds_to_looks_at_the_last_digit():
    number = read_number("3.1416")
    assert number is not None
    assert rounds_to(3.14159265, number)
    assert not rounds_to(3.1418, number)
