"""Where the thought of a trace ends, for every published form and for think tags of one's own.

`behind_thought` reads what a model wrote, whose tags are known; `split_think` what it is to be trained on, in any
form, and refuses what has two readings; `behind_any_tag` a text of unknown origin.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

ThinkForm = Literal["tags", "close_only", "bare_word", "thought_tokens", "none"]
ThinkFault = Literal["no_think", "unclosed_think", "ambiguous_think", "no_answer_text"]
THINK_TAGS = ("<think>", "</think>")
_OPEN, _CLOSE = THINK_TAGS
_S1_START = re.compile(r"\s*(?:<\|im_start\|>)?think[ \t]*\n")
_S1_ANSWER = re.compile(r"^(?:<\|im_start\|>)?answer[ \t]*\n", re.MULTILINE)
# LIMO's traces have no mark, but think aloud up to this heading.
_HEADING = re.compile(r"^[ \t]*(?:#+[ \t]*|\*\*)Final Answer\b.*$", re.MULTILINE | re.IGNORECASE)
_ANY_END = re.compile(r"</(?:think|thinking|reasoning)>", re.IGNORECASE)
_ANY_START = re.compile(r"<(?:think|thinking|reasoning)>", re.IGNORECASE)
_TOKENS = re.compile(r"<\|(begin|end)_of_(thought|solution)\|>")


@dataclass(frozen=True, slots=True)
class ThinkParts:
    """A trace taken apart.

    Args:
        thought: The text of the thought, without marks; empty for a model without thoughts, None if there is a fault.
        answer: The text behind it; None if there is a fault.
        form: How the trace marks its thought.
        fault: Why it cannot be taken apart; None if it was.
    """

    thought: str | None
    answer: str | None
    form: ThinkForm
    fault: ThinkFault | None = None

    def joined(self) -> str:
        """Return the trace in the one normal form.

        Raises:
            ValueError: If the trace has a fault.
        """
        if self.thought is None or self.answer is None:
            raise ValueError(f"a trace with the fault {self.fault} has no normal form")
        return join_think(self.thought, self.answer)


def join_think(thought: str, answer: str) -> str:
    """Return the normal form of a trace: `<think>`, the thought, `</think>`, a blank line, the answer."""
    return f"{_OPEN}\n{thought.strip()}\n{_CLOSE}\n\n{answer.strip()}"


def behind_thought(text: str, tags: Sequence[str] = THINK_TAGS) -> str | None:
    """Return what stands behind the thought of a model's response: that is graded, nothing else.

    The thought ends at the last closing tag: one that is closed twice, or whose tag is named again in the answer, ends
    there. The opening tag need not be there, as the prompt may have held it. A text with neither tag is all answer.
    Tags count to the letter, so that those of other forms are plain text.

    Args:
        text: A whole response.
        tags: Opening and closing tag; empty for a model without thoughts, of which everything is answer.

    Returns:
        The text behind the thought, or `None` if the thought never closes: its opening tag is there, the closing one
        is not.
    """
    if not tags:
        return text
    opening, closing = tags
    _, closed, answer = text.rpartition(closing)
    return None if not closed and opening in answer else answer


def behind_any_tag(text: str) -> str:
    """Return what follows the last closing tag of any known name; the whole text where nothing follows or no tag is.

    Of a thought that is opened and never closed nothing follows: the result is empty.
    """
    ends = deque(_ANY_END.finditer(text) if "</" in text else (), maxlen=1)
    if not ends and _ANY_START.search(text):
        return ""
    rest = text[ends[-1].end() :] if ends else ""
    return rest if rest.strip() else text


def split_think(trace: str, tags: Sequence[str] = THINK_TAGS) -> ThinkParts:
    """Take a trace apart into thought and answer.

    The marks are `tags` or those of any published form. The opening tag may be missing, or stand at the start twice.

    Args:
        trace: The text of a completion.
        tags: Opening and closing tag of one's own; empty for a model without thoughts, of which all is answer.

    Returns:
        The parts. Faults: `no_think` (no mark, or nothing thought), `unclosed_think` (the thought never
        ends), `ambiguous_think` (marks that allow more than one reading), `no_answer_text` (nothing behind
        the thought).
    """
    if not tags:
        return ThinkParts("", trace.strip(), "none")
    for own, usual in zip(tags, THINK_TAGS, strict=True):
        trace = trace.replace(own, usual)
    if _TOKENS.search(trace):
        return _split_tokens(trace)
    opens, closes = trace.count(_OPEN), trace.count(_CLOSE)
    s1 = _S1_START.match(trace)
    if opens == closes == 0:
        return _split_bare_word(trace, s1.end()) if s1 else ThinkParts(None, None, "none", "no_think")
    if opens == 0:
        if closes > 1 or s1:
            return ThinkParts(None, None, "close_only", "ambiguous_think")
        return _parts("close_only", *trace.split(_CLOSE))
    start = trace.index(_OPEN)
    body = trace[start:]
    while body.lstrip().startswith(_OPEN):  # template and model may both have opened it
        body = body.lstrip()[len(_OPEN) :]
    if trace[:start].strip() or body.count(_OPEN) or closes > 1:
        return ThinkParts(None, None, "tags", "ambiguous_think")
    if closes == 0:
        return ThinkParts(None, None, "tags", "unclosed_think")
    return _parts("tags", *body.split(_CLOSE))


def split_at_heading(trace: str) -> ThinkParts:
    """Take a trace without marks apart at its last heading `**Final Answer**`, which begins the answer.

    Returns:
        The parts, or the fault `no_think` where there is no such heading.
    """
    headings = list(_HEADING.finditer(trace))
    if not headings:
        return ThinkParts(None, None, "none", "no_think")
    start = headings[-1].start()
    return _parts("none", trace[:start], trace[start:])


def _split_bare_word(trace: str, start: int) -> ThinkParts:
    """Split the s1 form, whose `answer` line is often followed by a second marker, `Answer:`."""
    marks = list(_S1_ANSWER.finditer(trace, start))
    if len(marks) != 1:
        return ThinkParts(None, None, "bare_word", "ambiguous_think" if marks else "unclosed_think")
    answer = trace[marks[0].end() :].lstrip().removeprefix("Answer:")
    return _parts("bare_word", trace[start : marks[0].start()], answer)


def _split_tokens(trace: str) -> ThinkParts:
    marks = [mark.group(1) + "_" + mark.group(2) for mark in _TOKENS.finditer(trace)]
    pieces = _TOKENS.split(trace)[::3]
    if marks[:1] == ["begin_thought"] and "end_thought" not in marks:
        return ThinkParts(None, None, "thought_tokens", "unclosed_think")
    order = ["begin_thought", "end_thought", "begin_solution", "end_solution"]
    if marks not in (order, order[:3], order[:2]) or pieces[0].strip():
        return ThinkParts(None, None, "thought_tokens", "ambiguous_think")
    return _parts("thought_tokens", pieces[1], "".join(pieces[2:]))


def _parts(form: ThinkForm, thought: str, answer: str) -> ThinkParts:
    if any(tag in thought + answer for tag in (_OPEN, _CLOSE)):  # a mark of another form inside this one
        return ThinkParts(None, None, form, "ambiguous_think")
    if not thought.strip():
        return ThinkParts(None, None, form, "no_think")
    if not answer.strip():
        return ThinkParts(None, None, form, "no_answer_text")
    return ThinkParts(thought.strip(), answer.strip(), form)
