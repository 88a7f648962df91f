"""Sets of reals against a naive membership test."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_tools.maths.grammar import parse
from data_tools.maths.real_sets import Piece, region_of, same_region


def region(text):
    return region_of(parse(text).node)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("x>5", "(5,\\infty)"),
        ("5<x", "x>5"),
        ("0<x\\le 1", "(0,1]"),
        ("(5,7)\\cup[7,9)", "(5,9)"),
        ("x \\neq 1", "(-\\infty,1)\\cup(1,\\infty)"),
        ("\\mathbb{R}\\setminus\\{0\\}", "x \\ne 0"),
        ("{1,2} \\cup {2,3}", "\\{1,2,3\\}"),
        ("({1,2} \\cup {3,4}) \\setminus {2,3}", "\\{1,4\\}"),
        ("x<1 \\text{ or } x>2", "(-\\infty,1)\\cup(2,\\infty)"),
        ("x \\in [0,1]", "[0,1]"),
    ],
)
def test_same_sets(left, right):
    first, second = region(left), region(right)
    assert first is not None
    assert second is not None
    assert same_region(first, second)


@pytest.mark.parametrize(
    ("left", "right"), [("x>5", "x\\ge 5"), ("x>5", "x<5"), ("(0,1)", "[0,1)"), ("(0,1)", "(0,2)")]
)
def test_other_sets(left, right):
    assert not same_region(region(left), region(right))


@pytest.mark.parametrize("text", ["x+1", "(2,1)", "(a,b)", "x>y", "(1,2,3)"])
def test_what_is_no_set_of_reals(text):
    assert region(text) is None


INTERVALS = st.tuples(st.sampled_from("(["), st.integers(-4, 4), st.integers(-4, 4), st.sampled_from(")]"))


def contains(interval, x):
    opening, low, high, closing = interval
    return (low < x or (opening == "[" and low == x)) and (x < high or (closing == "]" and high == x))


def member(pieces: tuple[Piece, ...], x):
    return any(
        (p.low < x or (p.low == x and not p.low_open)) and (x < p.high or (x == p.high and p.high_closed))
        for p in pieces
    )


@given(INTERVALS, INTERVALS, st.sampled_from(["cup", "cap", "setminus"]))
def test_set_operations_equal_pointwise_logic(first, second, operation):
    if first[1] >= first[2] or second[1] >= second[2]:
        return
    texts = [f"{o}{low},{high}{c}" for o, low, high, c in (first, second)]
    found = region(f"{texts[0]} \\{operation} {texts[1]}")
    assert found is not None
    for x in (n / 2 for n in range(-10, 11)):
        a, b = contains(first, x), contains(second, x)
        assert member(found, x) == {"cup": a or b, "cap": a and b, "setminus": a and not b}[operation], x
    assert all(math.isfinite(piece.low) for piece in found)
