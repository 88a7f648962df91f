r"""Equality of two parsed answers: lists, tuples, sets, intervals, matrices, relations, values.

Order counts in tuples and matrices and not in lists and sets. `x=5` is `5`, and `1 \\pm a` is two values. Sets of
reals are compared as sets; everything else ends at values, which `values.py` compares.
"""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

from data_tools.maths.budget import Exhausted, TooLarge
from data_tools.maths.functions import Undefined
from data_tools.maths.matrices import combined, determinant, rows_of
from data_tools.maths.nodes import EMPTY, MINUS_ONE, REALS, Node, holds
from data_tools.maths.real_sets import region_of, same_region
from data_tools.maths.values import Evaluation, Value, close, float_of, number, points, same_values, symbols

MAX_UNORDERED = 40
"""Items of a list that are not literally in the other one, up to which all pairs are tried."""
_MANY = frozenset(("list", "set", "tuple", "row"))
_SETS = frozenset(("cup", "cap", "setminus"))


def agree(left: Node, right: Node) -> bool:
    """Say whether two trees are the same answer.

    Raises:
        Undefined: A part has no value, so nothing can be said.
        TooLarge: Values are over the magnitude guard.
    """
    if left == right:
        return True
    if _is_check(left) and _is_check(right):
        return all(agree(a, b) for a, b in zip(left.args[1:], right.args[1:], strict=True))
    left, right = settled(left), settled(right)
    if left == right:
        return True
    ops = {left.op, right.op}
    if _MANY & {left.op} and _MANY & {right.op}:
        return _agree_many(left, right)
    if "matrix" in ops:
        return _agree_matrix(left, right)
    if _regional(left) or _regional(right):
        regions = region_of(left), region_of(right)
        if regions[0] is not None and regions[1] is not None:
            return _same_names(left, right) and same_region(regions[0], regions[1])
    if "chain" in ops:
        return _agree_chains(left, right)
    return _agree_rest(left, right, ops)


def _agree_rest(left: Node, right: Node, ops: set[str]) -> bool:
    if EMPTY in (left, right):
        return False
    if "text" in ops:
        return ops == {"text"} and _words(left) == _words(right)
    if "pmod" in ops:
        return _agree_classes(left, right)
    if ops & _MANY:
        return _agree_one_with_many(left, right)
    if ops & _SETS:
        same_parts = left.op == right.op and len(left.args) == len(right.args)
        return same_parts and all(agree(a, b) for a, b in zip(left.args, right.args, strict=True))
    return _agree_values(left, right)


def settled(node: Node) -> Node:
    """Return a tree without what only explains it: approximations, intermediate equalities, a unit of angle."""
    if node.op == "chain":
        return _settled_chain(node)
    if node.op in ("deg", "add") and len(node.args) == 1:
        return settled(node.args[0])
    if node.op in ("list", "set"):
        flat: list[Node] = []
        for item in node.args:
            inner = settled(item)
            flat.extend(inner.args if inner.op == "list" else (inner,))
        return Node(node.op, tuple(flat)) if len(flat) > 1 or node.op == "set" else flat[0]
    if node.op in ("add", "mul") and isinstance(node.args[-1], Node) and node.args[-1].op == "pmod":
        last, modulus = node.args[-1].args  # `-3 (mod 20)`: all in front of it counts
        return Node("pmod", (Node(node.op, (*node.args[:-1], last)), modulus))
    if node.op in ("add", "mul") and holds(node, "matrix"):
        return combined(node.op, [settled(part) for part in node.args])
    if node.op == "call" and node.args[0] == "det" and node.args[1].op == "matrix":
        return determinant(node.args[1]) or node
    if node.op not in ("tuple", "matrix", "row") and (holds(node, "pm") or holds(node, "mp")):
        return Node("list", (_with_sign(node, True), _with_sign(node, False)))
    return node


def _is_check(node: Node) -> bool:
    r"""Say whether a tree is an equation of two numbers, such as `\ln 1 = 0`."""
    return node.op == "chain" and node.args[0] == ("=",) and not symbols(node) and node.args[1].op != "text"


def _settled_chain(node: Node) -> Node:
    relations, parts = list(node.args[0]), list(node.args[1:])
    if "approx" in relations:
        at = relations.index("approx")
        if at or not _is_name(parts[0]):
            relations, parts = relations[:at], parts[: at + 1]
        else:
            relations[0] = "="
    if not relations:
        return settled(parts[0])
    if set(relations) == {"="}:
        if parts[0].op not in ("apply", "sym", "text") and not any(symbols(part) for part in (parts[0], parts[-1])):
            return settled(parts[-1])
        relations, parts = ["="], [parts[0], parts[-1]]
        if parts[1].op == "sym" and not symbols(parts[0]):
            parts.reverse()
    if len(relations) == 1 and relations[0] == "=" and (holds(parts[-1], "pm") or holds(parts[-1], "mp")):
        both = (Node("chain", (("=",), parts[0], _with_sign(parts[-1], sign))) for sign in (True, False))
        return Node("list", tuple(both))
    return Node("chain", (tuple(relations), *parts))


