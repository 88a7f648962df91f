"""The lower half of the grammar: what functions, roots, subscripts, sums and integrals take."""

from __future__ import annotations

import math

import pytest

from data_tools.maths.budget import renew_budget
from data_tools.maths.grammar import parse
from data_tools.maths.nodes import Node
from data_tools.maths.values import Evaluation, number


@pytest.fixture(autouse=True)
def _full_budget():
    renew_budget()


def value(text, **point):
    return complex(Evaluation({name: complex(v) for name, v in point.items()}).value(parse(text).node))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\\sin^2 x", math.sin(0.7) ** 2),
        ("\\sin 2x", math.sin(1.4)),
        ("\\sin x \\cos x", math.sin(0.7) * math.cos(0.7)),
        ("\\sin(x)/2", math.sin(0.7) / 2),
        ("\\sin^{-1} x", math.asin(0.7)),
        ("\\log_2 8x", math.log2(5.6)),
        ("\\sqrt[3]{x}", 0.7 ** (1 / 3)),
        ("\\sqrt4x", 1.4),
        ("\\exp3", math.exp(3)),
        ("e^{-x}", math.exp(-0.7)),
        ("x^12", 0.7**12),
        ("\\frac12x", 0.35),
        ("\\int_0^1 t^2 dt", 1 / 3),
        ("\\int_0^1 \\frac{x dt}{1+t}", 0.7 * math.log(2)),
        ("\\sum_{k=1}^{4} k^2 + 1", 31),
        ("\\prod_{k=1}^4 k", 24),
        ("\\sin 30\\degree", 0.5),
    ],
)
def test_values(text, expected):
    assert value(text, x=0.7) == pytest.approx(expected)


def test_a_subscript_belongs_to_the_name():
    assert parse("x_{10}").node == parse("x_10").node == Node("sym", ("x_10",))
    assert parse("x_1").node != parse("x_2").node


def test_a_called_function_is_not_a_product():
    assert parse("f(2)").node.op == "apply"
    assert parse("x(2)").node.op == "mul"


def test_set_builders_are_their_condition():
    assert parse("\\{x | x>3\\}").node == parse("x>3").node


def test_a_base_is_kept():
    assert number(parse("1011_2").node) == 11
