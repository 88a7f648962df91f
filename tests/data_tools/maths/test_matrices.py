"""Matrix arithmetic against numpy, on numbers."""

from __future__ import annotations

import numpy as np
import pytest

from data_tools.answers.verify import verify
from data_tools.maths.grammar import parse
from data_tools.maths.matrices import combined, determinant, rows_of
from data_tools.maths.nodes import Node
from data_tools.maths.values import number

RNG = np.random.default_rng(3)


def as_node(array):
    return Node("matrix", tuple(Node("row", tuple(Node("num", (int(cell),)) for cell in row)) for row in array))


def values(node):
    return np.array([[number(cell) for cell in row] for row in rows_of(node)])


@pytest.mark.parametrize(("left", "right"), [((2, 2), (2, 2)), ((2, 3), (3, 4)), ((1, 3), (3, 1))])
def test_products_and_sums_are_those_of_numpy(left, right):
    a, b = RNG.integers(-9, 9, left), RNG.integers(-9, 9, right)
    assert (values(combined("mul", [as_node(a), as_node(b)])) == a @ b).all()
    assert (values(combined("mul", [Node("num", (3,)), as_node(a)])) == 3 * a).all()
    assert (values(combined("add", [as_node(a), as_node(a), as_node(a)])) == 3 * a).all()


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_determinants_are_those_of_numpy(size):
    array = RNG.integers(-5, 5, (size, size))
    assert number(determinant(as_node(array))) == round(np.linalg.det(array))


def test_sizes_that_do_not_fit_are_left_alone():
    a, b = as_node(np.ones((2, 3))), as_node(np.ones((2, 2)))
    assert combined("mul", [a, b]) == Node("mul", (a, b))
    assert combined("add", [a, b]) == Node("add", (a, b))
    assert combined("add", [a, Node("num", (1,))]).op == "add"
    assert determinant(a) is None
    assert determinant(as_node(np.ones((5, 5)))) is None


def test_rows_of_a_tuple_are_a_column():
    assert [len(row) for row in rows_of(parse("(1,2,3)").node)] == [1, 1, 1]
    assert [len(row) for row in rows_of(parse("((1,2),(3,4))").node)] == [2, 2]
    assert rows_of(parse("5").node) is None


def test_answers_with_matrix_arithmetic_are_read():
    matrix = r"\begin{pmatrix}1&2\\3&4\end{pmatrix}"
    assert verify(matrix + r"\begin{pmatrix}1\\1\end{pmatrix}", r"\begin{pmatrix}3\\7\end{pmatrix}").correct
    assert not verify(matrix + r"\begin{pmatrix}1\\1\end{pmatrix}", r"\begin{pmatrix}3\\8\end{pmatrix}").correct
    assert verify(r"\begin{vmatrix}1&2\\3&4\end{vmatrix}", "-2").correct
    assert not verify(r"\begin{vmatrix}1&2\\3&4\end{vmatrix}", "2").correct
