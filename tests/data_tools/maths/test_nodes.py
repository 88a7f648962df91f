"""Literals are exact and bounded; trees are walked whole."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_tools.maths.nodes import ONE, Node, holds, literal, negate, power, product_of, walk


@pytest.mark.parametrize(
    ("text", "value"), [("12", 12), (".5", Fraction(1, 2)), ("1.", 1), ("1500E-1", 150), ("2e3", 2000)]
)
def test_literals(text, value):
    assert literal(text) == Node("num", (value,))


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=0, max_value=10**9))
def test_decimal_literals_are_exact(value):
    assert literal(format(value, "f")).args[0] == Fraction(value)


@pytest.mark.parametrize("text", ["1e999999999", "1" * 3000])
def test_large_literals_are_refused(text):
    with pytest.raises(ValueError, match="too many digits"):
        literal(text)


def test_builders_and_walk():
    two = Node("num", (2,))
    assert negate(two) == Node("num", (-2,))
    assert product_of([two]) == two
    tree = power(product_of([two, Node("sym", ("x",))]), ONE)
    assert [node.op for node in walk(tree)] == ["pow", "mul", "num", "num", "sym"]
    assert holds(tree, "sym")
    assert not holds(tree, "matrix")
