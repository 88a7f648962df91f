from __future__ import annotations

from itertools import combinations
from math import sqrt
from statistics import mean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from light_r1.rollouts.scores import Question, compare, consensus, mean_and_se, paired_difference, pass_at_k, score


@given(st.lists(st.booleans(), min_size=1, max_size=9), st.data())
def test_pass_at_k_is_the_share_of_subsets_with_a_right_sample(right, data):
    k = data.draw(st.integers(1, len(right)))
    subsets = list(combinations(right, k))
    assert pass_at_k(len(right), sum(right), k) == pytest.approx(sum(map(any, subsets)) / len(subsets))


@pytest.mark.parametrize("k", [0, 5])
def test_pass_at_k_of_more_samples_than_there_are_is_refused(k):
    with pytest.raises(ValueError, match=f"pass@{k} cannot be estimated from 4 samples"):
        pass_at_k(4, 1, k)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=20))
def test_standard_error_is_the_spread_over_the_root_of_the_count(values):
    found = mean_and_se(values)
    assert found.mean == pytest.approx(mean(values), abs=1e-12)
    assert found.se == pytest.approx(stdev(values) / sqrt(len(values)), abs=1e-9)


def test_an_average_over_nothing_is_refused():
    with pytest.raises(ValueError, match="no questions"):
        mean_and_se([])


def question(right, answers=None, name="q", tokens=10, finished=True):
    n = len(right)
    return Question(name, right, answers or ["x"] * n, [tokens] * n, [finished] * n)


def test_repeating_every_sample_of_a_question_does_not_shrink_the_error():
    few = [question([True, False]), question([True, True]), question([False, False])]
    many = [question([*q.right] * 50) for q in few]
    assert score(few, [1])["se"] == pytest.approx(score(many, [1])["se"])
    assert score(few, [1])["se"] == pytest.approx(0.5 / sqrt(3))


def test_the_error_of_a_pair_is_smaller_where_difficulty_is_shared():
    before = {f"q{i}": i / 100 for i in range(100)}
    after = {key: value + (0.02 if int(key[1:]) % 2 else 0.0) for key, value in before.items()}
    paired = paired_difference(after, before)
    unpaired = sqrt(mean_and_se(list(after.values())).se ** 2 + mean_and_se(list(before.values())).se ** 2)
    assert paired.mean == pytest.approx(0.01)
    assert paired.se < unpaired / 30


def test_only_questions_that_both_scored_are_compared():
    assert paired_difference({"a": 1.0, "b": 0.0}, {"a": 0.5, "c": 1.0}).mean == 0.5
    with pytest.raises(ValueError, match="no questions"):
        paired_difference({"a": 1.0}, {"b": 1.0})


def test_comparison_counts_questions_and_its_interval_holds_the_change():
    before = {f"q{i}": 0.25 for i in range(60)}
    after = {f"q{i}": (1.0 if i < 30 else 0.0 if i < 40 else 0.25) for i in range(60)}
    found = compare(after, before)
    assert (found.better, found.worse) == (30, 10)
    assert found.low < found.change.mean < found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 * found.change.se, rel=0.15)
    assert found == compare(after, before), "the draws do not follow from the seed"


def test_interval_of_a_wider_level_is_wider():
    before, after = {str(i): 0.0 for i in range(20)}, {str(i): float(i % 3) for i in range(20)}
    wide, narrow = compare(after, before, level=0.99), compare(after, before, level=0.5)
    assert wide.low < narrow.low < narrow.high < wide.high


@pytest.mark.parametrize(
    ("answers", "right", "expected"),
    [
        (["7", "7", "3"], [True, True, False], 1.0),
        (["7", "3", "3"], [True, False, False], 0.0),
        (["7", "3"], [True, False], 0.5),
        ([None, None, "7"], [False, False, True], 1.0),
        ([None, None], [False, False], 0.0),
    ],
)
def test_consensus_is_the_majority_and_shares_ties(answers, right, expected):
    assert consensus(answers, right) == expected


def test_score_by_hand():
    found = score(
        [
            question([True, True, False, False], ["1", "1", "2", "3"], tokens=10),
            question([None, False, False, False], [None, "5", "5", "6"], tokens=30, finished=False),
        ],
        [1, 2, 4, 64],
    )
    assert found["avg@4"] == 0.25
    assert found["pass@1"] == 0.25
    assert found["pass@2"] == pytest.approx((1 - 1 / 6) / 2)
    assert found["pass@4"] == 0.5
    assert found["pass@4_se"] == pytest.approx(0.5)
    assert found["cons@4"] == 0.5
    assert (found["truncated"], found["tokens"], found["unjudged"]) == (0.5, 20, 1 / 8)
    assert (found["questions"], found["samples"]) == (2, 4)
    assert "pass@64" not in found


def test_questions_with_other_numbers_of_samples_are_refused():
    with pytest.raises(ValueError, match=r"same number of samples, found \[1, 2\]"):
        score([question([True]), question([True, False])], [1])
    with pytest.raises(ValueError, match="same number of samples"):
        score([], [1])
