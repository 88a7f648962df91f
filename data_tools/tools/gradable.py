r"""The `gradable` tool: drop problems whose answer the verifier cannot grade (third step of DeepScaleR).

A reward is only as good as the gold answer: free text, a proof, a picture nobody sees, a number too large to compare
or a text outside the verifier's grammar grades right outputs wrong. The answer is read by the verifier's own parser,
so that what passes here is what `data_tools.answers.verify` can compare. Whether the answer is right is not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from data_tools.answers.gradable import why_ungradable
from data_tools.engine.execution import per_row
from data_tools.rows.columns import text
from data_tools.rows.row import Dropped, Row
from data_tools.solutions.question import read_question

_FIGURE = re.compile(
    r"\b(?:see|shown|given|depicted|drawn|illustrated|displayed|pictured)\s+(?:\w+\s+){0,4}?"
    r"(?:figures?|diagrams?|pictures?|drawings?|charts?)\b"
    r"|\b(?:figures?|diagrams?|pictures?|charts?)\s+(?:\w+\s+){0,2}?(?:below|above|shown|at\s+(?:the\s+)?right)\b"
    r"|\b(?:in|on|from|of)\s+(?:the|this)\s+(?:adjacent\s+)?(?:figure|diagram)\b"
    r"|\bas\s+shown\b(?!\s+(?:in|by)\s+\w+\s+(?:table|equation))|<img|!\[[^\]]*\]\(|\\includegraphics",
    re.IGNORECASE,
)
_PICTURE_IN_TEXT = re.compile(
    r"\[asy\]|\\begin\{(?:tikzpicture|asy|tabular|array|picture)\}|\|\s*-{3,}", re.IGNORECASE
)


def gradable(
    rows: Iterable[Row],
    *,
    max_chars: int = 200,
    allow_text: bool = False,
    allow_figures: bool = False,
) -> Iterator[Row | Dropped]:
    """Keep problems whose answer the verifier can grade.

    Args:
        rows: Problems with an answer; a list of answers is gradable if each is.
        max_chars: Longest answer kept.
        allow_text: Keep answers that are a word or a name, such as "Tuesday", compared as texts; no sentences.
        allow_figures: Keep problems that speak of a figure which is not in the text.

    Drops:
        no_answer: The answer is missing, empty, or a table's mark of a missing value such as nan.
        too_long: It is longer than max_chars.
        proof: The problem asks for a proof.
        needs_figure: The problem speaks of a figure that is not in its text.
        letter: The answer is an option letter, and the problem does not list the options.
        free_text: The answer is words.
        unbounded: The answer is a number too large to compare.
        unparsable: The verifier cannot read the answer; the match says why.
    """
    return per_row(check_gradable, rows, max_chars=max_chars, allow_text=allow_text, allow_figures=allow_figures)


def check_gradable(row: Row, *, max_chars: int, allow_text: bool, allow_figures: bool) -> Row | Dropped:
    """Keep or drop one row; see `gradable`."""
    problem = text(row, "problem")
    longest = max(map(len, _texts(row.get("answer"))), default=0)
    why = why_ungradable(row.get("answer"), problem, allow_text=allow_text) if longest <= max_chars else None
    if why and why.reason == "no_answer":
        return Dropped(row, why.reason)
    if longest > max_chars:
        return Dropped(row, "too_long", longest)
    if read_question(problem).proof == "only":
        return Dropped(row, "proof")
    if not allow_figures and needs_figure(problem):
        return Dropped(row, "needs_figure")
    return Dropped(row, why.reason, why.detail) if why else row


def needs_figure(problem: str) -> bool:
    """Say whether a problem speaks of a figure, and its text draws none."""
    return bool(_FIGURE.search(problem)) and not _PICTURE_IN_TEXT.search(problem)


def _texts(answer: object) -> list[str]:
    return [str(item).strip() for item in (answer if isinstance(answer, list) else [answer])]
