"""Traces become one <think> block and an answer, or say why not."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_tools.errors import DataToolsError
from data_tools.rows.files import read_rows
from data_tools.rows.row import Dropped
from data_tools.tools.think import normalize_think
from data_tools.traces.thoughts import join_think, split_think
from tests.shared import shared_file

SPLITS = [
    ("<think>\nT\n</think>\n\nA", "tags"),
    ("  <think>T</think>A", "tags"),
    ("<think>\n<think>\nT</think>A", "tags"),
    ("T</think>A", "close_only"),
    ("think\nT\nanswer\nA", "bare_word"),
    ("<|im_start|>think\nT\n<|im_start|>answer\nAnswer: A", "bare_word"),
    (
        "<|begin_of_thought|>\nT\n<|end_of_thought|>\n<|begin_of_solution|>A<|end_of_solution|>",
        "thought_tokens",
    ),
    ("<|begin_of_thought|>T<|end_of_thought|>A", "thought_tokens"),
]
FAULTS = [
    ("just an answer", "no_think"),
    ("", "no_think"),
    ("<think></think>A", "no_think"),
    ("<think>T", "unclosed_think"),
    ("think\nT goes on", "unclosed_think"),
    ("<|begin_of_thought|>T", "unclosed_think"),
    ("<think>T</think>", "no_answer_text"),
    ("T</think>  \n", "no_answer_text"),
    ("T</think>A</think>B", "ambiguous_think"),
    ("A<think>T</think>B", "ambiguous_think"),
    ("<|begin_of_thought|><think>T</think><|end_of_thought|>A", "ambiguous_think"),
    ("<think>T</think>A<think>T</think>B", "ambiguous_think"),
    ("<think>a <think>b</think>A", "ambiguous_think"),
    ("think\nT\nanswer\nA\nanswer\nB", "ambiguous_think"),
    ("<|end_of_thought|>T<|begin_of_thought|>A", "ambiguous_think"),
]


@pytest.mark.parametrize(("trace", "form"), SPLITS)
def test_every_form_is_taken_apart(trace, form):
    parts = split_think(trace)
    assert (parts.thought, parts.answer, parts.form, parts.fault) == ("T", "A", form, None)
    assert parts.joined() == "<think>\nT\n</think>\n\nA"


@pytest.mark.parametrize(("trace", "fault"), FAULTS)
def test_every_fault_is_named(trace, fault):
    parts = split_think(trace)
    assert (parts.thought, parts.answer, parts.fault) == (None, None, fault)
    with pytest.raises(ValueError, match=fault):
        parts.joined()


PIECES = [
    "<think>",
    "</think>",
    "think\n",
    "\nanswer\n",
    "<|begin_of_thought|>",
    "<|end_of_thought|>",
    "x",
    " ",
    "\n",
]


@given(st.lists(st.sampled_from(PIECES), max_size=8).map("".join))
def test_the_normal_form_is_a_fixed_point(trace):
    parts = split_think(trace)
    if parts.fault is None:
        again = split_think(parts.joined())
        assert (again.form, again.fault) == ("tags", None)
        assert again.joined() == parts.joined()


@given(st.text(), st.text())
def test_joining_is_undone_by_splitting(thought, answer):
    marks = ("<think>", "</think>", "<|")
    if thought.strip() and answer.strip() and not any(mark in thought + answer for mark in marks):
        parts = split_think(join_think(thought, answer))
        assert (parts.thought, parts.answer) == (thought.strip(), answer.strip())


def test_rows_are_normalised_dropped_or_flagged():
    rows = [{"solution": trace} for trace, _ in SPLITS + FAULTS]
    results = list(normalize_think(rows))
    assert [r["think_form"] for r in results if isinstance(r, dict)] == [form for _, form in SPLITS]
    assert [r.reason for r in results if isinstance(r, Dropped)] == [fault for _, fault in FAULTS]
    flagged = list(normalize_think(rows, on_fault="flag"))
    assert [row["think_fault"] for row in flagged[len(SPLITS) :]] == [fault for _, fault in FAULTS]
    assert [row["solution"] for row in flagged[len(SPLITS) :]] == [trace for trace, _ in FAULTS]
    (other,) = normalize_think([{"response": "T</think>A"}], column="response")
    assert other["response"] == "<think>\nT\n</think>\n\nA"
    with pytest.raises(DataToolsError, match="name of a column"):
        normalize_think(rows, column="")


@pytest.mark.parametrize(
    ("trace", "thought", "answer"),
    [
        ("T\n\n**Final Answer**\n5", "T", "**Final Answer**\n5"),
        ("T\n## Final Answer: 5", "T", "## Final Answer: 5"),
        ("a\n**Final Answer**\nWait\n**Final answer:**\n5", "a\n**Final Answer**\nWait", "**Final answer:**\n5"),
    ],
)
def test_an_unmarked_trace_can_be_split_at_its_last_heading(trace, thought, answer):
    (row,) = normalize_think([{"solution": trace}], unmarked="heading")
    assert row["solution"] == join_think(thought, answer) and row["think_form"] == "none"
    (dropped,) = normalize_think([{"solution": trace}])
    assert dropped.reason == "no_think"


def test_a_trace_without_heading_or_thought_stays_a_fault():
    traces = ["T, the final answer is 5", "**Final Answer** 5", ""]
    assert {item.reason for item in normalize_think([{"solution": t} for t in traces], unmarked="heading")} == {
        "no_think"
    }


def test_published_traces_are_told_apart_as_their_publishers_say():
    names = {"close-only": "close_only", 'bare "think" word': "bare_word", "none": "none"}
    for file in ("long_cot_gsm8k", "long_cot_math", "long_cot_missing_premise"):
        seen = Counter()
        for row in read_rows(shared_file(f"data/traces/{file}.jsonl.gz")):
            parts = split_think(row["response"])
            label = names.get(row["think_tags"], row["think_tags"])
            seen[label, parts.form] += 1
            if parts.fault is None and parts.form == "close_only":
                thought, answer = row["response"].split("</think>")
                assert (parts.thought, parts.answer) == (thought.strip(), answer.strip())
        wrong = {pair: n for pair, n in seen.items() if pair[0] != pair[1]}
        assert not wrong, f"{file}: {wrong}"
