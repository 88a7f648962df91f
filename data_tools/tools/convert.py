"""The `convert` tool: rows in the schemas that trainers read: prompt and completion, messages, preference.

Whatever schema a dump has, `data_tools.rows.columns` has made `problem`, `solution` or `messages` of it before. Here
they become what TRL takes: `prompt` + `completion` (SFT), `messages` (SFT), `prompt` + `chosen` + `rejected` (DPO),
as plain text or, conversational, as messages, which the model's own chat template renders. Columns that the new
schema replaces go, all others stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from data_tools.engine.execution import per_row
from data_tools.errors import DataToolsError
from data_tools.rows.columns import text
from data_tools.rows.row import Dropped, Row, place_of

Schema = Literal["prompt_completion", "messages", "preference"]
Message = dict[str, str]

_REPLACED = {"problem", "solution", "messages", "system", "chosen", "rejected"}
_ROLES = {"human": "user", "gpt": "assistant", **{role: role for role in ("user", "assistant", "system", "tool")}}


def convert(
    rows: Iterable[Row],
    *,
    to: Schema,
    conversational: bool = False,
    system: str | None = None,
    suffix: str = "",
    drop_columns: list[str] = [],  # noqa: B006  never changed
) -> Iterator[Row | Dropped]:
    r"""Convert rows to prompt/completion, messages or preference rows, as TRL reads them.

    The prompt comes from `problem` (or `messages`), the completion from `solution`, the preference from `chosen`
    and `rejected`: each a text, a message, or messages (ShareGPT names too). `solution` serves as chosen where
    there is only `rejected`.

    Args:
        rows: Rows with canonical columns.
        to: `prompt_completion` (`prompt`, `completion`), `messages`, or `preference` (`prompt`, `chosen`,
            `rejected`).
        conversational: Write prompts and completions as messages; always so in the schema messages.
        system: A system message for every row; the row's own `system` by default. Needs messages.
        suffix: Text behind every problem, such as " Let's think step by step and output the final answer within
            \boxed{}."
        drop_columns: Other columns to leave out.

    Drops:
        no_prompt: No problem and no conversation.
        no_completion: No solution, or an empty one.
        no_pair: No chosen or no rejected answer.
        same_pair: Chosen and rejected are the same.
        several_turns: A conversation of several turns, which plain text cannot hold.
    """
    as_messages = conversational or to == "messages"
    if system is not None and not as_messages:
        raise DataToolsError("system: plain text has no place for a system message; add conversational")
    options = {"to": to, "as_messages": as_messages, "system": system, "suffix": suffix}
    return per_row(convert_row, rows, drop_columns=drop_columns, **options)


def convert_row(
    row: Row, *, to: Schema, as_messages: bool, system: str | None, suffix: str, drop_columns: list[str]
) -> Row | Dropped:
    """Convert one row; see `convert`."""
    prompt, answer = _conversation(row, system, suffix)
    if not prompt:
        return Dropped(row, "no_prompt")
    if to == "preference":
        chosen, rejected = (_answer(row, column) for column in ("chosen", "rejected"))
        answers = {"chosen": chosen or answer, "rejected": rejected}
        if not all(answers.values()):
            return Dropped(row, "no_pair")
        if answers["chosen"] == answers["rejected"]:
            return Dropped(row, "same_pair")
    else:
        answers = {"completion": answer}
        if not answer:
            return Dropped(row, "no_completion")
    rest = {name: value for name, value in row.items() if name not in _REPLACED and name not in drop_columns}
    if to == "messages":
        return {"messages": [*prompt, _message("assistant", answers["completion"])], **rest}
    if as_messages:
        replies = {name: [_message("assistant", reply)] for name, reply in answers.items()}
        return {"prompt": prompt, **replies, **rest}
    if [message["role"] for message in prompt if message["role"] != "system"] != ["user"]:
        return Dropped(row, "several_turns")
    return {"prompt": prompt[-1]["content"], **answers, **rest}


def _conversation(row: Row, system: str | None, suffix: str) -> tuple[list[Message], str]:
    """Return the messages up to the last answer, and that answer (empty if there is none)."""
    messages = [_checked(row, "messages", message) for message in row.get("messages") or []]
    answer = _answer(row, "solution")
    if messages and messages[-1]["role"] == "assistant":
        answer = messages.pop()["content"]
    if not messages and row.get("problem") not in (None, ""):
        messages = [_message("user", text(row, "problem"))]
    own_system = text(row, "system") if system is None and row.get("system") is not None else system
    if own_system and messages:
        messages = [_message("system", own_system), *(m for m in messages if m["role"] != "system")]
    if not messages or messages[-1]["role"] != "user":
        return [], answer
    return [*messages[:-1], _message("user", messages[-1]["content"] + suffix)], answer


def _answer(row: Row, column: str) -> str:
    """Return the text of an answer given as text, as a message, or as messages; empty if there is none."""
    value = row.get(column)
    if isinstance(value, list) and value:
        value = value[-1]
    if not value:
        return ""
    if isinstance(value, str):
        return value
    message = _checked(row, column, value)
    if message["role"] != "assistant":
        raise DataToolsError(f"{place_of(row)}: column `{column}` ends with a message of {message['role']}")
    return message["content"]


def _checked(row: Row, column: str, value: Any) -> Message:
    """Return a message of any naming as role and content."""
    if isinstance(value, Mapping):
        role, content = value.get("role", value.get("from")), value.get("content", value.get("value"))
        if role in _ROLES and isinstance(content, str):
            return _message(_ROLES[role], content)
    raise DataToolsError(f"{place_of(row)}: column `{column}` holds neither text nor messages: {str(value)[:60]!r}")


def _message(role: str, content: str) -> Message:
    return {"role": role, "content": content}
