"""A reward of whole groups sees each group alone, however the batch was called for."""

from __future__ import annotations

import pytest

from light_r1 import GroupReward
from light_r1.errors import LightR1Error
from light_r1.rewards.guard import GuardedReward


@GroupReward
def longest(completions, note, log_extra=None, **_):
    best = max(map(len, completions))
    if log_extra is not None:
        for text in completions:
            log_extra("length", [len(text)])
    if "bad" in note:
        raise ValueError("cannot read this")
    return [float(len(text) == best) for text in completions]


@GroupReward
async def shortest(completions, **_):
    least = min(map(len, completions))
    return [float(len(text) == least) for text in completions]


TEXTS = ["a", "bbb", "c", "dd", "eee", "ff"]


@pytest.mark.parametrize("call", [longest, GuardedReward(longest), GuardedReward(longest, deadline_s=30.0)])
def test_groups_are_runs_of_a_prompt_or_of_the_size_that_is_given(call):
    columns = {"completions": TEXTS, "note": [""] * 6, "trainer_state": object()}
    assert call(prompts=["p", "p", "q", "q", "p", "p"], **columns) == [0, 1, 0, 1, 1, 0]
    assert call(prompts=["p", "p", "p", "p", "q", "q"], **columns) == [0, 1, 0, 0, 1, 0]
    assert call(prompts=["p"] * 6, group_size=2, **columns) == [0, 1, 0, 1, 1, 0], "groups of one prompt were mixed"
    assert call(prompts=["p", "q", "r"] * 2, group_size=3, **columns) == [0, 1, 0, 0, 1, 0]


def test_async_functions_are_awaited():
    columns = {"prompts": ["p"] * 4, "completions": TEXTS[:4], "group_size": 2}
    assert shortest(**columns) == GuardedReward(shortest)(**columns) == [1, 0, 1, 0]


@pytest.mark.parametrize("deadline_s", [None, 30.0])
def test_a_group_that_fails_costs_its_completions_and_no_logged_value_moves(deadline_s):
    guarded = GuardedReward(longest, deadline_s=deadline_s)
    logged: dict[str, list] = {}

    def log_extra(name, values):
        logged.setdefault(name, []).extend(values)

    notes = ["", "", "bad", "", "", ""]
    found = guarded(prompts=TEXTS, completions=TEXTS, note=notes, group_size=2, log_extra=log_extra)
    assert found == [0, 1, None, None, 1, 0]
    assert guarded.failures == {"longest: ValueError: cannot read this": 2}
    assert guarded.__name__ == "longest"
    assert logged == {"length": [1, 3, 1, 2, 3, 2]}


def test_a_wrong_number_of_rewards_is_a_mistake_that_stops():
    wrong = GuardedReward(GroupReward(lambda completions, **_: [1.0]))
    with pytest.raises(LightR1Error, match="returned 1 rewards for 2 completions"):
        wrong(prompts=TEXTS, completions=TEXTS, group_size=2)
