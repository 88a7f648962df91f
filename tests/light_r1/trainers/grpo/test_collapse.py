"""Collapses on scripted metrics."""

from __future__ import annotations

import json

import pytest

from light_r1.trainers.grpo.collapse import CollapseBounds, CollapseWatch
from light_r1.trainers.grpo.context import ENTROPY, LENGTH, REWARD


def first_collapse(watch, name, values, first=1):
    for offset, value in enumerate(values):
        found = watch.update(first + offset, {name: value})
        if found:
            return found
    return None


def watch(**bounds):
    return CollapseWatch(CollapseBounds(patience=3, warmup=2, **bounds), smoothing=0.0)


@pytest.mark.parametrize(
    ("name", "bounds", "values", "step", "last_good"),
    [
        (REWARD, {"reward_drop": 0.2}, [0.3, 0.5, 0.6, 0.5, 0.3, 0.3, 0.3], 7, 4),
        (ENTROPY, {"min_entropy": 0.1}, [0.5, 0.4, 0.3, 0.05, 0.05, 0.2, 0.05, 0.05, 0.05], 9, 6),
        (LENGTH, {"min_length_share": 0.5}, [800, 900, 1000, 600, 400, 300, 200], 7, 4),
    ],
)
def test_a_fall_beyond_the_bound_for_patience_steps(name, bounds, values, step, last_good):
    found = first_collapse(watch(**bounds), name, values)
    assert (found.metric, found.step, found.last_good_step) == (name, step, last_good)


def test_what_has_no_bound_is_not_watched():
    assert first_collapse(watch(), REWARD, [1.0] * 5 + [-9.0] * 20) is None


def test_a_steady_run_does_not_collapse():
    steady = watch(reward_drop=0.2, min_entropy=0.1, min_length_share=0.5)
    for step in range(1, 200):
        assert steady.update(step, {REWARD: 0.5 + 0.1 * (step % 2), ENTROPY: 0.3, LENGTH: 900 + step % 50}) is None
    assert steady.last_good_step == 199


def test_a_new_context_sets_new_marks():
    plain, restarted = watch(min_length_share=0.5), watch(min_length_share=0.5)
    for one in (plain, restarted):
        first_collapse(one, LENGTH, [1000.0] * 5)
    restarted.restart()
    assert first_collapse(plain, LENGTH, [400.0] * 9, first=6)
    assert first_collapse(restarted, LENGTH, [400.0] * 9, first=6) is None


def test_after_a_rewind_the_watch_goes_on_from_the_earlier_step():
    rewound = watch(min_entropy=0.1)
    found = first_collapse(rewound, ENTROPY, [0.3, 0.3, 0.3, 0.0, 0.0, 0.0])
    assert found.last_good_step == 3
    rewound.restart()
    assert first_collapse(rewound, ENTROPY, [0.3] * 9, first=3) is None
    assert rewound.last_good_step == 11


@pytest.mark.parametrize("cut", range(1, 9))
def test_a_resumed_watch_sees_the_same_collapse(cut):
    values = [0.3, 0.5, 0.6, 0.5, 0.3, 0.45, 0.3, 0.3, 0.3]
    expected = first_collapse(watch(reward_drop=0.2), REWARD, values)
    first, second = watch(reward_drop=0.2), watch(reward_drop=0.2)
    first_collapse(first, REWARD, values[:cut])
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert expected and first_collapse(second, REWARD, values[cut:], first=cut + 1) == expected
