"""Context stages on scripted metrics."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from light_r1.errors import LightR1Error
from light_r1.trainers.grpo.context import CLIP_RATIO, REWARD, ContextSchedule, ContextStage, Smooth, parse_stages


def run(schedule, shares=None, rewards=None, first=1):
    """Feed one value per step; return the steps at which the context moved."""
    for offset in range(len(shares or rewards)):
        metrics = {}
        if shares:
            metrics[CLIP_RATIO] = shares[offset]
        if rewards:
            metrics[REWARD] = rewards[offset]
        schedule.update(first + offset, metrics)
    return [move.step for move in schedule.moves]


def two(**options):
    stages = parse_stages([{"max_completion_length": 8192, **options}, {"max_completion_length": 16384}])
    return ContextSchedule(stages, smoothing=0.0)


def test_stages_by_steps_change_after_exactly_these_steps():
    schedule = ContextSchedule(
        parse_stages([{"steps": n, "max_completion_length": length} for n, length in ((3, 8), (2, 16), (4, 24))])
    )
    assert (schedule.longest, schedule.total_steps) == (24, 9)
    lengths = [schedule.stage.max_completion_length]
    for step in range(1, 12):
        schedule.update(step, {})
        lengths.append(schedule.stage.max_completion_length)
    assert lengths == [8] * 3 + [16] * 2 + [24] * 7


def test_the_clip_ratio_has_to_stay_high():
    assert run(two(clip_ratio=0.06, patience=3), [0.04, 0.07, 0.07, 0.07, 0.07]) == [4]


def test_a_dip_between_the_bounds_does_not_start_over_a_deep_one_does():
    shares = [0.07, 0.07, 0.055, 0.07, 0.07, 0.07]
    assert run(two(clip_ratio=0.06, clip_ratio_low=0.05, patience=3), shares) == [4]
    assert run(two(clip_ratio=0.06, clip_ratio_low=0.058, patience=3), shares) == [6]


def test_single_spikes_and_flicker_around_the_bound_move_nothing():
    assert run(two(clip_ratio=0.06, patience=3), [0.0, 0.9, 0.0, 0.0] * 20) == []
    smooth = ContextSchedule(two(clip_ratio=0.06, patience=1).stages, smoothing=0.95)
    assert run(smooth, [0.0] * 20 + [0.5] + [0.0] * 30) == []


def test_min_steps_holds_triggers_back_and_steps_overrule_them():
    assert run(two(clip_ratio=0.06, patience=1, min_steps=10), [0.5] * 20) == [10]
    assert run(two(clip_ratio=0.06, patience=1, steps=7), [0.0] * 20) == [7]


def test_the_first_values_after_a_move_do_not_carry_over():
    stages = parse_stages(
        [{"max_completion_length": n, "clip_ratio": 0.06, "patience": 2} for n in (8, 16)]
        + [{"max_completion_length": 24}]
    )
    # The old stage's share is forgotten: the second needs two high steps of its own.
    assert run(ContextSchedule(stages, smoothing=0.0), [0.5, 0.5, 0.5, 0.0, 0.5, 0.5]) == [2, 6]


def test_a_plateau_is_no_gain_for_so_many_steps():
    rewards = [0.1, 0.2, 0.3, 0.3, 0.31, 0.3, 0.3, 0.3]
    assert run(two(plateau_steps=3), rewards=rewards) == [8]
    assert run(two(plateau_steps=3, plateau_gain=0.05), rewards=rewards) == [6]
    assert run(two(plateau_steps=3), rewards=[i / 10 for i in range(20)]) == []


def test_smoothing_starts_at_the_first_value_and_is_an_exponential_mean():
    smooth = Smooth(0.9)
    assert smooth.add(5.0) == pytest.approx(5)
    values, weights = [5.0, 1.0, 2.0], [0.81, 0.9, 1.0]
    expected = sum(v * w for v, w in zip(values, weights, strict=True)) / sum(weights)
    smooth.add(1.0)
    assert smooth.add(2.0) == pytest.approx(expected)


def test_a_step_counts_once():
    schedule = two(clip_ratio=0.06, patience=3)
    for _ in range(5):
        schedule.update(1, {CLIP_RATIO: 0.5})
    assert schedule.index == 0


@pytest.mark.parametrize("cut", range(1, 30, 3))
def test_a_resumed_run_moves_at_the_same_steps(cut):
    shares = [0.03 + 0.05 * (i % 7 > 2) for i in range(30)]
    rewards = [0.3 + 0.01 * (i % 4) for i in range(30)]

    def fresh():
        entries = [
            {"max_completion_length": 8, "clip_ratio": 0.06, "patience": 3},
            {"max_completion_length": 16, "plateau_steps": 6},
            {"max_completion_length": 24},
        ]
        return ContextSchedule(parse_stages(entries), smoothing=0.5)

    whole = fresh()
    expected = run(whole, shares, rewards)
    assert len(expected) == 2
    first = fresh()
    run(first, shares[:cut], rewards[:cut])
    second = fresh()
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert run(second, shares[cut:], rewards[cut:], first=cut + 1) == expected
    assert second.state_dict() == whole.state_dict()


def test_a_checkpoint_of_another_schedule_is_refused():
    other = ContextSchedule([ContextStage(4)])
    with pytest.raises(LightR1Error, match=r"\[8192, 16384\].*\[4\]"):
        two(steps=3).load_state_dict(other.state_dict())


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([], "no stage"),
        ([{"steps": 3}], r"\[0\]: max_completion_length is missing"),
        ([{"max_completion_lenght": 3}], "Did you mean"),
        ([{"max_completion_length": 0}], "at least 1"),
        ([{"max_completion_length": True}], "whole number"),
        ([{"max_completion_length": 8, "steps": 2.5}], "whole number"),
        ([{"max_completion_length": 8, "clip_ratio": 6.5}], "share"),
        ([{"max_completion_length": 8, "plateau_gain": -1}], "at least 0"),
        ([{"max_completion_length": 8, "settings": 3}], "mapping"),
        ([{"max_completion_length": 8, "settings": {"temperature": 0.5}}], "mapping with numbers for"),
        ([{"max_completion_length": 8, "settings": {"beta": "0.1"}}], "mapping with numbers for"),
        ([{"max_completion_length": 8, "settings": {"beta": 0.1}}], "settings.beta: needs a run whose own beta"),
        ([{"max_completion_length": 8}, {"max_completion_length": 16}], "only the last"),
    ],
)
def test_faulty_entries_are_named(entries, message):
    with pytest.raises(LightR1Error, match=message):
        parse_stages(entries)


def test_schedules_need_no_torch():
    parts = ", ".join(f"light_r1.trainers.grpo.{name}" for name in ("context", "collapse", "window"))
    code = f"import sys, {parts}; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
