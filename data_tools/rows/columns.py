"""Column schemas of public dumps, mapped to the canonical columns problem, solution, answer and messages.

Every other column is kept as it is. A dump is read as it was published:

- `problem`, `question`, `prompt`, `query` (text, or a TRL-style prompt of one user message) -> `problem`;
- `solution`, `response`, `completion` -> `solution`; `answer`, `final_answer`, `expected_answer`,
  `ground_truth` -> `answer`;
- alpaca `instruction` + `input` + `output` -> `problem`, `solution`;
- GSM8K's `answer`, a worked solution that ends with `#### 72` -> `solution` and `answer`;
- `messages`, or ShareGPT `conversations` with human/gpt or user/assistant and an optional `system` column:
  one exchange becomes `problem`, `solution` and `system`; anything longer stays as `messages`.

Capitals do not matter (`Question`, `Answer`). Any other worked solution is no final answer: taking one out is the
business of `data_tools.solutions.final_answer`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from data_tools.errors import DataToolsError
from data_tools.rows.row import PlacedRow, Row, place_of

CANONICAL = ("problem", "solution", "answer", "messages")

_ALIASES: dict[str, tuple[str, ...]] = {
    "problem": ("problem", "question", "prompt", "query"),
    "solution": ("solution", "response", "completion"),
    "answer": ("answer", "final_answer", "expected_answer", "ground_truth"),
    "messages": ("messages", "conversations"),
}
_GSM8K_END = re.compile(r"\n#### *(\S[^\n]*?)\s*\Z")
_ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "model": "assistant",
    "system": "system",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
}


def to_canonical(row: Row, columns: Mapping[str, str] | None = None) -> Row:
    """Return a row with canonical column names; other columns stay.

    Args:
        row: A row as it was read. It is not changed.
        columns: Canonical name -> column in the row. A dot reaches into a nested column
            (`answer=reward_model.ground_truth`). What is not named here is detected.

    Returns:
        The row, or a renamed copy that knows the same place.

    Raises:
        DataToolsError: If a named column does not exist, or a conversation or a text has the wrong type. The
            message names the place, the columns that exist and the nearest name.
    """
    renamed = dict(columns or {})
    values = dict(row)
    for canonical, column in renamed.items():
        if canonical not in CANONICAL:
            raise DataToolsError(f"`{canonical}` is no canonical column; expected one of {', '.join(CANONICAL)}")
        values[canonical] = _named(row, column)
        if column != canonical:
            values.pop(column, None)
    spelled = {name.lower(): name for name in reversed(values)}
    for canonical, aliases in _ALIASES.items():
        if canonical not in renamed:
            _rename(values, canonical, aliases, spelled)
    if "instruction" in values and "problem" not in values:
        _from_alpaca(row, values)
    if isinstance(values.get("problem"), list):
        values["problem"] = _only_user_text(row, values["problem"])
    if values.get("messages") is not None:
        _from_messages(row, values)
    if isinstance(values.get("answer"), int | float) and not isinstance(values["answer"], bool):
        values["answer"] = _number_text(values["answer"])
    _from_gsm8k(values)
    if values == row:
        return row
    return PlacedRow(values, row.place) if isinstance(row, PlacedRow) else values


def text(row: Row, column: str) -> str:
    """Return a column that must be text.

    Raises:
        DataToolsError: If it is missing or not text; the message names place, columns and nearest name.
    """
    value = row.get(column)
    if isinstance(value, str):
        return value
    if column not in row:
        raise DataToolsError(missing_column(row, column))
    raise DataToolsError(f"{place_of(row)}: column `{column}` must be text, found {type(value).__name__}")


def missing_column(row: Row, column: str) -> str:
    """Return the message for a column that a row lacks."""
    near = get_close_matches(column, list(row), n=1, cutoff=0.6)
    hint = f" Did you mean `{near[0]}`?" if near else ""
    if column in CANONICAL:
        hint += f" Name it with --columns {column}=COLUMN."
    return f"{place_of(row)}: no column `{column}`; the columns are {', '.join(sorted(row)) or 'none'}.{hint}"


def _named(row: Row, column: str) -> Any:
    """Return the value of a column named by the user, also a nested one."""
    if column in row:
        return row[column]
    value: Any = row
    for part in column.split("."):
        if not isinstance(value, Mapping) or part not in value:
            raise DataToolsError(missing_column(row, column))
        value = value[part]
    return value


def _rename(values: Row, canonical: str, aliases: tuple[str, ...], spelled: Mapping[str, str]) -> None:
    """Move the first alias that exists to the canonical name; `spelled` has the columns' own spelling."""
    used = next((alias for alias in aliases if values.get(alias) is not None), None)
    if used is None:
        used = next((spelled[alias] for alias in aliases if values.get(spelled.get(alias, "")) is not None), None)
    if used is not None and used != canonical and values.get(canonical) is None:
        values[canonical] = values.pop(used)


