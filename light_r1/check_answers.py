"""Whether a gold answer is something the verifier can compare with, told without loading sympy."""

from __future__ import annotations

import re
from typing import Any

from data_tools.normalize import clean
from data_tools.symbolic import Refused, guard
from data_tools.verify import gold_answer

_WORDS = re.compile(r"[A-Za-z]{2,}")
_FREE_TEXT_WORDS = 8
_COMMAND = re.compile(r"\\[A-Za-z]+")


def answer_fault(answer: Any) -> str | None:
    """Return what is wrong with a gold answer, or `None`.

    Args:
        answer: The value of a row's `answer`: a text, a number, or a list of texts of which each is right.
    """
    if answer is None:
        return "is missing"
    if isinstance(answer, list):
        faults = [answer_fault(item) for item in answer]
        return "is an empty list" if not answer else next((fault for fault in faults if fault), None)
    if isinstance(answer, bool | dict):
        return f"is {answer!r}, not a text"
    text = str(answer)
    if not text.strip():
        return "is empty"
    bare = clean(gold_answer(text))
    if not bare:
        return f"{text[:40]!r} holds no answer"
    if bare.count("{") != bare.count("}"):
        return f"{text[:40]!r} has braces that do not balance"
    if len(_WORDS.findall(_COMMAND.sub(" ", bare))) > _FREE_TEXT_WORDS:
        return f"{text[:40]!r} is free text"
    try:
        guard(bare)
    except Refused as error:
        return f"{text[:40]!r} cannot be graded: {error}"
    return None
