"""Trees of answers: precedence, lists, relations, units, and caps that hold."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_tools.maths.budget import renew_budget
from data_tools.maths.grammar import MAX_CHARS, parse
from data_tools.maths.nodes import Node
from data_tools.maths.tokens import LatexError
from data_tools.maths.values import number


@pytest.fixture(autouse=True)
def _full_budget():
    renew_budget()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1+2*3", 7),
        ("2^3^2", 64),
        ("-2^2", -4),
        ("6/2/3", 1),
        ("2--3", 5),
        ("\\frac12+\\frac{3}{4}", Fraction(5, 4)),
        ("1\\frac12", Fraction(3, 2)),
        ("(1+2)(3+4)", 21),
        ("5!", 120),
        ("{16 \\choose 2}", 120),
        ("||-3|-5|", 2),
        ("\\lfloor -1.5\\rfloor", -2),
        ("2 \\times 10^3", 2000),
        ("17 \\bmod 5", 2),
        ("1.5 \\text{ million}", 1_500_000),
    ],
)
def test_arithmetic(text, value):
    assert number(parse(text).node) == value


@settings(max_examples=200)
@given(st.recursive(st.integers(0, 9).map(str), lambda inner: st.tuples(inner, st.sampled_from("+-*"), inner).map(
    lambda parts: f"({parts[0]}{parts[1]}{parts[2]})"), max_leaves=12))  # fmt: skip
def test_plain_arithmetic_equals_pythons(text):
    assert number(parse(text).node) == eval(text)


@pytest.mark.parametrize(
    ("text", "op", "items"),
    [
        ("1,2", "list", 2),
        ("1 \\text{ and } 2", "list", 2),
        ("\\{1,2,3\\}", "set", 3),
        ("{1,2}", "set", 2),
        ("(1,2)", "tuple", 4),
        ("[0,1)", "tuple", 4),
        ("x<2", "chain", 3),
        ("1:2:3", "ratio", 3),
        ("\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "matrix", 2),
        ("A \\cup B", "cup", 2),
    ],
)
def test_structures(text, op, items):
    node = parse(text).node
    assert (node.op, len(node.args)) == (op, items)


def test_units_stand_aside():
    assert parse("5\\text{ cm}^2") == (Node("num", (5,)), ("cm^2",))
    assert parse("5 m/s").units == ("m", "s")
    assert parse("5m").units == ()


def test_relations_keep_their_order():
    node = parse("0<x\\le 1").node
    assert node.args[0] == ("<", "<=")


@pytest.mark.parametrize(
    "text", ["", "(", "3 5", "\\frac{1}", "1+", "\\nosuchcommand", "x" * (MAX_CHARS + 1), "(" * 500]
)
def test_what_is_no_answer_is_refused(text):
    with pytest.raises(LatexError):
        parse(text)


@given(st.text(alphabet="\\{}()[]|^_!,=<>+-*/&x1 fracsqrtin", max_size=60))
def test_any_text_is_parsed_or_refused(text):
    try:
        node = parse(text).node
    except LatexError:
        return
    assert isinstance(node, Node)
