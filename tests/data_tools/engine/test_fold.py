"""Steps over one stream: every row that goes in comes out, kept or dropped, and is counted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_tools.engine.fold import Step, fold, make_step
from data_tools.errors import DataToolsError

HERE = "tests.data_tools.sample_tools"
STEPS = [(f"{HERE}:keep_short", {"max_chars": 3}), (f"{HERE}:keep_first_of_each", {})]


@given(st.lists(st.text("ab", max_size=5), max_size=20))
def test_a_fold_is_its_steps_one_after_the_other(problems):
    dropped = []
    folded = fold([{"problem": p} for p in problems], STEPS, on_dropped=lambda *item: dropped.append(item))
    kept = [row["problem"] for row in folded]
    short = [p for p in problems if len(p) <= 3]
    assert kept == list(dict.fromkeys(short))
    assert [item.row["problem"] for name, item in dropped if "short" in name] == [p for p in problems if len(p) > 3]
    first, second = folded.counts
    assert first.rows_in == len(problems) == first.kept + first.dropped.total()
    assert second.rows_in == first.kept == second.kept + second.dropped.total()
    assert second.summary == {"distinct": len(kept)}


def test_rows_flow_one_by_one():
    drawn = []

    def source():
        for n in range(100):
            drawn.append(n)
            yield {"problem": str(n)}

    stream = iter(fold(source(), STEPS[:1], on_dropped=lambda *_: None))
    next(stream)
    assert drawn == [0]


def test_wrong_options_are_found_before_any_row_is_read():
    def source():
        raise AssertionError("a row was read")
        yield {}

    with pytest.raises(DataToolsError, match="Did you mean max_chars"):
        fold(source(), [(STEPS[0][0], {"max_char": 3})], on_dropped=lambda *_: None)
    with pytest.raises(DataToolsError, match="expected 0 or more"):
        fold(source(), [(STEPS[0][0], {"max_chars": -1})], on_dropped=lambda *_: None)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_an_error_knows_its_step_however_many_follow(number):
    def fails(rows):
        yield next(iter(rows))
        raise DataToolsError("row 1")

    def passes(rows):
        yield from rows

    steps = [Step(f"step {n}", fails if n == number else passes) for n in range(3)]
    with pytest.raises(DataToolsError) as raised:
        list(fold([{"problem": "a"}], steps, on_dropped=lambda *_: None))
    assert raised.value.step == f"step {number}"
    with pytest.raises(DataToolsError) as raised:
        fold([], [steps[0], (STEPS[0][0], {"max_chars": -1})], on_dropped=lambda *_: None)
    assert raised.value.step == STEPS[0][0]


def test_a_row_without_a_needed_column_stops_or_is_dropped():
    rows, step = [{"id": "q1"}, {"problem": "a"}], make_step(STEPS[1][0], name="first")
    with pytest.raises(DataToolsError, match=r"row 'q1': no column `problem`"):
        list(fold(rows, [step], on_dropped=lambda *_: None))
    dropped = []
    folded = fold(rows, [step], on_dropped=lambda *item: dropped.append(item), on_error="skip")
    assert list(folded) == [{"problem": "a"}]
    assert dropped[0][0] == "first" and dropped[0][1].reason == "malformed"
    assert str(folded.counts[0]) == "first: 2 in = 1 kept + 1 malformed"
