r"""One maths span as equations: chains cut at relations, rows and commas outside brackets. Nothing is parsed.

`a=b+c=\mathbf{1 2}` is one equation with the left side `a` and the right side `12`; a row of an `aligned` block
that begins with a relation goes on with the equation above.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from data_tools.solutions.sentences import tidy

_TOKEN = re.compile(
    r"(?P<row>\\\\(?:\s*\[[^\]]{0,9}\])?)"
    r"|\\(?P<relation>leqslant|geqslant|leq|geq|le|ge|approx|simeq|equiv|doteq|in|cong|neq|ne|mid|nmid|sim)"
    r"(?![a-zA-Z])"
    r"|(?P<arrow>\\(?:Rightarrow|implies|Longrightarrow|iff|Leftrightarrow|Longleftrightarrow|rightarrow|to"
    r"|longrightarrow|therefore|because|q?quad)(?![a-zA-Z]))"
    r"|\\(?:text|mbox|textrm|hbox|mathrm)\s*\{(?P<words>[^{}]*)\}"
    r"|\\begin\s*\{(?P<begin>[a-zA-Z]+)\*?\}(?:\s*\[[^\]]*\])?(?:\s*\{[lcr|@ ]*\})?"
    r"|\\end\s*\{(?P<end>[a-zA-Z]+)\*?\}"
    r"|(?P<opening>\\[{(\[]|\\l(?:floor|ceil|angle|vert)(?![a-zA-Z])|[{(\[])"
    r"|(?P<closing>\\[})\]]|\\r(?:floor|ceil|angle|vert)(?![a-zA-Z])|[})\]])"
    r"|(?P<align>&)|\\[a-zA-Z]+|\\.|(?P<sign>[=<>,;])",
    re.DOTALL,
)
_ROW_BLOCKS = frozenset(
    ["aligned", "align", "split", "gathered", "gather", "array", "eqnarray", "equation", "alignedat", "multline"]
)
_RELATIONS = {
    "leqslant": "<=",
    "leq": "<=",
    "le": "<=",
    "geqslant": ">=",
    "geq": ">=",
    "ge": ">=",
    "approx": "~",
    "simeq": "~",
    "doteq": "~",
    "in": "in",
    "equiv": "mod",
    "cong": "=",
}
_BREAKS = frozenset({"row", "=>", "words"})
_JOINING = re.compile(r"[\s,~]*(?:and|or|)[\s,~]*", re.IGNORECASE)
_UNIT = re.compile(
    r"[\s~]*(?!if\b|for\b|when\b|where\b|so\b|then\b)[a-zA-Z]{1,12}(?:[\s~./^]+[a-zA-Z\d]{1,12}){0,3}[\s~.]*"
)


@dataclass(frozen=True, slots=True)
class Equation:
    """A chain of relations, or an expression without one.

    Args:
        left: What stands before the first relation; empty where there is none.
        relation: The last relation: `=`, `<`, `>`, `<=`, `>=`, `~` (about), `in`, `mod`, `!` (says nothing about
            a value), or empty.
        right: What stands behind it, or the whole expression where there is no relation.
        before: What stands before the last relation: the exact value in a chain that ends in an approximation.
        length: Number of relations.
        joined: A comma, "and" or "or" ties it to the equation before it in the span.
    """

    left: str
    relation: str
    right: str
    before: str
    length: int
    joined: bool


def equations(content: str) -> list[Equation]:
    """Cut the content of a maths span into equations, empty ones left out."""
    chain: list[Equation] = []
    block: list[tuple[str, str]] = []
    for mark, text in _pieces(content):
        if mark in _BREAKS:
            chain += _split_at_commas(block)
            block = []
        block.append((mark, text))
    chain += _split_at_commas(block)
    return chain


def _pieces(content: str) -> list[tuple[str, str]]:
    """(mark, text behind it) at depth 0; a row that begins with a relation has no mark of its own."""
    pieces: list[tuple[str, str]] = []
    depth = at = 0
    mark = ""
    text = ""
    blocks: list[bool] = []
    for match in _TOKEN.finditer(content):
        kind = match.lastgroup
        if kind == "opening":
            depth += 1
        elif kind == "closing":
            depth -= 1
        elif kind == "begin":
            plain = match["begin"] in _ROW_BLOCKS and depth == 0
            blocks.append(plain)
            if plain:
                at = match.end()
            else:
                depth += 1
        elif kind == "end":
            if blocks and blocks.pop():
                text += content[at : match.start()]
                at = match.end()
            else:
                depth -= 1
        elif depth == 0 and kind is not None:
            new = _mark(match)
            text += content[at : match.start()]
            at = match.end()
            if new is None:
                continue
            if text.strip() or mark not in _BREAKS or new in ("words", ","):
                pieces.append((mark, text.strip()))
            mark, text = new, ""
    pieces.append((mark, (text + content[at:]).strip()))
    return pieces


def _mark(match: re.Match[str]) -> str | None:
    """The mark that a token at depth 0 sets, or None for one that is dropped (`&`, a unit)."""
    if match["row"]:
        return "row"
    if match["arrow"]:
        return "=>"
    if match["relation"]:
        return _RELATIONS.get(match["relation"], "!")
    if match["words"] is not None:
        if _JOINING.fullmatch(match["words"]):
            return "," if match["words"].strip(" ~") else None
        return None if _UNIT.fullmatch(match["words"]) else "words"
    if match["sign"]:
        return "," if match["sign"] in ",;" else match["sign"]
    return None


def _split_at_commas(block: list[tuple[str, str]]) -> list[Equation]:
    """Equations of one row. Commas part equations only where several of them have a relation."""
    groups: list[list[tuple[str, str]]] = [[]]
    for mark, text in block:
        if mark == ",":
            groups.append([("", text)])
        else:
            groups[-1].append(("" if mark in _BREAKS else mark, text))
    related = sum(any(mark for mark, _ in group) for group in groups)
    if related < 2:
        merged: list[tuple[str, str]] = []
        for group in groups:
            if merged and group:
                merged[-1] = (merged[-1][0], f"{merged[-1][1]}, {group[0][1]}")
                merged += group[1:]
            else:
                merged += group
        groups = [merged]
    parts = [_equation(group, joined=index > 0) for index, group in enumerate(groups)]
    return [equation for equation in parts if equation.right]


def _equation(group: list[tuple[str, str]], *, joined: bool) -> Equation:
    group = [item for item in group if item[0] or item[1]]
    if not group:
        return Equation("", "", "", "", 0, joined)
    related = [item for item in group if item[0]]
    left = tidy(group[0][1]).strip() if related and not group[0][0] else ""
    right = tidy(group[-1][1]).rstrip(" .,;/~")
    before = tidy(group[-2][1]).strip() if len(group) > 1 else ""
    return Equation(left, group[-1][0], right, before, len(related), joined)
