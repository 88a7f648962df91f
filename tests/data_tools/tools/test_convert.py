"""Schemas of trainers: what they hold is what the row held, and reading them gives it back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_tools.errors import DataToolsError
from data_tools.rows.columns import to_canonical
from data_tools.rows.files import read_rows
from data_tools.rows.row import Dropped
from data_tools.tools.convert import convert
from tests.shared import shared_file

ROW = {"problem": "Q", "solution": "S", "id": 1, "answer": "2"}
SYSTEM, USER, ASSISTANT = (
    {"role": role, "content": text} for role, text in (("system", "Y"), ("user", "Q"), ("assistant", "S"))
)


def one(row, **options):
    (result,) = convert([to_canonical(row)], **options)
    return result


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"to": "prompt_completion"}, {"prompt": "Q", "completion": "S"}),
        ({"to": "prompt_completion", "suffix": " Go."}, {"prompt": "Q Go.", "completion": "S"}),
        ({"to": "prompt_completion", "conversational": True}, {"prompt": [USER], "completion": [ASSISTANT]}),
        ({"to": "messages"}, {"messages": [USER, ASSISTANT]}),
        ({"to": "messages", "system": "Y"}, {"messages": [SYSTEM, USER, ASSISTANT]}),
    ],
)
def test_a_problem_with_its_solution_becomes(options, expected):
    assert one(ROW, **options) == {**expected, "id": 1, "answer": "2"}
    assert one(ROW, drop_columns=["id", "answer"], **options) == expected


@pytest.mark.parametrize(
    "pair",
    [
        {"chosen": "S", "rejected": "R"},
        {"solution": "S", "rejected": "R"},
        {"chosen": {"from": "gpt", "value": "S"}, "rejected": {"from": "gpt", "value": "R"}},
        {"chosen": [USER, ASSISTANT], "rejected": [{"role": "assistant", "content": "R"}]},
    ],
)
def test_a_preference_is_taken_from_every_way_it_is_written(pair):
    assert one({"question": "Q", **pair}, to="preference") == {"prompt": "Q", "chosen": "S", "rejected": "R"}
    found = one({"conversations": [{"from": "human", "value": "Q"}], **pair}, to="preference", conversational=True)
    assert found == {"prompt": [USER], "chosen": [ASSISTANT], "rejected": [{"role": "assistant", "content": "R"}]}


def test_the_last_answer_of_a_longer_conversation_is_the_completion():
    row = {"messages": [USER, ASSISTANT, USER, {"role": "assistant", "content": "T"}], "system": "Y"}
    found = one(row, to="prompt_completion", conversational=True)
    assert found["prompt"] == [SYSTEM, USER, ASSISTANT, USER]
    assert found["completion"] == [{"role": "assistant", "content": "T"}]
    assert one(row, to="prompt_completion").reason == "several_turns"
    assert len(one(row, to="messages", system="Z")["messages"]) == 5


@pytest.mark.parametrize(
    ("row", "to", "reason"),
    [
        ({"solution": "S"}, "messages", "no_prompt"),
        ({"messages": [USER, ASSISTANT, ASSISTANT]}, "messages", "no_prompt"),
        ({"problem": "Q"}, "prompt_completion", "no_completion"),
        ({"problem": "Q", "solution": ""}, "messages", "no_completion"),
        ({"problem": "Q", "chosen": "S"}, "preference", "no_pair"),
        ({"problem": "Q", "chosen": "S", "rejected": [ASSISTANT]}, "preference", "same_pair"),
    ],
)
def test_what_cannot_be_converted_is_dropped_with_its_reason(row, to, reason):
    dropped = one(row, to=to)
    assert isinstance(dropped, Dropped) and dropped.reason == reason


def test_wrong_values_and_options_are_named():
    with pytest.raises(DataToolsError, match="add conversational"):
        convert([], to="prompt_completion", system="Y")
    with pytest.raises(DataToolsError, match="column `chosen` holds neither text nor messages: '7'"):
        one({"problem": "Q", "chosen": 7, "rejected": "R"}, to="preference")
    with pytest.raises(DataToolsError, match="ends with a message of user"):
        one({"problem": "Q", "chosen": "S", "rejected": [USER]}, to="preference")


@given(st.text(min_size=1), st.text(min_size=1), st.sampled_from(["prompt_completion", "messages"]), st.booleans())
def test_reading_a_converted_row_gives_the_row_back(problem, solution, to, conversational):
    row = {"problem": problem, "solution": solution, "id": 3}
    converted = one(row, to=to, conversational=conversational)
    if to == "messages" or not conversational:
        assert to_canonical(converted) == row
    else:
        assert converted["prompt"][0]["content"] == problem


def test_published_pairs_become_preferences():
    rows = list(read_rows(shared_file("data/rollouts/judgebench_math_pairs.jsonl.gz")))
    for conversational in (False, True):
        pairs = list(convert(rows, to="preference", conversational=conversational))
        assert len(pairs) == len(rows) and not any(isinstance(pair, Dropped) for pair in pairs)
        kind = list if conversational else str
        assert all(type(pair[name]) is kind for pair in pairs for name in ("prompt", "chosen", "rejected"))
        assert all({"prompt", "chosen", "rejected", "id"} <= pair.keys() for pair in pairs)