def _with_sign(node: Node, upper: bool) -> Node:
    if node.op in ("pm", "mp"):
        inner = _with_sign(node.args[0], upper)
        return inner if (node.op == "pm") == upper else Node("mul", (MINUS_ONE, inner))
    return Node(node.op, tuple(_with_sign(arg, upper) if isinstance(arg, Node) else arg for arg in node.args))


def _regional(node: Node) -> bool:
    if node.op == "chain":
        return node.args[0] != ("=",)
    return node.op in _SETS or node in (EMPTY, *REALS)


def _same_names(left: Node, right: Node) -> bool:
    """Say whether two regions speak of the same variable, where both name one."""
    names = [symbols(node) - {"R"} for node in (left, right)]
    return not names[0] or not names[1] or names[0] == names[1]


def _words(node: Node) -> list[str]:
    return [word for word in str(node.args[0]).lower().replace("-", " ").split() if word not in ("a", "an", "the")]


# Lists, tuples, sets, matrices


def _items(node: Node) -> tuple[Node, ...]:
    return node.args[2:] if node.op == "tuple" else node.args


def _agree_many(left: Node, right: Node) -> bool:
    ops = {left.op, right.op}
    if ops == {"tuple", "set"} or (ops == {"tuple"} and not _same_brackets(left, right)):
        return False
    if ops == {"tuple", "list"} and "[" in (left.args[0], right.args[0]):
        return False
    ours, theirs = _once(_items(left)), _once(_items(right))
    if "tuple" in ops:
        ours, theirs = _items(left), _items(right)
    if len(ours) != len(theirs):
        return False
    if "tuple" in ops or "row" in ops:
        return all(agree(a, b) for a, b in zip(ours, theirs, strict=True))
    return _agree_unordered(ours, theirs)


def _once(items: tuple[Node, ...]) -> tuple[Node, ...]:
    """Return points without repetitions: solutions listed twice are the same solutions."""
    return tuple(dict.fromkeys(items)) if all(item.op == "tuple" for item in items) else items


def _same_brackets(left: Node, right: Node) -> bool:
    # `]0,1[` is the open interval in French.
    shapes = [node.args[0].replace("]", "(") + node.args[1].replace("[", ")") for node in (left, right)]
    return shapes[0] == shapes[1]


def _agree_unordered(ours: tuple[Node, ...], theirs: tuple[Node, ...]) -> bool:
    common = Counter(ours) & Counter(theirs)
    rest = [list((Counter(items) - common).elements()) for items in (ours, theirs)]
    if len(rest[0]) > MAX_UNORDERED:
        raise TooLarge("a list of too many items")
    for item in rest[0]:
        place = next((at for at, other in enumerate(rest[1]) if agree_somehow(item, other)), None)
        if place is None:
            return False
        rest[1].pop(place)
    return True


def agree_somehow(left: Node, right: Node) -> bool:
    """Say whether two trees agree; what cannot be compared does not."""
    try:
        return agree(left, right)
    except Exhausted:
        raise
    except (Undefined, TooLarge):
        return False


def _agree_one_with_many(left: Node, right: Node) -> bool:
    many, one = (left, right) if left.op in _MANY else (right, left)
    items = _items(many)
    return len(items) == 1 and agree(items[0], one)


def _agree_matrix(left: Node, right: Node) -> bool:
    rows = [rows_of(node) for node in (left, right)]
    if rows[0] is None or rows[1] is None:
        return False
    flat = [[cell for row in matrix for cell in row] for matrix in (rows[0], rows[1])]
    shapes = [[len(row) for row in matrix] for matrix in (rows[0], rows[1])]
    if shapes[0] != shapes[1] and not (left.op != right.op and len(flat[0]) == len(flat[1])):
        return False
    return all(agree(a, b) for a, b in zip(flat[0], flat[1], strict=True))


# Relations


def _is_name(node: Node) -> bool:
    """Say whether a left side only names the value: `x`, `f(x)`, `AB`, `P(E)`, a text."""
    if holds(node, "text"):
        return True
    if node.op == "tuple":
        return all(item.op == "sym" for item in node.args[2:])
    if node.op == "mul":
        first = node.args[0]
        if first.op != "sym" or len(node.args) > 3:
            return False
        return all(part.op == "sym" for part in node.args) == str(first.args[0])[0].isupper() or (
            len(node.args) == 2 and node.args[1].op in ("num", "tuple", "root")
        )
    return node.op in ("sym", "apply", "text")


