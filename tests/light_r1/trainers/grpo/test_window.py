"""Pass rates during a run, and which prompts they choose."""

from __future__ import annotations

import json
import random

import pytest

from light_r1.errors import LightR1Error
from light_r1.trainers.grpo.window import PassRateWindow, carries_gradient


def window(**options):
    return PassRateWindow(0.25, 0.625, **{"revisit_after": 10, "longest_rest": 35, **options})


def test_the_rate_is_an_exponential_mean_of_groups_started_by_the_prior():
    made = window(priors={"a": 0.5}, prior_samples=8, keep=0.5)
    assert made.rate("a") == 0.5
    right, sampled = 4.0, 8.0
    for group_right, group_size in ((8, 8), (0, 4), (3, 8)):
        right, sampled = 0.5 * right + group_right, 0.5 * sampled + group_size
        made.update("a", right=group_right, sampled=group_size, step=1)
        assert made.rate("a") == pytest.approx(right / sampled)
    assert made.rate("b") is None


@pytest.mark.parametrize(
    ("rate", "place"), [(0.0, "too_hard"), (0.25, "inside"), (0.625, "inside"), (0.63, "too_easy")]
)
def test_both_bounds_belong_to_the_window(rate, place):
    assert window(priors={"a": rate}).place("a") == place


def test_unknown_and_inside_are_wanted_the_others_rest_until_due():
    made = window(priors={"easy": 1.0, "inside": 0.5})
    assert made.wants("unknown", 0) and made.wants("inside", 0)
    assert [made.wants("easy", step) for step in (0, 9, 10)] == [False, False, True]


def test_rests_double_up_to_their_bound_and_end_inside():
    made = window(keep=0.0)
    dues = []
    step = 0
    for _ in range(4):
        made.update("a", right=8, sampled=8, step=step)
        due = next(s for s in range(step, 1000) if made.wants("a", s))
        dues.append(due - step)
        step = due
    assert dues == [10, 20, 35, 35]
    made.update("a", right=4, sampled=8, step=step)
    assert made.wants("a", step)
    made.update("a", right=0, sampled=8, step=step)
    assert not made.wants("a", step + 9) and made.wants("a", step + 10)


def test_a_batch_is_never_short():
    made = window(priors={"e1": 1.0, "e2": 0.0, "in": 0.5})
    made.update("e1", right=8, sampled=8, step=5)  # rests longer than e2
    assert made.choose(["e1", "e2", "in", "new"], step=6, count=2) == ["in", "new"]
    assert made.choose(["e1", "e2", "in", "new"], step=6, count=3) == ["in", "new", "e2"]
    assert made.counts(["e1", "e2", "in", "new"]) == {"too_easy": 1, "too_hard": 1, "inside": 1, "unknown": 1}


def test_groups_without_a_verdict_change_nothing():
    made = window()
    made.update("a", right=0, sampled=0, step=3)
    assert made.place("a") == "unknown"


def test_a_resumed_window_chooses_the_same():
    rng = random.Random(0)
    first, whole = window(), window()
    for step in range(60):
        if step == 30:
            resumed = window()
            resumed.load_state_dict(json.loads(json.dumps(first.state_dict())))
            first = resumed
        prompt = f"p{rng.randrange(6)}"
        right = rng.choice([0, 3, 8])
        for made in (first, whole):
            made.update(prompt, right=right, sampled=8, step=step)
    assert first.state_dict() == whole.state_dict()
    assert first.choose([f"p{i}" for i in range(9)], 60, 4) == whole.choose([f"p{i}" for i in range(9)], 60, 4)


def test_a_window_keeps_mixed_groups_that_uniform_sampling_wastes():
    rng = random.Random(1)
    skill = {f"p{i}": rng.choice([0.0, 0.02, 0.5, 0.98, 1.0]) for i in range(200)}
    made = PassRateWindow(0.1, 0.9, revisit_after=50)
    mixed = {"window": 0, "uniform": 0}
    for step in range(100):
        order = rng.sample(sorted(skill), len(skill))
        for name, chosen in (("window", made.choose(order, step, 8)), ("uniform", order[:8])):
            for prompt in chosen:
                right = sum(rng.random() < skill[prompt] for _ in range(8))
                mixed[name] += 0 < right < 8
                if name == "window":
                    made.update(prompt, right=right, sampled=8, step=step)
    assert mixed["window"] > 1.8 * mixed["uniform"]


def test_groups_of_equal_rewards_carry_no_gradient():
    assert carries_gradient([0.0, 1.0, None])
    assert not carries_gradient([1.0, None, 1.0])
    assert not carries_gradient([])


@pytest.mark.parametrize("make", [lambda: PassRateWindow(0.6, 0.2), lambda: window(priors={"a": 1.5})])
def test_faulty_numbers_are_refused(make):
    with pytest.raises(LightR1Error):
        make()
