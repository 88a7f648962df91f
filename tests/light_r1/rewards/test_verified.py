"""Rewards that ask for the answer, against formulas written out by hand."""

from __future__ import annotations

import math

import pytest

from data_tools.answers.verify import Verdict
from light_r1.errors import LightR1Error
from light_r1.rewards import REWARDS, load_reward
from light_r1.rewards.verified import (
    accuracy,
    get_accuracy_reward,
    get_cosine_reward,
    get_kimi_length_reward,
    right_or_none,
)

RIGHT, WRONG = "<think>x</think>\\boxed{4}", "<think>x</think>\\boxed{5}"


class Slow:
    """A judge that runs out of time on what says so."""

    seconds = 0.0

    def verdicts(self, responses, golds):
        return [
            Verdict(False, "timeout", "late") if "slow" in text else Verdict(text == RIGHT, "right", "")
            for text in responses
        ]


def test_accuracy_is_one_zero_or_none():
    assert accuracy([RIGHT, WRONG, "", "I cannot say", RIGHT], ["4", "4", "4", "4", " "]) == [1, 0, 0, 0, None]
    assert accuracy(completions=[RIGHT], answer=[["3", "4"]], prompts=["?"], other=[1]) == [1]
    assert get_accuracy_reward(correct=2, wrong=-1, workers=1)([RIGHT, WRONG], ["4", "4"]) == [2, -1]


def test_what_the_verifier_had_no_time_for_is_none():
    logged = {}
    found = right_or_none([RIGHT, "slow"], ["4", "4"], by=Slow(), log_metric=logged.__setitem__)
    assert found == [True, None]
    assert logged == {
        "verifier/seconds": 0.0,
        "verifier/timeout_share": 0.5,
        "verifier/unparsable_share": 0.0,
    }


def cosine_by_hand(right, length, limit, lo_hi_right, lo_hi_wrong):
    lo, hi = lo_hi_right if right else lo_hi_wrong
    return lo + 0.5 * (hi - lo) * (1 + math.cos(math.pi * min(length, limit) / limit))


def test_cosine_is_the_formula_of_yeo():
    reward = get_cosine_reward(
        max_len=100, min_value_wrong=-10, max_value_wrong=0, min_value_correct=1, max_value_correct=2, exceeded=-10
    )
    lengths = [0, 20, 50, 99, 100, 150] * 2
    texts = [RIGHT] * 6 + [WRONG] * 6
    found = reward(texts, [[0] * n for n in lengths], ["4"] * 12)
    for text, length, value in zip(texts, lengths, found, strict=True):
        expected = -10 if length >= 100 else cosine_by_hand(text == RIGHT, length, 100, (1, 2), (0, -10))
        assert value == pytest.approx(expected)


def test_cosine_with_characters_is_that_of_open_rs():
    reward = get_cosine_reward(max_len=100, min_value_wrong=0.0, max_value_wrong=-0.5, unit="characters")
    found = reward([RIGHT, WRONG], [[], []], ["4", "4"])
    assert found[0] == pytest.approx(cosine_by_hand(True, len(RIGHT), 100, (0.5, 1.0), None))
    assert found[1] == pytest.approx(cosine_by_hand(False, len(WRONG), 100, None, (-0.5, 0.0)))


def test_a_cap_takes_the_gain_from_short_right_responses_only():
    plain = get_cosine_reward(max_len=100)
    capped = get_cosine_reward(max_len=100, cap_correct=0.8)
    ids = [[0] * n for n in (0, 30, 60, 90)]
    right = capped([RIGHT] * 4, ids, ["4"] * 4)
    assert right[:2] == [0.8, 0.8] and right[2:] == plain([RIGHT] * 4, ids, ["4"] * 4)[2:]
    assert capped([WRONG] * 4, ids, ["4"] * 4) == plain([WRONG] * 4, ids, ["4"] * 4)


def test_kimi_compares_within_a_prompt():
    lengths = [10, 20, 30, 7, 7]
    texts = [RIGHT, WRONG, WRONG, RIGHT, WRONG]
    columns = {"completions": texts, "completion_ids": [[0] * n for n in lengths], "answer": ["4"] * 5}
    found = get_kimi_length_reward()(prompts=["a", "a", "a", "b", "b"], **columns)
    assert found == pytest.approx([0.5, 0.0, -0.5, 0.0, 0.0])


def test_rewards_load_by_name_with_their_options():
    options = {"cosine": {"max_len": 10}, "soft_overlong": {"max_len": 10, "cache": 2}}
    for name in REWARDS:
        assert callable(load_reward(name, **options.get(name, {})))
    assert load_reward("light_r1.rewards.verified:get_cosine_reward", max_len=5).__name__ == "cosine"
    with pytest.raises(LightR1Error, match="Did you mean"):
        load_reward("acuracy")
    with pytest.raises(LightR1Error, match="takes no options"):
        load_reward("light_r1.rewards.verified:accuracy", max_len=3)