def _assignment(node: Node) -> tuple[Node, Node] | None:
    if node.op == "chain" and node.args[0] in (("=",), ("in",), ("to",), ("equiv",)) and _is_name(node.args[1]):
        return node.args[1], node.args[2]
    return None


def _agree_chains(left: Node, right: Node) -> bool:
    named = _assignment(left), _assignment(right)
    if named[0] and named[1] and _compatible(named[0][0], named[1][0]):
        return agree(named[0][1], named[1][1])
    if left.op == right.op:
        return _agree_relations(left, right)
    one, other = (named[0], right) if left.op == "chain" else (named[1], left)
    return one is not None and agree(one[1], other)


def _compatible(left: Node, right: Node) -> bool:
    """Say whether two left sides name the same thing; `y` and `f(x)` are both the value of a function."""
    if left == right:
        return True
    if left.op == "apply":
        left, right = right, left
    return left == Node("sym", ("y",)) and right.op == "apply" and right.args[0] != "mark"


def _agree_relations(left: Node, right: Node) -> bool:
    first, second = _oriented(left), _oriented(right)
    if first.args[0] != second.args[0]:
        return False
    if len(first.args[0]) > 1 or first.args[0][0] not in ("=", "!=", "<", "<="):
        return all(agree(a, b) for a, b in zip(first.args[1:], second.args[1:], strict=True))
    if "text" in {part.op for part in (*first.args[1:], *second.args[1:])}:
        return all(agree_somehow(a, b) for a, b in zip(first.args[1:], second.args[1:], strict=True))
    if not symbols(first) and not symbols(second):
        return all(agree(a, b) for a, b in zip(first.args[1:], second.args[1:], strict=True))
    return _proportional(first, second, positive=first.args[0][0] in ("<", "<="))


def _oriented(node: Node) -> Node:
    relations, parts = node.args[0], node.args[1:]
    if all(relation in (">", ">=") for relation in relations):
        flipped = tuple({">": "<", ">=": "<="}[relation] for relation in reversed(relations))
        return Node("chain", (flipped, *reversed(parts)))
    return node


def _proportional(left: Node, right: Node, *, positive: bool) -> bool:
    """Say whether the differences of both sides of two relations are constant multiples of each other."""
    names = symbols(left) | symbols(right)
    if symbols(left) != symbols(right):
        return False
    differences = [Node("add", (node.args[1], Node("mul", (MINUS_ONE, node.args[2])))) for node in (left, right)]
    ratio: complex | None = None
    for point in points(names):
        pair = [_value(difference, point) for difference in differences]
        if pair[0] is None or pair[1] is None or pair[1] == 0:
            continue
        current = float_of(pair[0]) / float_of(pair[1])
        if ratio is not None and not close(current, ratio):
            return False
        ratio = current
    if ratio is None:
        raise Undefined("relations without a common value")
    return abs(ratio) > 1e-9 and (not positive or ratio.real > 0)


def _value(node: Node, point: dict[str, Value]) -> Value | None:
    try:
        return Evaluation(point).value(node)
    except (Undefined, TooLarge):
        return None


# Values


def _agree_classes(left: Node, right: Node) -> bool:
    if left.op == right.op:
        (one, modulus), (other, other_modulus) = left.args, right.args
        return agree(modulus, other_modulus) and (agree(one, other) or _congruent(one, other, modulus))
    one, other = (left, right) if left.op == "pmod" else (right, left)
    return agree(one.args[0], other)


def _congruent(one: Node, other: Node, modulus: Node) -> bool:
    if symbols(Node("list", (one, other, modulus))):
        return False
    exact = [value for node in (one, other, modulus) if isinstance(value := number(node), int | Fraction)]
    return len(exact) == 3 and exact[2] != 0 and (exact[0] - exact[1]) % exact[2] == 0


def _agree_values(left: Node, right: Node) -> bool:
    ratios = [node for node in (left, right) if node.op == "ratio"]
    if len(ratios) == 2:
        return len(left.args) == len(right.args) and all(
            same_values(Node("ratio", (left.args[0], a)), Node("ratio", (right.args[0], b)))
            for a, b in zip(left.args[1:], right.args[1:], strict=True)
        )
    infinite = _infinity(left), _infinity(right)
    if any(infinite):
        return infinite[0] == infinite[1]
    percents = [node.op == "percent" for node in (left, right)]
    if any(percents):
        bare = [node.args[0] if node.op == "percent" else node for node in (left, right)]
        return same_values(bare[0], bare[1]) or (percents[0] != percents[1] and same_values(left, right))
    return same_values(left, right)


def _infinity(node: Node) -> int:
    """Return 1 or -1 for infinity with its sign, 0 for anything else."""
    if node == Node("sym", ("infty",)):
        return 1
    if node.op == "percent":
        return _infinity(node.args[0])
    if node.op == "mul" and len(node.args) == 2 and node.args[0] == MINUS_ONE:
        return -_infinity(node.args[1])
    return 0
