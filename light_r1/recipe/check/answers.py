"""Whether a gold answer is something the verifier can compare with, told by its form alone."""

from __future__ import annotations

import re
from typing import Any

from data_tools.answers.marks import last_boxed

_WORDS = re.compile(r"[A-Za-z]{2,}")
_FREE_TEXT_WORDS = 8
_COMMAND = re.compile(r"\\[A-Za-z]+")
_TOWER = re.compile(r"(?:\d+\s*\^\s*\{?\s*){3}\d")
_MISSING = ("nan", "none", "null", "n/a", "<na>")
_EMPTY_BOX = re.compile(r"\\f?box(?:ed)?\s*\{\s*\}")


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
    bare = _bare(text)
    shown = f"{text[:40]!r}"
    if bare.strip().lower() in _MISSING:
        return f"is {bare.strip()!r}: a table's mark of a missing value"
    if not bare.strip(" .,;$"):
        return f"{shown} holds no answer"
    if bare.count("{") != bare.count("}"):
        return f"{shown} has braces that do not balance"
    if len(_WORDS.findall(_COMMAND.sub(" ", bare))) > _FREE_TEXT_WORDS:
        return f"{shown} is free text"
    if _TOWER.search(bare):
        return f"{shown} cannot be graded: a tower of powers"
    return None


def _bare(text: str) -> str:
    """Return what a box holds, what follows GSM8K's `####`, or the text itself."""
    box = last_boxed(text)
    if box is not None:
        return box.content
    if _EMPTY_BOX.search(text):
        return ""
    return text.rpartition("####")[2]
