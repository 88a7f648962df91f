"""A maths span is cut into chains of relations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_tools.solutions.equations import equations


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a=b+c=12", [("a", "=", "12")]),
        (r"x \leqslant 5", [("x", "<=", "5")]),
        (r"\frac{a=1}{2}", [("", "", r"\frac{a=1}{2}")]),
        ("x=1, y=2", [("x", "=", "1"), ("y", "=", "2")]),
        ("(1,2),(3,4)", [("", "", "(1,2), (3,4)")]),
        (r"\begin{aligned} x &= 1+1 \\ &= 2 \end{aligned}", [("x", "=", "2")]),
        (r"x=1 \Rightarrow y=2", [("x", "=", "1"), ("y", "=", "2")]),
        (r"x = 12 \text{ cm}", [("x", "=", "12")]),
        ("", []),
    ],
)
def test_chains_are_cut(content, expected):
    assert [(e.left, e.relation, e.right) for e in equations(content)] == expected


def test_the_exact_value_before_an_approximation_is_kept():
    (equation,) = equations(r"d=\sqrt{2} \approx 1.41")
    assert (equation.before, equation.relation, equation.right, equation.length) == (r"\sqrt{2}", "~", "1.41", 2)


@given(
    st.lists(st.sampled_from([*r"\{}()[]=<>,;&ab12 ", *["\\\\", "\\left(", "\\text{or}"]]), max_size=40).map("".join)
)
def test_malformed_maths_never_fails(content):
    assert all(equation.right for equation in equations(content))
