r"""The lower half of the answer grammar: numbers, symbols, brackets, commands, functions, environments."""

from __future__ import annotations

from fractions import Fraction

from data_tools.maths.nodes import MINUS_ONE, ONE, Node, by_rule, literal, negate, power, product_of
from data_tools.maths.number_words import CARDINALS
from data_tools.maths.tokens import FUNCTIONS, LatexError, Token

_HALVES = {"(": ")", "[": "]", "lbrace": "rbrace", "langle": "rangle"}
_FLOORS = {"lfloor": ("rfloor", "floor"), "lceil": ("rceil", "ceil")}
_CONSTANTS = frozenset(("pi", "infty", "emptyset", "dots"))
_INVERTIBLE = frozenset(("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "coth", "sech", "csch"))
_CALLED = frozenset("fghFGH")
_FUNCTION_NAMES = frozenset(FUNCTIONS.values())
_OPERANDS = frozenset(("sqrt", "frac", "binom", "mark", "cbrt", "lfloor", "lceil"))
MAX_SCRIPTS = 6
"""Powers, factorials and primes behind one value."""
_DIFFERENTIALS = (Node("sym", ("d",)), Node("sym", ("partial",)))
_CELL_ENDS = frozenset(("&", "\\"))


class Atoms:
    """A cursor over tokens with the rules below products; the rules above are the subclass's.

    Args:
        tokens: As `tokenize` gives them.
    """

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.at = 0
        self.peek = tokens[0]
        self.depth = 0
        self.bars = 0
        self.outward = False
        self.differentials: list[list[str]] = []
        self.units: list[str] = []
        self.unit_end = -1

    def items(self, closers: frozenset[str]) -> Node:
        """Read a list up to a closer."""
        raise NotImplementedError

    def product(self) -> Node:
        """Read a product."""
        raise NotImplementedError

    def sum(self) -> Node:
        """Read a sum."""
        raise NotImplementedError

    def next(self) -> Token:
        """Return the current token and step over it."""
        token = self.peek
        if token.kind != "eof":
            self.at += 1
            self.peek = self.tokens[self.at]
        return token

    def at_any(self, values: frozenset[str]) -> bool:
        """Say whether the current token is one of these operators or commands."""
        return self.peek.kind in ("op", "cmd") and self.peek.value in values

    def take(self, value: str) -> bool:
        """Step over the current token if it is this operator or command."""
        if self.peek.value == value and self.peek.kind in ("op", "cmd"):
            self.next()
            return True
        return False

    def expect(self, value: str) -> None:
        """Step over this token, or refuse."""
        if not self.take(value):
            raise LatexError(f"expected {value!r}, found {self.peek.value!r}")

    def signed(self) -> Node:
        """Read a power with signs before it, as after `*` and `/`."""
        sign = ONE
        while self.at_any(frozenset("+-")):
            sign = MINUS_ONE if (self.next().value == "-") == (sign is ONE) else ONE
        node = self.power()
        return node if sign is ONE else Node("mul", (sign, node))

    def power(self) -> Node:
        """Read an atom with what is written behind it: powers, factorials, percent, degree, primes."""
        self.depth += 1
        if self.depth > 60:
            raise LatexError("nested too deep")
        node = self.postfix(self.atom())
        scripts = 0
        while self.take("^") or self.take("**"):
            scripts += 1
            if scripts > MAX_SCRIPTS:
                raise LatexError("nested too deep")
            if self.at_any(frozenset("'")) or self.take("prime"):
                node = Node("apply", ("'", node))
            elif self.at_any(frozenset("*")):
                raise LatexError("a starred name")
            else:
                node = self.postfix(power(node, self.script()))
        self.depth -= 1
        return node

    def postfix(self, node: Node) -> Node:
        """Read factorials, percent, degree and primes behind a value."""
        for _ in range(MAX_SCRIPTS):
            if self.peek.kind not in ("op", "cmd"):
                break
            if self.take("!"):
                double = self.take("!")
                node = Node("call", ("fact2" if double else "fact", node))
            elif self.take("%"):
                node = Node("percent", (node,))
            elif self.take("degree"):
                node = Node("deg", (node,))
            elif self.take("'"):
                node = Node("apply", ("'", node))
            else:
                break
        return node

    def script(self) -> Node:
        """Read what follows `^`: a group, or one signed atom; plain `x^12` has the exponent 12."""
        if self.at_any(frozenset("-+")):
            minus = self.next().value == "-"
            node = self.script()
            return negate(node) if minus else node
        node = self._number(mixed=False) if self.peek.kind == "num" else self.atom()
        return self.postfix(node) if self.at_any(frozenset("!")) else node

    def atom(self) -> Node:
        """Read one value."""
        kind, value, _ = self.peek
        if kind == "num":
            return self._number()
        if kind == "sym":
            return self._symbol()
        if kind == "text":
            return self._text()
        if kind == "begin":
            return self._environment()
        if kind == "op":
            return self._bracket()
        if kind != "cmd":
            raise LatexError(f"unexpected {value or 'end'!r}")
        return self._command()

    def _number(self, *, mixed: bool = True) -> Node:
        try:
            node = literal(self.next().value)
        except ValueError as error:
            raise LatexError(str(error)) from error
        if not mixed:
            return node
        if self.peek == Token("cmd", "frac") and isinstance(node.args[0], int):
            return self._mixed(node)
        if self.take("_"):
            base = self.script()
            return Node("based", (node, base))
        return node

    def _mixed(self, whole: Node) -> Node:
        r"""Read `1\frac12` as a mixed number."""
        fraction = self.atom()
        top, bottom = (arg for arg in fraction.args) if fraction.op == "mul" else (ONE, ONE)
        under = bottom.args[0] if bottom.op == "pow" else ONE
        parts = [part.args[0] for part in (top, under) if part.op == "num" and isinstance(part.args[0], int)]
        if len(parts) == 2 and 0 < parts[0] < parts[1]:
            return Node("num", (whole.args[0] + Fraction(parts[0], parts[1]),))
        return Node("mul", (whole, fraction))

    def _symbol(self) -> Node:
        name = self.next().value
        if name == "d" and self.differentials and self.peek.kind == "sym":
            self.differentials[-1].append(self.next().value)
            return ONE
        primes = 0
        while self.take("'"):
            primes += 1
        name += "'" * primes
        if self.take("_"):
            name += "_" + _text_of(self.script())
        called = name[0] in _CALLED or [token.value for token in self.tokens[self.at : self.at + 3]] == ["(", "0", ")"]
        if called and self.peek.value == "(" and not self.peek.spaced:
            return Node("apply", (name, self._bracket()))
        return Node("sym", (name,))

    def _text(self) -> Node:
        words = []
        while self.peek.kind in ("text", "sym") or self.at_any(frozenset(("and", "or", "in"))):
            words.append(self.next().value.lower())
        if len(words) == 1 and words[0] in CARDINALS:
            return Node("num", (CARDINALS[words[0]],))
        return Node("text", (" ".join(words),))

    def _bracket(self) -> Node:
        opening = self.next().value
        if opening == "|":
            return self._bars()
        if opening == "{":
            node = self.items(frozenset("}"))
            self.expect("}")
            return Node("set", node.args) if node.op == "list" else node
        if opening not in ("(", "[", "]"):
            raise LatexError(f"unexpected {opening!r}")
        return self._group(opening)

    def _bars(self) -> Node:
        self.bars += 1
        node = self.sum()
        self.expect("|")
        self.bars -= 1
        return Node("call", ("abs", node))

    def _group(self, opening: str) -> Node:
        bars, self.bars, outward, self.outward = self.bars, 0, self.outward, opening == "]"
        self.differentials.append([])
        node = self.items(frozenset(")]") if opening != "]" else frozenset("[]"))
        self.differentials.pop()
        self.bars, self.outward = bars, outward
        closing = self.next().value
        if node.op == "list":
            return Node("tuple", (opening, closing, *node.args))
        if closing not in (")", "]") or node.op == "matrix" or opening + closing in ("()", "[]"):
            return node
        raise LatexError("unbalanced brackets")

    def _command(self) -> Node:
        name = self.next().value
        if name in _FUNCTION_NAMES:
            return self._function(name)
        if name in ("int", "iint", "oint", "sum", "prod", "lim"):
            return self._big(name)
        if name in _CONSTANTS:
            return Node("sym", (name,))
        if name in ("frac", "binom"):
            return self._two(name)
        if name in ("sqrt", "cbrt"):
            return self._root(name)
        if name in ("lbrace", "langle"):
            return self._braces(name)
        if name in _FLOORS:
            closer, function = _FLOORS[name]
            node = self.items(frozenset((closer,)))
            self.expect(closer)
            return Node("call", (function, node))
        if name in ("angle", "triangle"):
            return self.atom()
        if name == "mark":
            return Node("apply", ("mark", self._argument()))
        raise LatexError(f"unknown command \\{name}")

    def _braces(self, opening: str) -> Node:
        closer = _HALVES[opening]
        if self.take(closer):
            return Node("sym", ("emptyset",))
        self.bars += 1  # so that a bar ends the first part of `{x | x > 0}`
        node = self.items(frozenset((closer, "|")))
        self.bars -= 1
        if node.op == "chain" and node.args[1].op == "ratio":  # `{x : x > 0}`
            self.expect(closer)
            return Node("chain", (node.args[0], node.args[1].args[-1], *node.args[2:]))
        if node.op == "chain" and node.args[0][0] == "in" and node.args[2].op == "ratio":  # `{x in R : x > 0}`
            self.expect(closer)
            domain, first = node.args[2].args
            member = Node("chain", (("in",), node.args[1], domain))
            return by_rule(member, Node("chain", (node.args[0][1:], first, *node.args[3:])))
        if self.take("|"):
            rule = self.items(frozenset((closer,)))
            self.expect(closer)
            return by_rule(node, rule)
        self.expect(closer)
        items = node.args if node.op == "list" else (node,)
        return Node("set", items) if opening == "lbrace" else Node("tuple", ("(", ")", *items))

    def _argument(self) -> Node:
        r"""Read what a command takes: a group, or one token, of a number its first digit."""
        if self.peek.kind == "num" and len(self.peek.value) > 1 and self.peek.value.isdigit():
            digit, rest = self.peek.value[0], self.peek.value[1:]
            self.tokens[self.at] = self.peek = Token("num", rest)
            return literal(digit)
        return self.atom()

    def _two(self, name: str) -> Node:
        first, second = self._argument(), self._argument()
        if name == "binom":
            return Node("binom", (first, second))
        if first in _DIFFERENTIALS and second.op == "mul" and second.args[0] == first:
            return Node("diff", (second.args[-1], self.product()))
        return product_of((first, power(second, MINUS_ONE)))

    def _root(self, name: str) -> Node:
        degree = Node("num", (3 if name == "cbrt" else 2,))
        if self.take("["):
            degree = self.items(frozenset("]"))
            self.expect("]")
        return Node("root", (degree, self.atom()))

    def _function(self, name: str) -> Node:
        exponent = base = None
        while self.at_any(frozenset("^_")):
            if self.next().value == "^":
                exponent = self.script()
            else:
                base = self.script()
        if exponent == MINUS_ONE and name in _INVERTIBLE:
            name, exponent = f"a{name}", None
        argument = self._function_argument()
        arguments = argument.args if argument.op in ("list", "set") else (argument,)
        if argument.op == "tuple":
            arguments = argument.args[2:]
        node = Node("call", (name, *arguments) if base is None else (name, *arguments, base))
        return power(node, exponent) if exponent is not None else node

    def _function_argument(self) -> Node:
        """Read a bracket, or the implicit product up to the next function, sign or slash."""
        if self.at_any(frozenset(("(", "[", "{", "|"))):
            node = self.atom()
            return power(node, self.script()) if self.take("^") else self.postfix(node)
        if self.at_any(frozenset(("-", "+"))):
            return self.signed()
        factors = [self.power()]
        while self.peek.kind in ("num", "sym") or self.at_any(_OPERANDS | _CONSTANTS):
            if self.peek.value == "d" and self.differentials:
                break
            factors.append(self.power())
        return product_of(factors)

    def _big(self, name: str) -> Node:
        low: Node = Node("text", ("",))
        high: Node = Node("text", ("",))
        while self.at_any(frozenset("^_")):
            if self.next().value == "^":
                high = self.script()
            else:
                low = self._bound(name)
        if name in ("sum", "prod", "lim"):
            return Node("big", (name, low, high, self.product()))
        self.differentials.append([])
        body = self.sum()
        variables = self.differentials.pop()
        if not variables:
            raise LatexError("an integral without a differential")
        return Node("big", ("int", Node("sym", (variables[0],)), low, high, body))

    def _bound(self, name: str) -> Node:
        if self.take("{"):
            if name == "lim":
                self._drop_side()
            node = self.items(frozenset("}"))
            self.expect("}")
            return node
        return self.script()

    def _drop_side(self) -> None:
        r"""Take the sign out of `x \to 0^+`: limits are read from above."""
        depth = 1
        for at in range(self.at, len(self.tokens) - 3):
            depth += {"{": 1, "}": -1}.get(self.tokens[at].value, 0)
            if depth == 0:
                return
            if [self.tokens[at].value, self.tokens[at + 2].value] == ["^", "}"] and self.tokens[at + 1].value == "+":
                del self.tokens[at : at + 2]
                return

    def _environment(self) -> Node:
        name = self.next().value
        rows: list[tuple[Node, ...]] = []
        cells: list[Node] = []
        while self.peek.kind not in ("end", "eof"):
            if self.take("&"):
                continue
            if self.take("\\"):
                if cells:
                    rows.append(tuple(cells))
                cells = []
                continue
            cells.append(self.items(_CELL_ENDS))
        if cells:
            rows.append(tuple(cells))
        if self.next().value != name:
            raise LatexError(f"{name} is not closed")
        if name.endswith("matrix") or name == "array":
            node = Node("matrix", tuple(Node("row", row) for row in rows))
            return Node("call", ("det", node)) if name == "vmatrix" else node
        return Node("list", tuple(product_of(row) if len(row) == 1 else Node("row", row) for row in rows))


def _text_of(node: Node) -> str:
    """Return a subscript as text."""
    return "".join(_text_of(arg) if isinstance(arg, Node) else str(arg) for arg in node.args)
