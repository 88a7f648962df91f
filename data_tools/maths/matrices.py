"""Matrix arithmetic on parsed answers: sums, multiples, products, determinants, cell by cell.

Cells stay trees, which the caller compares. Sizes that do not fit leave the tree as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

from data_tools.maths.nodes import MINUS_ONE, Node

MAX_DETERMINANT = 4
"""Rows up to which a determinant is expanded."""

Rows = Sequence[tuple[Node, ...]]


def rows_of(node: Node) -> list[tuple[Node, ...]] | None:
    """Return the rows of a matrix, or of a tuple, which is a column vector; None for anything else."""
    if node.op == "matrix":
        return [row.args for row in node.args]
    if node.op != "tuple":
        return None
    items = node.args[2:]
    if any(item.op == "tuple" for item in items):
        return [item.args[2:] if item.op == "tuple" else item.args for item in items]
    return [(item,) for item in items]


def combined(operation: str, parts: Sequence[Node]) -> Node:
    """Return a sum or product of which at least one part is a matrix, as one matrix where the sizes allow it.

    Args:
        operation: `add` or `mul`.
        parts: The terms or factors.
    """
    matrices = [[row.args for row in part.args] for part in parts if part.op == "matrix"]
    result: Rows | None = matrices[0] if matrices else None
    if operation == "add" and len(matrices) < len(parts):
        result = None
    for other in matrices[1:]:
        if result is not None:
            result = _sum(result, other) if operation == "add" else _product(result, other)
    if result is None:
        return Node(operation, tuple(parts))
    scalars = tuple(part for part in parts if part.op != "matrix")
    if scalars:
        result = [tuple(Node("mul", (*scalars, cell)) for cell in row) for row in result]
    return Node("matrix", tuple(Node("row", tuple(row)) for row in result))


def _sum(left: Rows, right: Rows) -> Rows | None:
    if [len(row) for row in left] != [len(row) for row in right]:
        return None
    return [tuple(Node("add", pair) for pair in zip(a, b, strict=True)) for a, b in zip(left, right, strict=True)]


def _product(left: Rows, right: Rows) -> Rows | None:
    if {len(row) for row in left} != {len(right)} or len({len(row) for row in right}) != 1:
        return None
    columns = list(zip(*right, strict=True))
    return [
        tuple(Node("add", tuple(Node("mul", pair) for pair in zip(row, column, strict=True))) for column in columns)
        for row in left
    ]


def determinant(matrix: Node) -> Node | None:
    """Return the determinant of a square matrix of up to `MAX_DETERMINANT` rows, else None."""
    rows = [row.args for row in matrix.args]
    if len(rows) > MAX_DETERMINANT or {len(row) for row in rows} != {len(rows)}:
        return None
    return _expanded(rows)


def _expanded(rows: Rows) -> Node:
    if len(rows) == 1:
        return rows[0][0]
    terms = []
    for at, cell in enumerate(rows[0]):
        minor = _expanded([row[:at] + row[at + 1 :] for row in rows[1:]])
        terms.append(Node("mul", (cell, minor) if at % 2 == 0 else (MINUS_ONE, cell, minor)))
    return Node("add", tuple(terms))
