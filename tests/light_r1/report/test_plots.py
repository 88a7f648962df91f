from __future__ import annotations

import pytest

from light_r1.report.plots import PANELS, draw_all, series, smoothed
from light_r1.report.summary import read_run
from tests.light_r1.run_folders import finish, spec, whole_run, write_lines, write_run

PNG = b"\x89PNG\r\n\x1a\n"


def test_every_topic_of_a_whole_run_is_drawn(tmp_path):
    run = read_run(whole_run(tmp_path / "toy"))
    pictures = draw_all(run, tmp_path / "plots")
    assert [(picture.section, picture.title) for picture in pictures] == [
        ("scores", "hard"),
        ("scores", "hard length"),
        ("data", "funnel"),
        ("data", "pass rates of filter"),
        ("sft", "loss"),
        ("dpo", "implicit rewards"),
        ("dpo", "loss"),
        ("grpo", "reward"),
        ("grpo", "response length"),
        ("grpo", "entropy"),
        ("grpo", "clip share"),
        ("grpo", "KL"),
    ]
    assert len({picture.path for picture in pictures}) == len(pictures)
    assert all(picture.path.read_bytes().startswith(PNG) for picture in pictures)


def test_reward_has_a_line_for_each_component():
    panel = next(panel for panel in PANELS if panel.title == "reward")
    curve = [
        {"step": 1, "reward": 0.5, "rewards/accuracy/mean": 0.4, "rewards/accuracy/std": 9.0, "rewards/a/b/mean": 9.0},
        {"step": 3, "reward": 0.7, "rewards/cosine/mean": 0.1},
        {"step": 3, "train_loss": 0.1},
    ]
    assert series(curve, panel) == {
        "all, weighted": [(1, 0.5), (3, 0.7)],
        "accuracy": [(1, 0.4)],
        "cosine": [(3, 0.1)],
    }


def test_a_single_reward_is_one_line():
    curve = [{"step": step, "reward": 0.5 + step, "rewards/accuracy/mean": 0.5 + step} for step in range(3)]
    panel = next(panel for panel in PANELS if panel.title == "reward")
    assert list(series(curve, panel)) == ["all, weighted"]


@pytest.mark.parametrize("steps", [0, 1])
def test_a_curve_of_one_point_is_not_drawn(tmp_path, steps):
    root = write_run(tmp_path / "toy", [spec("sft", "sft")])
    finish(root, "sft", "sft")
    write_lines(root / "sft/metrics.jsonl", [{"step": 1, "loss": 1.0}] * steps)
    assert draw_all(read_run(root), tmp_path / "plots") == []


def test_names_with_odd_characters_are_drawn(tmp_path):
    root = write_run(tmp_path / "toy", [spec("sft_$1$_a", "sft")])
    finish(root, "sft_$1$_a", "sft", rows={"in": 2, "kept": 1, "dropped": {"odd_$": 1}})
    write_lines(root / "sft_$1$_a/metrics.jsonl", [{"step": i, "loss": 1.0} for i in (1, 2)])
    assert len(draw_all(read_run(root), tmp_path / "plots")) == 2


def test_smoothing_keeps_lines_straight_and_takes_the_noise_of_a_flat_one():
    line = [2.0 * i for i in range(40)]
    assert smoothed(line) == pytest.approx(line)
    noisy = [float(i % 2) for i in range(100)]
    assert all(abs(value - 0.5) < 0.06 for value in smoothed(noisy)[5:-5])
    assert smoothed([3.0]) == [3.0]


@pytest.mark.parametrize("steps", [5, 60])
def test_long_and_short_curves_and_the_context_are_drawn(tmp_path, steps):
    root = write_run(tmp_path / "toy", [spec("rl", "grpo")])
    finish(root, "rl", "grpo")
    event = {"completions/mean_length": 9.0, "context/max_completion_length": 12}
    write_lines(root / "rl/metrics.jsonl", [{"step": i, **event} for i in range(steps)])
    (picture,) = draw_all(read_run(root), tmp_path / "plots")
    assert picture.title == "response length"
