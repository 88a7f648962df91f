"""Giving up early is right as often as it claims, asks for no sample twice, and saves what it claims."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_tools.errors import DataToolsError
from data_tools.rollouts.adaptive import StopRule, chance_inside, sample_until_settled
from data_tools.rollouts.pass_rates import Window
from data_tools.rollouts.store import prompt_id
from data_tools.rows.files import read_rows
from data_tools.rows.row import Dropped
from data_tools.tools.difficulty import difficulty
from tests.shared import shared_file

WINDOW = Window(0.25, 0.625)


def chance_by_urn(window, n_correct, n_judged, n_left):
    """Draw from Polya's urn: each right answer makes the next one likelier."""
    if n_left == 0:
        return float(window.reason(n_correct / n_judged) is None)
    right = (n_correct + 0.5) / (n_judged + 1)
    return right * chance_by_urn(window, n_correct + 1, n_judged + 1, n_left - 1) + (1 - right) * chance_by_urn(
        window, n_correct, n_judged + 1, n_left - 1
    )


@given(st.integers(1, 6), st.integers(0, 6), st.integers(0, 8))
def test_the_chance_is_that_of_the_urn(n_judged, n_correct, n_left):
    n_correct = min(n_correct, n_judged)
    for window in (WINDOW, Window(0.0, 0.5, high_inclusive=False, mixed=True)):
        expected = chance_by_urn(window, n_correct, n_judged, n_left)
        assert chance_inside(window, n_correct, n_judged, n_left) == pytest.approx(expected, abs=1e-9)


def test_without_risk_only_the_settled_is_given_up():
    rule = StopRule(WINDOW, 16, risk=0.0)
    assert rule.gives_up(11, 11, 5) and not rule.gives_up(10, 10, 6)
    assert rule.gives_up(0, 13, 3) and not rule.gives_up(0, 12, 4)


def test_what_is_inside_so_far_is_never_given_up():
    assert not StopRule(Window(0.5, 0.5), 16, risk=0.9).gives_up(1, 2, 14)
    assert not StopRule(WINDOW, 16).gives_up(0, 0, 16)
    assert StopRule(WINDOW, 16).gives_up(8, 8, 8)


def replay(rows, verdicts, rule, **options):
    asked = []

    def draw(requests):
        asked.extend((row["problem"], first + i) for row, first, count in requests for i in range(count))
        return [verdicts[row["problem"]][first : first + count] for row, first, count in requests]

    return sample_until_settled(rows, draw, rule, **options), asked


@given(st.lists(st.lists(st.sampled_from([True, False, None]), min_size=8, max_size=8), max_size=5), st.integers(1, 5))
def test_no_sample_is_drawn_twice_and_kept_questions_have_all(samples, step):
    rows = [{"problem": str(n)} for n in range(len(samples))]
    verdicts = dict(zip("01234", samples, strict=False))
    rule = StopRule(WINDOW, 8)
    found, asked = replay(rows, verdicts, rule, step=step)
    assert len(asked) == len(set(asked)) == sum(map(len, found.values()))
    for row in rows:
        got = found[prompt_id(row)]
        assert got == verdicts[row["problem"]][: len(got)]
        judged = [verdict for verdict in got if verdict is not None]
        if len(got) < 8:
            assert WINDOW.reason(sum(judged) / len(judged)) is not None


def test_stored_samples_are_not_drawn_again():
    verdicts = {"a": [False, True] * 4}
    found, asked = replay([{"problem": "a"}] * 2, verdicts, StopRule(WINDOW, 8), drawn={
        prompt_id({"problem": "a"}): [False, True, False]
    })  # fmt: skip
    assert asked == [("a", index) for index in range(3, 8)]
    assert found == {prompt_id({"problem": "a"}): verdicts["a"]}


def test_wrong_use_is_named():
    with pytest.raises(DataToolsError, match="0 <= risk < 1"):
        StopRule(WINDOW, 16, risk=1.0)
    with pytest.raises(DataToolsError, match="step: expected 1"):
        sample_until_settled([], lambda _: [], StopRule(WINDOW, 4), step=0)
    with pytest.raises(DataToolsError, match="asked for 1 samples"):
        sample_until_settled([{"problem": "a"}], lambda _: [[]], StopRule(WINDOW, 4))


def test_logged_rollouts_keep_their_set_with_two_fifths_fewer_samples():
    names = ("math_qwen3_8b_n16_128", "polaris_qwen3_8b_n16_128")
    rows = [row for name in names for row in read_rows(shared_file(f"data/rollouts/{name}.jsonl.gz"))]
    logged = {row["problem"]: [item["correct"] for item in row["responses"]] for row in rows}
    saved, other, orders = [], 0, 5
    for order in range(orders):
        shuffled = {name: random.Random(f"{order}:{name}").sample(v, len(v)) for name, v in logged.items()}
        found, _ = replay(rows, shuffled, StopRule(WINDOW, 16))
        saved.append(1 - sum(map(len, found.values())) / (16 * len(rows)))
        early = [{**row, "responses": [{"correct": v} for v in found[prompt_id(row)]]} for row in rows]
        for full, part in zip(rows, early, strict=True):
            kept = [not isinstance(next(iter(difficulty([r], preset="light-r1-grpo"))), Dropped) for r in (full, part)]
            other += kept[0] != kept[1]
    assert sum(saved) / orders >= 0.4
    assert other / (orders * len(rows)) <= 0.01
