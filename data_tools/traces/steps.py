"""The steps of a long thought, without an LLM: cut where the flow of thought breaks.

arXiv 2502.07374 has a language model cut traces wherever there is backtracking, self-validation, reflection or another
break in the linear flow. Such breaks announce themselves: a sentence that begins with "Wait", "Alternatively",
"Let me check" or "But hold on" opens a new step. Nothing is lost: the steps joined are the thought. The words are
our own list, since the paper's keyword list is not in the published text.
"""

from __future__ import annotations

import re
from itertools import pairwise

_OPENINGS = (
    r"wait|hmm+|hm+|hold\s+on|alternatively|actually|oh|ah|oops|no,|however|but|maybe|perhaps|again|"
    r"another\s+(?:way|approach|method|idea)|on\s+second\s+thou?ght|on\s+the\s+other\s+hand|"
    r"let\s*(?:me|'s|\s+us)\s+(?:\w+\s+)?(?:re-?\w+|check|verify|double|try|think|see|confirm|consider|test|start|go\s+back)|"
    r"to\s+(?:verify|check|confirm|double)|i\s+(?:think|should|need\s+to|must|might|made|wonder)|"
    r"(?:is|are|does|did|what\s+if|what\s+about)\b[^.\n]{0,80}\?|now,?|next,?|first,?|second(?:ly)?,?|finally,?|"
    r"so,?\s+(?:wait|let|to|in\s+(?:summary|total))|therefore,?\s+the\s+(?:final\s+)?answer|step\s+\d+|case\s+\d+"
)
_REFLECTION = re.compile(
    r"\b(?:wait|hmm+|hold\s+on|alternatively|actually|oops|but|however|maybe|perhaps|again|"
    r"let\s*(?:me|'s|\s+us)\s+(?:\w+\s+)?(?:re-?\w+|check|verify|double|think|confirm)|"
    r"double[- ]check|on\s+second\s+thought|another\s+(?:way|approach|method)|verify|mistake|wrong)\b",
    re.IGNORECASE,
)
_BREAK = re.compile(rf"(?:(?<=\n)|(?<=[.!?]\s)|(?<=[.!?]\s\s))(?=[\"'*(]{{0,2}}(?:{_OPENINGS})\b)", re.IGNORECASE)
_PARAGRAPH = re.compile(r"(?<=\n\n)(?=\S)")
_SENTENCE = re.compile(r"(?<=[.!?]\s)(?=\S)|(?<=\n)(?=\S)|(?<=[.!?][\"')]\s)(?=\S)")


def steps_of(thought: str, *, min_chars: int = 80) -> list[str]:
    """Cut a thought into steps.

    Args:
        thought: The text of a thought, without its marks.
        min_chars: A piece shorter than this is joined to the next: "Hmm." is no step of its own.

    Returns:
        The steps; joined they are the thought again. A thought without any break is cut at its paragraphs.
    """
    if min_chars < 1:
        raise ValueError(f"min_chars: expected 1 or more, found {min_chars}")
    steps = _merged(_cut(thought, _BREAK), min_chars)
    return steps if len(steps) > 1 else _merged(_cut(thought, _PARAGRAPH), min_chars)


def sentences_of(text: str) -> list[str]:
    """Cut a text at the ends of sentences and lines; joined, the sentences are the text."""
    return _cut(text, _SENTENCE)


def reflects(sentence: str) -> bool:
    """Say whether a sentence has a word of reflection or backtracking: wait, but, alternatively, let me check."""
    return _REFLECTION.search(sentence) is not None


def _cut(text: str, pattern: re.Pattern[str]) -> list[str]:
    places = sorted({0, *(match.start() for match in pattern.finditer(text)), len(text)})
    return [text[start:end] for start, end in pairwise(places)]


def _merged(pieces: list[str], min_chars: int) -> list[str]:
    steps: list[str] = []
    pending = ""
    for piece in pieces:
        pending += piece
        if len(pending) >= min_chars:
            steps.append(pending)
            pending = ""
    if pending and steps:
        steps[-1] += pending
    elif pending:
        steps.append(pending)
    return steps
