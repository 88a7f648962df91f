r"""Final-answer marks in a text: boxes, answer sentences, maths spans, numbers.

Primitives only, shared by `verify` (a light look at a model output) and `extract` (the full route for worked
solutions). Every function is one linear pass over the text and never raises on malformed input: an unbalanced
brace means "no such span". Nothing here interprets what it finds.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass

_BOX = re.compile(r"\\{1,2}(?:boxed|fbox|framebox)(?![A-Za-z])")
_BOX_OPTION = re.compile(r"\s*(?:\[[^\]\n]{0,20}\]\s*)*")
_BRACE = re.compile(r"\\[{}\\]|[{}]")
_BARE_BOX = re.compile(r"\s*(-?\d+(?:\.\d+)?|[A-Za-z]\b|\\[A-Za-z]+)")
_BETWEEN_BOXES = re.compile(
    r"(?:[\s,;.$&+\]\[()]|\\(?=\\?$)|\\[()\[\],;:! ]|\\q?quad|\b(?:and|or)\b"
    r"|\\(?:text|mathrm|textbf)\{\s*,?\s*(?:and|or)\s*\})*"
)
_PHRASE = re.compile(
    r"####"
    r"|(?:^|(?<=\n))[ \t]{0,8}(?:\*\*)?A(?:ns(?:wer)?)?(?:\*\*)?\s{0,4}[:：](?:\*\*)?"
    r"|\banswers?(?:\s{1,4}(?:to|for|of|in)\b[^.\n:$\\]{0,80}?)?\s{0,4}(?:\*\*)?\s{0,4}"
    r"(?:is|are|will\s{1,4}be|would\s{1,4}be|should\s{1,4}be|must\s{1,4}be|equals|=|[:：])"
    r"(?:(?:\*\*)?\s{0,4}[:=：])?"
    r"|答案\s{0,4}(?:应该|应)?\s{0,4}(?:是|为|[:：])\s{0,4}[:：]?",
    re.IGNORECASE,
)
_PHRASE_MARKS = ("ans", "####", "答案", "a:", "a :", "a：", "a**", "a\t")
_BEFORE_ANSWER = re.compile(r"[\s*]{0,100}")
_MAX_PHRASE = 2000
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|。|\n")
_OPENING_MATHS = re.compile(r"\$\$?|\\\(|\\\[")
_MATHS_DELIMITER = re.compile(r"\\[\\$]|\$\$|\$|\\[()\[\]]")
_CLOSING = {"$": "$", "$$": "$$", "\\(": "\\)", "\\[": "\\]"}


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a text.

    Args:
        content: What is inside the delimiters, stripped.
        start: Index of the first character of the construct, delimiters included.
        end: Index behind its last character.
    """

    content: str
    start: int
    end: int


def closing_brace(text: str, opening: int) -> int:
    r"""Index of the brace that closes the one at `opening`, or -1; `\{`, `\}` and `\\` do not count."""
    depth = 0
    for match in _BRACE.finditer(text, opening):
        token = match.group()
        if token == "{":
            depth += 1
        elif token == "}":
            depth -= 1
            if depth == 0:
                return match.start()
    return -1


def _box_at(text: str, match: re.Match[str]) -> Span | None:
    option = _BOX_OPTION.match(text, match.end())
    at = option.end() if option else match.end()
    if text.startswith("{", at):
        end = closing_brace(text, at)
        return Span(text[at + 1 : end].strip(), match.start(), end + 1) if end >= 0 else None
    bare = _BARE_BOX.match(text, match.end())
    return Span(bare.group(1), match.start(), bare.end()) if bare else None


def last_boxed(text: str) -> Span | None:
    r"""The last balanced `\boxed{…}`, `\fbox{…}` or `\framebox{…}` (of nested ones the innermost).

    Only the last 8 openings are tried, so that a text of nothing but openings stays linear.
    """
    end = len(text)
    for _ in range(8):
        at = max(text.rfind("\\boxed", 0, end), text.rfind("\\fbox", 0, end), text.rfind("\\framebox", 0, end))
        if at < 0:
            return None
        match = _BOX.match(text, at)
        span = _box_at(text, match) if match else None
        if span is not None:
            return span
        end = at
    return None


def boxed_spans(text: str) -> list[Span]:
    """All balanced boxes that are not inside another one, in order."""
    spans: list[Span] = []
    at = 0
    failures = 0
    while failures < 8 and (match := _BOX.search(text, at)):
        span = _box_at(text, match)
        failures += span is None
        at = span.end if span else match.end()
        if span:
            spans.append(span)
    return spans


def final_boxes(text: str) -> list[Span]:
    r"""The last box and those right before it that only commas, "and" or spaces separate from it.

    `\boxed{2}, \boxed{3} and \boxed{5}` gives three spans: together they are one answer.
    """
    last = last_boxed(text)
    if last is None:
        return []
    group = [last]
    before = [span for span in boxed_spans(text[: last.start]) if span.end <= last.start]
    for span in reversed(before[-200:]):
        gap = text[span.end : group[-1].start]
        if len(gap) > 60 or "\n\n" in gap or not _BETWEEN_BOXES.fullmatch(gap):
            break
        group.append(span)
    return group[::-1]


def maths_spans(text: str) -> list[Span]:
    r"""All closed `$…$`, `$$…$$`, `\(…\)` and `\[…\]` spans in order; an unclosed opening is ignored."""
    spans: list[Span] = []
    opened: str | None = None
    start = inner = 0
    for match in _MATHS_DELIMITER.finditer(text):
        token = match.group()
        if opened is not None and token == _CLOSING[opened]:
            spans.append(Span(text[inner : match.start()].strip(), start, match.end()))
            opened = None
        elif token in _CLOSING and (opened is None or token not in ("$", "$$")):
            opened, start, inner = token, match.start(), match.end()
    return [span for span in spans if span.content]


def last_maths(text: str) -> Span | None:
    """The last of `maths_spans`."""
    spans = maths_spans(text)
    return spans[-1] if spans else None


def last_answer_phrase(text: str) -> Span | None:
    """What stands behind the last "the answer is", "Answer:", "####", a line's "A:" and the like.

    The content runs to the end of the sentence or line, at most 2,000 characters; a sentence end inside a maths span
    that opens the content does not count. Bold markers are taken off. Only the last 20 openings are tried.
    """
    lowered = text.lower()
    if not any(mark in lowered for mark in _PHRASE_MARKS):  # most texts have none, and the pattern is slow
        return None
    for match in reversed(deque(_PHRASE.finditer(text), maxlen=20)):
        span = _phrase_at(text, match)
        if span.content:
            return span
    return None


def _phrase_at(text: str, match: re.Match[str]) -> Span:
    before = _BEFORE_ANSWER.match(text, match.end())
    start = before.end() if before else match.end()
    limit = min(len(text), start + _MAX_PHRASE)
    end = _phrase_end(text, start, limit)
    return Span(text[start:end].strip().strip("*").strip(), match.start(), end)


def _phrase_end(text: str, at: int, limit: int) -> int:
    opening = _OPENING_MATHS.match(text, at)
    if opening:
        closing = _CLOSING[opening.group()]
        end = text.find(closing, opening.end(), limit)
        if end >= 0:
            at = end + len(closing)
    stop = _SENTENCE_END.search(text, at, limit)
    return stop.start() if stop else limit
