"""Render rows of any known form into token ids with labels, whole or not at all.

A row that is too long is lost or loses the beginning of its thought, never its prompt, its answer or its end token.
A lost row is returned empty with the reason, so that the caller can count it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from data_tools.rows.columns import to_canonical
from light_r1.errors import DataError
from light_r1.models.chat import IGNORE, ChatFormat


class LengthRule(Protocol):
    """What rendering reads of the trainer's config."""

    max_length: int | None
    overlength: str
    missing_think: str
    dataset_text_field: str
    completion_only_loss: bool | None


def problem_and_solution(row: Mapping[str, Any], where: str) -> tuple[str | list[dict[str, str]], str]:
    """Return the problem (text or conversation) and the solution of a row in any schema `data_tools` knows.

    Raises:
        DataError: The row has no problem or no solution.
    """
    canonical = to_canonical(dict(row))
    messages = canonical.get("messages")
    if messages and canonical.get("solution") is None:
        if messages[-1]["role"] != "assistant" or len(messages) < 2:
            raise DataError(f"{where}: messages must end with an assistant turn, the roles are {_roles(messages)}")
        system = [{"role": "system", "content": canonical["system"]}] if canonical.get("system") else []
        return [*(system if messages[0]["role"] != "system" else []), *messages[:-1]], messages[-1]["content"]
    problem, solution = canonical.get("problem"), canonical.get("solution")
    if not isinstance(problem, str) or not isinstance(solution, str):
        raise DataError(
            f"{where}: expected problem and solution, messages or text; the columns are {', '.join(sorted(row))}"
        )
    if canonical.get("system"):
        return [
            {"role": "system", "content": canonical["system"]},
            {"role": "user", "content": problem},
        ], solution
    return problem, solution


def render_row(row: dict[str, Any], index: int, chat: ChatFormat, args: LengthRule, name: str) -> dict[str, Any]:
    """Return `input_ids`, `labels`, `length` and `reason` (empty for kept rows) of a row of text.

    Raises:
        DataError: The row has no known form, or is of a kind that `args` treats as an error.
    """
    where = f"{name} dataset row {index}"
    text = row.get(args.dataset_text_field)
    if text is not None:
        ids = [*chat.encode(text), chat.end_token_id]
        return _fitted(ids, list(ids), chat, args, where)
    problem, solution = problem_and_solution(row, where)
    fault = chat.fault(solution)
    if fault is not None and not (fault == "no_think" and args.missing_think == "keep"):
        if args.missing_think == "error":
            raise DataError(f"{where}: the solution's thought has the fault {fault}: {solution[:80]!r}")
        return _lost(fault, 0)
    rendered = chat.render(problem, solution)
    fitted = _fitted(rendered.input_ids, rendered.labels, chat, args, where)
    return fitted if args.completion_only_loss is not False else {**fitted, "labels": fitted["input_ids"]}


def fit_row(row: dict[str, Any], index: int, chat: ChatFormat, args: LengthRule, name: str) -> dict[str, Any]:
    """Return what `render_row` does for a row that has `input_ids` and `labels` already."""
    return _fitted(row["input_ids"], row["labels"], chat, args, f"{name} dataset row {index}")


def join_rows(rows: dict[str, list[Any]], difficulty_column: str) -> dict[str, Any]:
    """Return one packed row of several, with the length (and the difficulty) of each."""
    joined = {
        "input_ids": [i for ids in rows["input_ids"] for i in ids],
        "labels": [i for labels in rows["labels"] for i in labels],
        "seq_lengths": rows["length"],
        "length": sum(rows["length"]),
    }
    return joined | ({difficulty_column: rows[difficulty_column]} if difficulty_column in rows else {})


def _fitted(ids: list[int], labels: list[int], chat: ChatFormat, args: LengthRule, where: str) -> dict[str, Any]:
    length, limit = len(ids), args.max_length
    if limit is not None and length > limit:
        if args.overlength == "error":
            raise DataError(f"{where}: {length} tokens, more than max_length={limit}")
        tail = limit - _opened_at(ids, labels, chat) if args.overlength == "keep_end_of_thought" else 0
        if tail <= 0 or not _ends_a_thought(ids[-tail:], chat):
            return _lost("overlength", length)
        head = limit - tail
        ids, labels = ids[:head] + ids[-tail:], labels[:head] + labels[-tail:]
    if all(label == IGNORE for label in labels):
        return _lost("nothing_supervised", length)
    return {"input_ids": ids, "labels": labels, "length": len(ids), "reason": ""}


def _opened_at(ids: Sequence[int], labels: Sequence[int], chat: ChatFormat) -> int:
    """Return where the thought begins, behind its opening tag; the length of the row if it has none."""
    opening = chat.encode(chat.opening)
    first = next((i for i, label in enumerate(labels) if label != IGNORE), len(ids))
    for start in (first, first - len(opening)):  # a forced tag may be a masked part of the prompt
        if opening and list(ids[max(0, start) : start + len(opening)]) == opening:
            return start + len(opening)
    return len(ids)


def _ends_a_thought(tail: Sequence[int], chat: ChatFormat) -> bool:
    # Decoded, as a tag that is no token of its own merges with what stands around it.
    return bool(chat.think_tokens) and chat.think_tokens[1] in chat.tokenizer.decode(tail)


def _lost(reason: str, length: int) -> dict[str, Any]:
    return {"input_ids": [], "labels": [], "length": length, "reason": reason}


def _roles(messages: Sequence[Mapping[str, str]]) -> str:
    return ", ".join(message["role"] for message in messages)
