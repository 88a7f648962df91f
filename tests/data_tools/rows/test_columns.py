"""Schemas of public dumps become the canonical columns; the rest of a row stays."""

from __future__ import annotations

import pytest

from data_tools.errors import DataToolsError
from data_tools.rows.columns import text, to_canonical
from data_tools.rows.row import PlacedRow

USER, GPT = {"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}
SCHEMAS = [
    ({"question": "Q", "answer": "1"}, {"problem": "Q", "answer": "1"}),
    ({"query": "Q", "response": "S"}, {"problem": "Q", "solution": "S"}),
    ({"prompt": "Q", "completion": "S", "id": 7}, {"problem": "Q", "solution": "S", "id": 7}),
    ({"prompt": [{"role": "user", "content": "Q"}], "ground_truth": 27.0}, {"problem": "Q", "answer": "27"}),
    ({"problem": "Q", "expected_answer": 0.5}, {"problem": "Q", "answer": "0.5"}),
    ({"problem": "Q", "prompt": "other"}, {"problem": "Q", "prompt": "other"}),
    ({"problem": None, "question": "Q"}, {"problem": "Q"}),
    ({"Question": "Q", "ANSWER": 7, "Id": 1}, {"problem": "Q", "answer": "7", "Id": 1}),
    ({"Problem": "other", "problem": "Q"}, {"Problem": "other", "problem": "Q"}),
    (
        {"question": "Q", "answer": "3*24 = 72\n#### 72"},
        {"problem": "Q", "solution": "3*24 = 72\n#### 72", "answer": "72"},
    ),
    ({"question": "Q", "answer": "#### 72"}, {"problem": "Q", "answer": "#### 72"}),
    ({"instruction": "Do", "input": "x", "output": "S"}, {"problem": "Do\n\nx", "solution": "S"}),
    ({"instruction": "Do", "input": "", "output": "S"}, {"problem": "Do", "solution": "S"}),
    ({"conversations": [USER, GPT]}, {"problem": "Q", "solution": "A"}),
    ({"conversations": [USER, GPT], "system": "s"}, {"problem": "Q", "solution": "A", "system": "s"}),
    (
        {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "Q"}]},
        {"problem": "Q", "system": "s"},
    ),
    (
        {"conversations": [USER, GPT, USER]},
        {
            "messages": [
                {"role": "user", "content": "Q"},
                {"role": "assistant", "content": "A"},
                {"role": "user", "content": "Q"},
            ],
            "problem": "Q",
        },
    ),
]


@pytest.mark.parametrize(("row", "expected"), SCHEMAS)
def test_schema_is_detected(row, expected):
    before = repr(row)
    assert to_canonical(row) == expected
    assert repr(row) == before


@pytest.mark.parametrize(("row", "expected"), SCHEMAS)
def test_detection_is_stable(row, expected):
    assert to_canonical(to_canonical(row)) == expected


def test_named_columns_win_also_nested_ones():
    row = {"problem": "no", "q": "Q", "reward_model": {"ground_truth": 3}}
    found = to_canonical(row, {"problem": "q", "answer": "reward_model.ground_truth"})
    assert found["problem"] == "Q" and found["answer"] == "3" and "q" not in found
    assert found["reward_model"] == {"ground_truth": 3}


def test_a_preference_row_of_messages_keeps_its_answers():
    chosen = [{"role": "assistant", "content": "good"}]
    row = {"prompt": [{"role": "user", "content": "Q"}], "chosen": chosen, "rejected": chosen}
    assert to_canonical(row) == {"problem": "Q", "chosen": chosen, "rejected": chosen}


def test_the_place_survives_renaming():
    renamed = to_canonical(PlacedRow({"question": "Q"}, "f.jsonl row 3"))
    assert isinstance(renamed, PlacedRow) and renamed.place == "f.jsonl row 3"


@pytest.mark.parametrize(
    ("row", "columns", "message"),
    [
        ({"problme": "Q"}, {"problem": "problm"}, "no column `problm`.*Did you mean `problme`"),
        ({"q": "Q"}, {"question": "q"}, "no canonical column"),
        ({"messages": "hello"}, None, "messages must be a list"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, None, "unknown role 'wizard'"),
        ({"messages": [{"role": "user"}]}, None, "has no text"),
        ({"prompt": [{"role": "user", "content": "a"}] * 2}, None, "a prompt of 2 turns"),
    ],
)
def test_what_cannot_be_mapped_is_named_with_its_place(row, columns, message):
    with pytest.raises(DataToolsError, match=message) as caught:
        to_canonical(PlacedRow(row, "f.jsonl row 3"), columns)
    assert "f.jsonl row 3" in str(caught.value) or "canonical" in message


def test_text_must_be_text():
    assert text({"problem": ""}, "problem") == ""
    with pytest.raises(DataToolsError, match="must be text, found int"):
        text({"problem": 3}, "problem")
    with pytest.raises(DataToolsError, match=r"no column `answer`.*answers.*Name it with --columns"):
        text({"answers": "x"}, "answer")
