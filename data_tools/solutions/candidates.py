r"""Candidate answers of a worked solution that marks none.

Official solutions often end in "... so $f(2008)=f(4)=-1$." or "there are 26 gold balls in the bag". Every right
side of an equation, every expression and every number in the sentences that can hold the conclusion is a
candidate: the first sentences (a solution may begin with its result), the last ones, and those in between that
speak of an answer. Values tied by commas, "and" or "or" make one more candidate, the list of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from data_tools.maths.number_words import SCALES, WHOLE_NUMBER, whole_number
from data_tools.solutions.equations import Equation, equations
from data_tools.solutions.sentences import MASK, Sentence, masked, maths_key, split_sentences

FIRST, LAST, BETWEEN = 2, 7, 6
HEAD_CHARACTERS, TAIL_CHARACTERS = 3_000, 9_000
LONGEST = 160

_SPEAKS = re.compile(
    r"\b(?:answers?|therefore|thus|hence|desired|requested|required|maxim\w+|minim\w+|finally|in\s+total|conclu\w+)\b",
    re.IGNORECASE,
)
_ITEM = re.compile(
    r"\x01"
    r"|(?<![\w.,/\\^_-])(?:(?<!\d )[-−]\s?)?\d+(?:,\d{3})*(?:\.\d+)?(?:\s?/\s?\d+)?(?![\w^_]|-[a-zA-Z]|\.\d)"
    rf"|\b(?!one\b(?!\s+(?:{'|'.join(SCALES)})\b)){WHOLE_NUMBER}",  # "one" alone is mostly a pronoun
    re.IGNORECASE,
)
_LABEL = re.compile(
    r"\b(?:cases?|solution|step|problem|theorem|lemma|figure|equation|method|part|claim|condition|row|column|"
    r"section|page|table|chapter|no\.?|positions?|way)\s*\(?$",
    re.IGNORECASE,
)
_TIE = re.compile(r"\s*(?:,|;)?\s*(?:and|or|,|;)?\s*(?:also|perhaps|else)?\s*", re.IGNORECASE)
_SET = re.compile(r"(?:\\left)?\\\{(?P<inner>[^{}|:]+)(?:\\right)?\\\}")
_BARE_LETTER = re.compile(r"\\?[a-zA-Z]+(?:_\{?\w+\}?)?'*")

Kind = Literal["equation", "expression", "number", "list"]


@dataclass(frozen=True, slots=True)
class Item:
    """A possible answer where it stands.

    Args:
        answer: Its text.
        kind: Right side of an equation, expression without a relation, number among the words, or list.
        equation: The equation it comes from, for the first two kinds.
        start: Where it begins in the masked sentence.
        end: Where it ends there.
        closes_span: Nothing follows in its maths span.
        size: Number of values in a list, else 1.
    """

    answer: str
    kind: Kind
    equation: Equation | None
    start: int
    end: int
    closes_span: bool = True
    size: int = 1


@dataclass(frozen=True, slots=True)
class Statement:
    """A sentence that may hold the answer, with what it offers.

    Args:
        text: The sentence, maths masked.
        items: Its possible answers in order, lists last.
        from_start: 0 for the first sentence of the solution.
        from_end: 0 for the last one.
        ends_paragraph: Whether a paragraph ends with it.
    """

    text: str
    items: tuple[Item, ...]
    from_start: int
    from_end: int
    ends_paragraph: bool


def statements(solution: str) -> list[Statement]:
    """List the sentences of a solution that may hold its answer."""
    if len(solution) > HEAD_CHARACTERS + TAIL_CHARACTERS:
        solution = f"{solution[:HEAD_CHARACTERS]}\n\n{solution[-TAIL_CHARACTERS:]}"
    text, spans = masked(solution)
    sentences = split_sentences(text)
    statements_found = []
    for number in _readable(sentences):
        sentence = sentences[number]
        own = spans[sentence.first : sentence.first + sentence.text.count(MASK)]
        items = tuple(_items(sentence.text, own))
        if items:
            from_end = len(sentences) - 1 - number
            statements_found.append(Statement(sentence.text, items, number, from_end, sentence.ends_paragraph))
    return statements_found


def _readable(sentences: list[Sentence]) -> list[int]:
    """Numbers of the sentences to read, in order."""
    total = len(sentences)
    if total <= FIRST + LAST:
        return list(range(total))
    between = [number for number in range(total - LAST - 1, FIRST - 1, -1) if _SPEAKS.search(sentences[number].text)]
    return [*range(FIRST), *sorted(between[:BETWEEN]), *range(total - LAST, total)]


def _items(text: str, spans: list[str]) -> Iterator[Item]:
    items: list[Item] = []
    number = 0
    for match in _ITEM.finditer(text):
        if match.group() == MASK:
            items += _from_maths(spans[number], match.start())
            number += 1
        elif not _LABEL.search(text, max(0, match.start() - 14), match.start()):
            items.append(Item(_digits(match.group()), "number", None, match.start(), match.end()))
    yield from items
    yield from _lists(text, items)


def _digits(number: str) -> str:
    value = whole_number(number.lower())
    return number.replace("−", "-").replace(" ", "") if value is None else str(value)


def _from_maths(span: str, start: int) -> list[Item]:
    items = []
    parts = equations(span)[-4:]
    for index, equation in enumerate(parts):
        last = index == len(parts) - 1
        kind: Kind = "equation" if equation.relation else "expression"
        for answer in _sides(equation):
            if 0 < len(answer) <= LONGEST:
                items.append(Item(answer, kind, equation, start, start + 1, last))
    return items


def _sides(equation: Equation) -> list[str]:
    """The sides of an equation that can be an answer: the last one, and the exact one before "about"."""
    sides = [_opened(equation.right)]
    if equation.relation == "~" and equation.length > 1:
        sides.append(equation.before)
    if equation.length == 1 and _BARE_LETTER.fullmatch(equation.right) and equation.relation in ("=", ">=", "<="):
        sides = [equation.left]
    return sides


def _opened(answer: str) -> str:
    r"""A set of listed values without its braces: `\{1,2\}` becomes `1,2`."""
    match = _SET.fullmatch(answer)
    return match["inner"].strip() if match else answer


def _lists(text: str, items: list[Item]) -> Iterator[Item]:
    """Runs of two and more values that only commas, "and" or "or" part."""
    run: list[Item] = []
    for item in items:
        if run and _tied(text, run[-1], item):
            run.append(item)
            continue
        yield from _as_list(run)
        run = [item]
    yield from _as_list(run)


def _tied(text: str, one: Item, other: Item) -> bool:
    if one.start == other.start:
        return other.equation is not None and other.equation.joined
    gap = text[one.end : other.start]
    return bool(gap) and len(gap) < 16 and gap.strip() != "" and _TIE.fullmatch(gap) is not None


def _as_list(run: list[Item]) -> Iterator[Item]:
    if len(run) < 2:
        return
    lefts = {maths_key(item.equation.left) for item in run if item.equation and item.equation.left}
    values = list(dict.fromkeys(item.answer for item in run))
    if len(lefts) > 1 and len(lefts) != len(run):
        return
    first = run[0].equation
    equation = first if len(lefts) <= 1 else None
    yield Item(", ".join(values), "list", equation, run[0].start, run[-1].end, True, len(values))
