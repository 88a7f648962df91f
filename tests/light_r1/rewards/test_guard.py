"""Rewards that fail cost what they cannot judge, nothing else."""

from __future__ import annotations

import threading

import pytest

from light_r1.errors import LightR1Error, StageError
from light_r1.rewards.guard import GuardedReward, stop_without_rewards


def touchy(completions, answer, **_):
    if "bad" in completions:
        raise ValueError("cannot read this")
    return [float(text == gold) for text, gold in zip(completions, answer, strict=True)]


@pytest.mark.parametrize("deadline_s", [None, 30.0])
def test_one_that_raises_costs_one_completion(deadline_s):
    guarded = GuardedReward(touchy, deadline_s=deadline_s)
    found = guarded(completions=["a", "bad", "b"], answer=["a", "b", "c"], trainer_state=object())
    assert found == [1, None, 0]
    assert guarded.failures == {"touchy: ValueError: cannot read this": 1}
    assert guarded.__name__ == "touchy"


def test_one_that_hangs_costs_one_completion():
    release = threading.Event()

    def hangs(completions, **_):
        if "bad" in completions:
            release.wait(60)
        return [1.0] * len(completions)

    guarded = GuardedReward(hangs, deadline_s=0.3)
    assert guarded(completions=["a", "bad", "b"]) == [1, None, 1]
    assert guarded.failures == {"hangs: TimeoutError: no reward within 0.3 s": 1}
    release.set()


def test_rewards_that_compare_completions_get_them_together():
    def longest(completions, **_):
        best = max(map(len, completions))
        return [float(len(text) == best) for text in completions]

    assert GuardedReward(longest)(completions=["a", "bbb"]) == [0, 1]


def test_async_rewards_are_awaited():
    async def later(completions, **_):
        return [0.5] * len(completions)

    assert GuardedReward(later, deadline_s=5.0)(completions=["a", "b"]) == [0.5, 0.5]


def test_a_wrong_number_of_rewards_is_a_mistake_that_stops():
    with pytest.raises(LightR1Error, match="returned 1 rewards for 2 completions"):
        GuardedReward(lambda completions, **_: [1.0])(completions=["a", "b"])


def test_a_batch_without_rewards_stops_with_the_reasons():
    stop_without_rewards([[None, float("nan")], [None, 0.0]], {})
    with pytest.raises(StageError, match=r"no verdict within 2 s \(3\)"):
        stop_without_rewards([[None], [float("nan")]], {"no verdict within 2 s": 3})
    with pytest.raises(StageError, match="every reward returned None"):
        stop_without_rewards([[None]], {})