def _from_alpaca(row: Row, values: Row) -> None:
    instruction = text(row, "instruction")
    extra = values.pop("input", None)
    values.pop("instruction")
    values["problem"] = f"{instruction}\n\n{extra}" if extra else instruction
    if "output" in values and values.get("solution") is None:
        values["solution"] = values.pop("output")


def _from_gsm8k(values: Row) -> None:
    """Take a worked solution out of the answer column, where GSM8K has it."""
    answer = values.get("answer")
    if isinstance(answer, str) and values.get("solution") is None and (end := _GSM8K_END.search(answer)):
        values["solution"], values["answer"] = answer, end.group(1)


def _only_user_text(row: Row, messages: list[Any]) -> str:
    """Return the text of a prompt given as messages, which must be one user message (and system ones)."""
    turns = [turn for turn in _normal_messages(row, messages) if turn["role"] != "system"]
    if len(turns) != 1 or turns[0]["role"] != "user":
        raise DataToolsError(f"{place_of(row)}: a prompt of {len(turns)} turns; expected one user message")
    return str(turns[0]["content"])


def _from_messages(row: Row, values: Row) -> None:
    """Normalise `messages`; unfold a single exchange where the row has no problem of its own."""
    messages = _normal_messages(row, values["messages"])
    system = values.get("system")
    if isinstance(system, str) and system and (not messages or messages[0]["role"] != "system"):
        messages.insert(0, {"role": "system", "content": system})
    values["messages"] = messages
    roles = [message["role"] for message in messages]
    if values.get("problem") is not None:
        return
    if [role for role in roles if role != "system"] in (["user"], ["user", "assistant"]):
        del values["messages"]
        for name, role in (("system", "system"), ("problem", "user"), ("solution", "assistant")):
            if role in roles:
                values[name] = messages[roles.index(role)]["content"]
        return
    values.pop("system", None)
    if "user" in roles:
        values["problem"] = messages[roles.index("user")]["content"]


def _normal_messages(row: Row, messages: Any) -> list[dict[str, str]]:
    """Return messages as role/content dicts."""
    if not isinstance(messages, list):
        type_name = type(messages).__name__
        raise DataToolsError(f"{place_of(row)}: messages must be a list of messages, found {type_name}")
    return [_normal_message(row, message) for message in messages]


def _normal_message(row: Row, message: Any) -> dict[str, str]:
    if not isinstance(message, Mapping):
        raise DataToolsError(f"{place_of(row)}: a message must be an object, found {type(message).__name__}")
    role = message.get("role", message.get("from"))
    content = message.get("content", message.get("value"))
    if role not in _ROLES:
        raise DataToolsError(f"{place_of(row)}: unknown role {role!r}; expected one of {', '.join(_ROLES)}")
    if not isinstance(content, str):
        raise DataToolsError(f"{place_of(row)}: a message of {role} has no text (`content` or `value`)")
    return {"role": _ROLES[role], "content": content}


def _number_text(value: int | float) -> str:
    """Write a numeric answer as text; 27.0 is how tables store the integer 27."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
