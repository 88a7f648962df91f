"""Structures: where order counts, what an assignment is, when relations are the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_tools.maths.agreement import agree, agree_somehow, settled
from data_tools.maths.budget import renew_budget
from data_tools.maths.functions import TooLarge, Undefined
from data_tools.maths.grammar import parse


@pytest.fixture(autouse=True)
def _full_budget():
    renew_budget()


def same(left, right):
    return agree(parse(left).node, parse(right).node)


@given(st.lists(st.integers(0, 99), min_size=2, max_size=8, unique=True), st.randoms())
def test_order_counts_in_tuples_only(values, random):
    shuffled = list(values)
    random.shuffle(shuffled)
    ordered, mixed = ",".join(map(str, values)), ",".join(map(str, shuffled))
    assert same(ordered, mixed)
    assert same(f"\\{{{ordered}\\}}", mixed)
    assert same(f"({ordered})", f"({mixed})") == (values == shuffled)


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("1,1,2", "1,2", False),
        ("(1,2),(1,2)", "(1,2)", False),
        ("(1,2),(1,2),(3,4)", "(3,4),(1,2)", True),
        ("x=\\pm 3", "3,-3", True),
        ("x=1,y=2", "y=2,x=1", True),
        ("x=1,y=2", "x=2,y=1", False),
        ("x=1,y=2", "(1,2)", True),
        ("]0,1[", "(0,1)", True),
        ("y=2x+3", "f(x)=2x+3", True),
        ("y=2x+3", "x=2y+3", False),
        ("x^2+y^2=4", "4=x^2+y^2", True),
        ("x^2+y^2=4", "x^2+y^2=5", False),
        ("x+y<1", "1>y+x", True),
        ("x+y<1", "x+y\\le 1", False),
        ("-x-y>-1", "x+y<1", True),
        ("1:2:3", "2:4:6", True),
        ("1:2:3", "2:4:7", False),
        ("\\infty", "+\\infty", True),
        ("\\infty", "-\\infty", False),
        ("3\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{pmatrix}3\\\\6\\end{pmatrix}", True),
        ("\\begin{pmatrix}1&2\\end{pmatrix}", "\\begin{pmatrix}1\\\\2\\end{pmatrix}", False),
        ("\\text{an even function}", "\\text{even function}", True),
        ("\\text{even}", "\\text{odd}", False),
    ],
)
def test_agreement(left, right, expected):
    assert same(left, right) is expected
    assert same(right, left) is expected


def test_what_only_explains_is_left_out():
    assert settled(parse("x=1+1=2").node) == settled(parse("x=2").node)
    assert settled(parse("\\frac13 \\approx 0.33").node) == parse("\\frac13").node
    assert settled(parse("45\\degree").node) == parse("45").node


def test_what_cannot_be_compared_is_no_disagreement():
    with pytest.raises(Undefined):
        same("\\frac{1}{0}", "\\frac{2}{0}")
    with pytest.raises(TooLarge):
        same(",".join(f"x+{n}" for n in range(60)), ",".join(f"{n}+x" for n in range(60)))
    assert not agree_somehow(parse("\\frac{1}{0}").node, parse("2").node)
