"""The `normalize_think` tool: one form for the thought of a trace, whatever way it is marked.

Published traces mark thinking in several ways: full `<think>...</think>` tags (Light-R1, R1); only the
closing tag, because the chat template opened it (R1, QwQ as served); a first line `think` and a later line
`answer` (s1); `<|begin_of_thought|>` tokens (Sky-T1, OpenThoughts, Bespoke-Stratos); no mark at all (LIMO).
Training on a mixture of them, or on a trace whose thought never ends, teaches a model to think in the open.
So a trace becomes exactly one `<think>...</think>` and an answer, or is reported with the reason why not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from data_tools.engine.execution import per_row
from data_tools.errors import DataToolsError
from data_tools.rows.columns import text
from data_tools.rows.row import Dropped, Row
from data_tools.traces.thoughts import THINK_TAGS, split_at_heading, split_think


def normalize_think_row(
    row: Row,
    *,
    column: str,
    on_fault: Literal["drop", "flag"],
    unmarked: Literal["fault", "heading"],
    think_tokens: list[str],
) -> Row | Dropped:
    """Normalise the trace of one row; see `normalize_think`."""
    trace = text(row, column)
    parts = split_think(trace, think_tokens)
    if parts.form == "none" and unmarked == "heading":
        parts = split_at_heading(trace)
    if parts.fault is None:
        return {**row, column: parts.joined(), "think_form": parts.form, "think_fault": None}
    if on_fault == "drop":
        return Dropped(row, parts.fault)
    return {**row, "think_form": parts.form, "think_fault": parts.fault}


def normalize_think(
    rows: Iterable[Row],
    *,
    column: str = "solution",
    on_fault: Literal["drop", "flag"] = "drop",
    unmarked: Literal["fault", "heading"] = "fault",
    think_tokens: list[str] | None = None,
) -> Iterator[Row | Dropped]:
    """Bring every trace to exactly one <think>...</think> and an answer, or drop it with the reason.

    Adds `think_form` (how the trace came) and `think_fault` (null, or the reason where faults are flagged).

    Args:
        rows: Rows with a trace.
        column: The column of the trace.
        on_fault: `drop` the row, or `flag` it: keep it unchanged with the reason in `think_fault`.
        unmarked: A trace without any mark is a `fault`, or is split at its last `heading` "Final Answer", if it
            has one (LIMO).
        think_tokens: Opening and closing tag of one's own, read beside the published ones.

    Drops:
        no_think: No mark of a thought, or nothing inside it.
        unclosed_think: The thought never ends: the trace was cut.
        ambiguous_think: Several or contradicting marks.
        no_answer_text: Nothing follows the thought.
    """
    if not column:
        raise DataToolsError("column: expected the name of a column")
    tags = list(THINK_TAGS) if think_tokens is None else think_tokens
    if len(tags) != 2 or not all(tags):
        raise DataToolsError(f"think_tokens: expected an opening and a closing tag, found {tags}")
    return per_row(normalize_think_row, rows, column=column, on_fault=on_fault, unmarked=unmarked, think_tokens=tags)
