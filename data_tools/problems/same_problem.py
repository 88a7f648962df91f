"""Decide whether two problems are one problem, or two of the same template.

Tokens are aligned with variables blanked out. Numbers, operators, maths and operator words must agree; variables may
differ by a one-to-one renaming, names of people by a consistent one, and wording in a few words that decide nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

from data_tools.problems.signature import BRACKETS, Signature, Token

# Words that turn one problem into another one where all numbers stay.
_OPERATORS = """
    not no non without positive negative nonnegative nonpositive even odd prime composite integer integers
    rational irrational real complex sum difference product quotient ratio average mean median mode total
    remainder area perimeter volume circumference surface length width height radius diameter side diagonal
    angle acute obtuse right isosceles scalene equilateral square rectangle triangle circle cube sphere cone
    cylinder trapezoid rhombus parallelogram hexagon pentagon octagon squares rectangles triangles circles
    largest smallest maximum minimum more less fewer greater smaller larger most least first last increasing
    decreasing twice double triple half quarter third thrice same different distinct equal consecutive inside
    outside above below left remaining before after increase decrease increased decreased gained lost bought
    sold plus minus times divided multiplied added subtracted and or both either neither all none any every each
    only probability expected number many much long far old percent percentage dozen domain range sine cosine
    tangent union intersection row column with replacement closed open inclusive exclusive strictly up down east
    west north south
    internal internally external externally interior exterior inscribed circumscribed ascending descending convex
    concave clockwise
    counterclockwise maximize minimize numerator denominator horizontal vertical horizontally vertically
    meter meters kilometer kilometers centimeter centimeters millimeter millimeters gram grams kilogram kilograms
    hundred thousand million billion trillion monday tuesday wednesday thursday friday saturday sunday january february
    march april may june july august september october november december
"""
_AXES = [f"{name}-{what}" for name in "xyz" for what in ("axis", "axes", "intercept", "intercepts", "coordinate")]
OPERATOR_WORDS = frozenset([*_OPERATORS.split(), *_AXES, "weekdays", "weekends"])
_LIGHT_WORDS = "a is are was as in on at by for to be of it this these which where when if so from has had will"
_LIGHT = frozenset(_LIGHT_WORDS.split())
_OTHER_WORDS = 0.08  # most words without a counterpart, as a share of the tokens
_SPELLING = 0.75  # least similarity of two spellings or forms of one word


def same_problem(one: Signature, other: Signature) -> bool:
    """Say whether two problems ask the same, up to wording, LaTeX, names and renamed variables.

    Args:
        one: A problem.
        other: Another one.
    """
    if one.frame != other.frame or not _same_figure(one, other):
        return False
    if one.key == other.key or one.run_key == other.run_key:
        return True
    matcher = SequenceMatcher(None, _blanked(one.tokens), _blanked(other.tokens), autojunk=False)
    pairs: list[tuple[Token, Token]] = []
    changes: list[tuple[Sequence[Token], Sequence[Token]]] = []
    for kind, start, end, start_other, end_other in matcher.get_opcodes():
        left, right = one.tokens[start:end], other.tokens[start_other:end_other]
        if kind == "equal":
            pairs += zip(left, right, strict=True)
        else:
            changes.append((left, right))
    longer = max(len(one.tokens), len(other.tokens))
    stays = {one.text for one, _ in pairs if _is_name(one)}
    return _only_wording(changes, stays, longer) and _renamed(pairs, figure=one.has_figure or other.has_figure)


def _same_figure(one: Signature, other: Signature) -> bool:
    """Whether two figures have the same numbers; a copy may have lost its figure."""
    return one.figure == other.figure or not (one.has_figure and other.has_figure)


def _blanked(tokens: Sequence[Token]) -> list[str]:
    return [
        "variable"
        if token.kind == "variable"
        else f"run{len(token.text)}"
        if token.kind == "run"
        else f"={token.text}"
        for token in tokens
    ]


def _only_wording(changes: list[tuple[Sequence[Token], Sequence[Token]]], stays: set[str], length: int) -> bool:
    """Whether what differs is names, light words, forms of one word, and few words that one side lacks.

    Args:
        changes: Tokens of the two sides that have no equal counterpart.
        stays: Names that stay somewhere.
        length: Tokens of the longer problem.
    """
    names = {(word, word) for word in stays}
    others = 0
    for left, right in changes:
        if len(left) == len(right) and all(_is_name(a) and _is_name(b) for a, b in zip(left, right, strict=True)):
            names |= {(a.text, b.text) for a, b in zip(left, right, strict=True)}
            continue
        if any(token.kind != "word" and token.text not in BRACKETS for token in (*left, *right)):
            return False
        ours, theirs = _heavy(left), _heavy(right)
        if ours and theirs and not _forms_of_one_word(ours, theirs):
            return False
        if OPERATOR_WORDS.intersection(ours) != OPERATOR_WORDS.intersection(theirs):
            return False
        others += abs(len(ours) - len(theirs))
    # Names are replaced carelessly: one copy may give two people one name, but not one person two.
    sides = [{pair[side] for pair in names} for side in (0, 1)]
    return others <= _OTHER_WORDS * length and len(names) == max(map(len, sides))


def _heavy(tokens: Sequence[Token]) -> list[str]:
    return [token.text for token in tokens if token.kind == "word" and token.text not in _LIGHT]


def _forms_of_one_word(ours: list[str], theirs: list[str]) -> bool:
    """Whether words pair off as spellings or forms: `colour` and `color`, `centre` and `center`."""
    return len(ours) == len(theirs) and all(
        SequenceMatcher(None, a, b).ratio() >= _SPELLING and OPERATOR_WORDS.isdisjoint((a, b))
        for a, b in zip(ours, theirs, strict=True)
    )


def _is_name(token: Token) -> bool:
    return token.kind == "word" and token.name and token.text not in OPERATOR_WORDS


def _renamed(pairs: list[tuple[Token, Token]], *, figure: bool) -> bool:
    """Whether aligned variables are renamed one to one, and not the points of a figure."""
    singles = {(a.text, b.text) for a, b in pairs if a.kind == "variable"}
    runs = {(a.text, b.text) for a, b in pairs if a.kind == "run"}
    # Lower-case runs such as `by` count only where one of them changed: they may be a word or a function's name.
    changed = any(a != b for a, b in runs)
    singles |= {letters for a, b in runs if changed or a.isupper() for letters in zip(a, b, strict=True)}
    if figure and any(a != b for a, b in singles if a.isupper()):
        return False
    return len({a for a, _ in singles}) == len(singles) == len({b for _, b in singles})
