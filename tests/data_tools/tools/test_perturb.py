"""Perturbations touch only the thought, as much of it as asked for, the same way every time."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_tools.errors import DataToolsError
from data_tools.rows.files import write_rows
from data_tools.rows.row import Dropped
from data_tools.tools.perturb import count_of, delete_steps, perturb, shuffle_steps
from data_tools.traces.steps import reflects, sentences_of, steps_of
from data_tools.traces.thoughts import split_think

STEPS = [
    f"Step {n} computes {n}7 + {n}5 and carries the one over to the tens, which gives {n * 20 + 12} in all. "
    for n in range(1, 10)
]
THOUGHT = "Wait, ".join(STEPS).strip()
KINDS = ["digits", "keywords", "delete", "insert", "shuffle"]
SHARES = st.floats(0, 1)


def row_of(thought=THOUGHT, answer="\n\nThe answer is \\boxed{42}, wait, yes 42.", problem="What is it?"):
    return {"problem": problem, "solution": f"<think>\n{thought}\n</think>{answer}", "answer": "42"}


OTHER = row_of(
    thought="Alternatively, we take a quite different road through the forest of numbers here. " * 4, problem="?"
)


def thought_of(row):
    return split_think(row["solution"]).thought or ""


def one(kind, share=1.0, row=None, seed=0):
    return next(iter(perturb([row or row_of(), OTHER], kind=kind, share=share, seed=seed)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_share_of_nothing_changes_nothing(kind):
    assert one(kind, 0.0)["solution"] == row_of()["solution"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.33, 0.67, 1.0])
def test_only_the_thought_changes_and_always_the_same_way(kind, share):
    changed = one(kind, share)
    before, after = row_of()["solution"], changed["solution"]
    assert after != before
    assert after.startswith("<think>\n") and after.endswith(before[before.index("</think>") :])
    assert one(kind, share) == changed
    assert changed["perturbed"] == count_of(changed["perturbable"], share)
    assert one(kind, 0.67, seed=1) != one(kind, 0.67, seed=2)


def test_all_steps_deleted_leave_only_the_answer():
    assert one("delete")["solution"] == "<think>\n\n</think>\n\nThe answer is \\boxed{42}, wait, yes 42."


@given(st.lists(st.text(min_size=1, max_size=5), max_size=20), SHARES, st.integers(0, 99))
def test_shuffling_keeps_the_multiset_and_the_places_of_the_rest(steps, share, seed):
    shuffled = shuffle_steps(steps, random.Random(seed), share=share)
    assert Counter(shuffled) == Counter(steps)
    moved = sum(a != b for a, b in zip(steps, shuffled, strict=True))
    assert moved <= count_of(len(steps), share)


@given(st.lists(st.integers(), unique=True, max_size=20), SHARES, SHARES, st.integers(0, 99))
def test_deletion_keeps_order_and_grows_with_the_share(steps, share, other, seed):
    texts = [str(step) for step in steps]
    small, large = sorted([share, other])
    kept_small = delete_steps(texts, random.Random(seed), share=small)
    kept_large = delete_steps(texts, random.Random(seed), share=large)
    assert kept_small == [step for step in texts if step in set(kept_small)]
    assert len(kept_small) == len(texts) - count_of(len(texts), small)
    assert set(kept_large) <= set(kept_small)


def test_digits_stay_digits_in_their_places():
    after = thought_of(one("digits", 0.7))
    assert len(after) == len(THOUGHT)
    assert all(a == b or (a.isdigit() and b.isdigit()) for a, b in zip(THOUGHT, after, strict=True))


def test_keyword_removal_takes_sentences_of_reflection_and_no_other():
    before = [sentence.strip() for sentence in sentences_of(THOUGHT)]
    after = [sentence.strip() for sentence in sentences_of(thought_of(one("keywords")))]
    assert after == [sentence for sentence in before if not reflects(sentence)]
    assert 0 < len(after) < len(before)


def test_inserted_steps_come_from_other_problems():
    changed = one("insert")
    foreign = {step.strip() for step in steps_of(thought_of(OTHER))}
    assert changed["perturbed"] == len(steps_of(THOUGHT))
    assert {step.strip() for step in steps_of(thought_of(changed))} <= foreign
    alone = list(perturb([row_of()], kind="insert"))
    assert [result.reason for result in alone] == ["no_other_steps"]


def test_steps_that_moved_stay_apart():
    assert "in all.Wait" not in one("shuffle")["solution"]
    moved = Counter(step.strip() for step in steps_of(thought_of(one("shuffle")), min_chars=1))
    assert moved == Counter(step.strip() for step in steps_of(THOUGHT, min_chars=1))


def test_the_order_of_the_rows_does_not_matter():
    rows = [row_of(problem=str(n), thought=THOUGHT.replace("Step", f"Part {n}")) for n in range(5)]
    forward = {row["problem"]: row["solution"] for row in perturb(rows, kind="insert", share=0.5)}
    backward = {row["problem"]: row["solution"] for row in perturb(rows[::-1], kind="insert", share=0.5)}
    assert forward == backward


def test_wrong_answers_are_selected_by_the_verifier():
    wrong = row_of(answer="\n\n\\boxed{41}")
    none = row_of(answer="\n\n\\boxed{\\unknowable}")
    results = list(perturb([row_of(), wrong, none], kind="wrong"))
    assert results[1] == {**wrong, "perturbation": "wrong"}
    assert [r.reason for r in results if isinstance(r, Dropped)] == ["right", "ungraded"]


def test_steps_come_from_a_file_where_one_is_given(tmp_path):
    file = tmp_path / "steps.jsonl"
    write_rows(file, [{"steps": ["Step 1 ... half", "the rest"]}, {"steps": [THOUGHT[:400], THOUGHT[400:]]}])
    half = next(iter(perturb([row_of()], kind="delete", share=0.5, steps=file)))
    assert half["perturbable"] == 2 and thought_of(half).strip() in (THOUGHT[:400].strip(), THOUGHT[400:].strip())
    assert [r.reason for r in perturb([OTHER], kind="delete", steps=file)] == ["no_steps"]


@pytest.mark.parametrize(
    ("trace", "reason"),
    [
        ("no marks", "no_think"),
        ("<think> cut", "unclosed_think"),
        ("<think>a</think>b</think>c", "ambiguous_think"),
        ("<think>a</think>", "no_answer_text"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_trace_without_a_thought_is_dropped(kind, trace, reason):
    results = list(perturb([{"problem": "p", "solution": trace}], kind=kind))
    assert [result.reason for result in results] == [reason]


def test_a_share_outside_its_range_is_refused():
    with pytest.raises(DataToolsError, match="share"):
        list(perturb([row_of()], kind="delete", share=1.5))
