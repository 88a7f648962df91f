r"""Multiple choice: the options that a problem lists, and the option that an answer is, begins with or ends with.

`$\textbf{(A)}\ 2 \qquad \textbf{(B)}\ 3$`, `(A) 2 (B) 3` and lines of `A. 2` are read. Option letters have to run
from A without a gap and must not be part of the maths, so that a point `A` or a list of cases is not taken for one.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

_WRAP = r"(?:\\(?:text|textbf|mathrm|mathbf|textrm|bold|rm|bf)(?![a-zA-Z])\s*)"
_SPACE = r"(?:\s|~|\\[ ,;:!]|\\q?quad(?![a-zA-Z]))*"
_MARK = re.compile(
    rf"{_WRAP}?\{{?{_SPACE}\(\s*{_WRAP}?\{{?\s*(?P<a>[A-J])\s*\}}?\s*\){_SPACE}\}}?"
    r"|(?<![\w\\(])(?P<b>[A-J])\)(?=\s|\}|\\|\$)"
    r"|(?:^|\n)\s*(?P<c>[A-J])[.:)]\s",
)
_EDGE = re.compile(r"^(?:\s|[$,;&~:]|\\\\|\\[ ,;:!&]|\\q?quad(?![a-zA-Z]))+|(?:\s|[$,;&~]|\\\\|\\[ ,;:!]|\\q?quad)+$")
_LETTER = re.compile(
    rf"(?:\\Rightarrow|\\implies)?{_SPACE}\$?{_WRAP}?\{{?\s*\(?\s*{_WRAP}?\{{?\s*(?P<letter>[A-Ja-j])"
    rf"\s*\}}?\s*\)?\s*\}}?\$?[.,;\s*]*"
)
_LABEL = re.compile(
    rf"^{_SPACE}(?:{_WRAP}\{{?)?{_SPACE}\(\s*{_WRAP}?\{{?\s*(?P<letter>[A-J])\s*\}}?\s*\){_SPACE}\}}?{_SPACE}"
    r"(?=\S)"
)
_ARROW = re.compile(
    rf"{_SPACE}(?:\\(?:Rightarrow|implies|rightarrow|to|longrightarrow)(?![a-zA-Z])|=>){_SPACE}"
    rf"(?:{_WRAP}\{{?)?{_SPACE}\(?\s*{_WRAP}?\{{?\s*[A-J]\s*\}}?\s*\)?\s*\}}?\s*$"
)
_NUMBER_LABEL = re.compile(rf"^{_WRAP}\{{\s*\(?\s*(?P<number>\d+)\s*\)?\s*\}}$|^\(\s*(?P<bare>\d+)\s*\)$")
_NO_OPTION = 400
_LABELLED = re.compile(r"\A\(\s*([A-J])\s*\)\s*\S")
_NAMED = re.compile(r"\(\s*([A-J])\s*\)|(?<![A-Za-z\\])([A-J])\s*(?:[).:]|\s[A-Za-z]{2,})")
_STATED = re.compile(
    r"\(\s*([A-J])\s*\)|(?:[Oo]ption|[Cc]hoice|[Aa]nswer)(?: is)?[:\s]*\**\s*([A-J])(?![A-Za-z])|^\**([A-J])[).]"
)
_OPTION_WORD = re.compile(r"\b(?:option|choice|answer)\b", re.IGNORECASE)


class Option(NamedTuple):
    """The option that an answer names.

    Args:
        letter: Its letter.
        alone: Whether the answer is the letter and nothing besides.
    """

    letter: str
    alone: bool


@lru_cache(maxsize=256)
def read_choices(problem: str) -> dict[str, str]:
    """Return the options of a problem, letter to text; empty where it lists none."""
    marks = [match for match in _MARK.finditer(problem)]
    start = len(marks)
    for index in range(len(marks) - 1, -1, -1):  # the last run from A: a problem may speak of cases before
        if _letter(marks[index]) == "A":
            start = index
            break
    run: list[re.Match[str]] = []
    for match in marks[start:]:
        if _letter(match) != chr(ord("A") + len(run)):
            break
        run.append(match)
    if len(run) < 3:
        return {}
    ends = [match.start() for match in run[1:]] + [len(problem)]
    options = {_letter(match): _trimmed(problem[match.end() : end]) for match, end in zip(run, ends, strict=True)}
    return options if all(0 < len(text) < _NO_OPTION for text in options.values()) else {}


def _letter(match: re.Match[str]) -> str:
    return match["a"] or match["b"] or match["c"]


def _trimmed(option: str) -> str:
    text = option.split("\n\n")[0]
    text = re.sub(r"\\(?:end|begin)\{[^{}]*\}(?:\{[^{}]*\})?", "", text)
    text = _EDGE.sub("", _EDGE.sub("", text))
    if text.count("$") == 1:
        text = text.replace("$", "")
    return text.strip()


def option_letter(answer: str) -> str | None:
    r"""Return the letter that an answer is, as written, and nothing besides: `(C)`, `\textbf{(C)}`, `c.`."""
    match = _LETTER.fullmatch(answer.strip()) if len(answer) < 60 else None
    return match["letter"] if match else None


def is_option(answer: str) -> bool:
    """Whether an answer is an option letter; one in lower case is a variable."""
    return (option_letter(answer) or "").isupper()


def gold_option(answer: str) -> Option | None:
    """Return the option that a gold answer is, or is labelled with: `C`, `(C) 195`."""
    return _option(answer, _LABELLED)


def named_option(answer: str) -> Option | None:
    """Return the first option that an answer names: `C`, `(C) 195`, `C because ...`."""
    return _option(answer, _NAMED)


def _option(answer: str, pattern: re.Pattern[str]) -> Option | None:
    letter = option_letter(answer)
    if letter and letter.isupper():
        return Option(letter, alone=True)
    match = pattern.search(answer)
    return Option(match[match.lastindex or 0], alone=False) if match else None


def same_option(answer: Option, gold: Option) -> str | None:
    """Return the reason why options agree, an empty text if they differ, None where both state a value too."""
    if not (answer.alone or gold.alone):
        return None
    return "same choice" if answer.letter == gold.letter else ""


def last_option(output: str) -> str:
    """Return the option letter that a longer output ends with; an empty text for a bare answer or a box."""
    tail = output[-400:]
    if "\\box" in tail or (len(output) < 20 and not _OPTION_WORD.search(tail)):
        return ""
    letters = _STATED.findall(tail)
    return "".join(letters[-1]) if letters else ""


def without_label(answer: str) -> str:
    r"""Take the option letter off an answer that also states the value: `\textbf{(C) }195` becomes `195`."""
    answer = _ARROW.sub("", answer).strip()
    number = _NUMBER_LABEL.match(answer)
    if number:
        return number["number"] or number["bare"]
    match = None if option_letter(answer) else _LABEL.match(answer)
    if not match:
        return answer
    return _EDGE.sub("", answer[match.end() :]).strip()
