"""Problems inside a window of pass rates, by count, by published column, by the presets of papers."""

from __future__ import annotations

import pytest

from data_tools.errors import DataToolsError
from data_tools.rollouts.pass_rates import Window
from data_tools.rollouts.store import RolloutStore, prompt_id
from data_tools.rows.files import read_rows
from data_tools.rows.row import Dropped
from data_tools.tools.difficulty import difficulty, window_of
from tests.shared import shared_file


def rows_of(*counts):
    return [{"problem": f"{k}/{n}", "n_correct": k, "n": n} for k, n in counts]


def kept(results):
    return [row["problem"] for row in results if not isinstance(row, Dropped)]


def reasons(results):
    return {item.row["problem"]: item.reason for item in results if isinstance(item, Dropped)}


EIGHTHS = rows_of(*((k, 8) for k in range(9)))


def test_without_bounds_rates_are_added_and_nothing_is_dropped():
    (row,) = difficulty(rows_of((1, 2)))
    assert row["pass_rate"] == 0.5 and row["pass_rate_low"] < 0.1 < 0.9 < row["pass_rate_high"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"min_pass_rate": 0.25, "max_pass_rate": 0.625}, [2, 3, 4, 5]),
        ({"min_pass_rate": 0.25, "max_pass_rate": 0.625, "min_inclusive": False}, [3, 4, 5]),
        ({"preset": "light-r1-grpo"}, [2, 3, 4, 5]),
        ({"preset": "light-r1-grpo", "max_inclusive": False}, [2, 3, 4]),
        ({"preset": "light-r1-stage1", "max_pass_rate": 0.5}, [0, 1, 2, 3]),
        ({"preset": "light-r1-stage2", "max_pass_rate": 0.5}, [1, 2, 3]),
        ({"preset": "open-r1"}, [1, 2, 3, 4, 5, 6, 7]),
        ({"preset": "open-r1-dapo"}, [1, 2, 3, 4]),
        ({"mixed": True}, [1, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_windows_and_presets_keep_these_of_nine(options, expected):
    assert kept(difficulty(EIGHTHS, **options)) == [f"{k}/8" for k in expected]


@pytest.mark.parametrize("preset", ["light-r1-stage1", "light-r1-stage2"])
def test_a_threshold_that_was_never_published_is_required(preset):
    with pytest.raises(DataToolsError, match=f"preset {preset} needs max_pass_rate: the paper keeps"):
        difficulty(EIGHTHS, preset=preset)


def test_each_reason_says_what_is_wrong():
    rows = rows_of((0, 8), (8, 8), (1, 8), (7, 8), (1, 2), (0, 0))
    found = reasons(difficulty(rows, min_pass_rate=0.2, max_pass_rate=0.8, mixed=True, min_n=4))
    assert found == {
        "0/8": "all_wrong",
        "8/8": "all_right",
        "1/8": "too_hard",
        "7/8": "too_easy",
        "1/2": "too_few_samples",
        "0/0": "no_rollouts",
    }
    assert reasons(difficulty(rows_of((1, 2)), min_pass_rate=0.2, interval="inside")) == {"1/2": "uncertain"}


def test_published_scores_and_rates_decide_and_pass_through():
    rows = [{"problem": str(s), "score": s} for s in (0.6, 0.59, None)]
    assert reasons(difficulty(rows, preset="limr")) == {"0.59": "low_score", "None": "no_score"}
    assert reasons(difficulty(rows[:1], score_column="score", max_score=0.5)) == {"0.6": "high_score"}
    (row,) = difficulty([{"problem": "a", "pass": "3/8", "level": 5}], rate_column="pass", max_pass_rate=0.5)
    assert (row["level"], row["pass_rate"], row["n_correct"]) == (5, 0.375, 3)
    with pytest.raises(DataToolsError, match="an interval or min_n needs counts"):
        list(difficulty([{"problem": "a", "pass_rate": 0.5}], min_n=2))
    (unrated,) = difficulty([{"problem": "a", "pass": None}], rate_column="pass", max_pass_rate=0.5)
    assert unrated.reason == "no_rollouts"
    with pytest.raises(DataToolsError, match="row 'a': no pass rate: expected `responses`"):
        list(difficulty([{"problem": "a", "n_correct": 3}]))
    with pytest.raises(DataToolsError, match=r"no column `scores`.*Did you mean `score`"):
        list(difficulty(rows, score_column="scores"))


def test_a_store_outranks_the_samples_in_the_row(tmp_path):
    store = RolloutStore(tmp_path / "r.jsonl")
    question = {"problem": "1+1", "responses": [{"correct": True}]}
    records = [{"prompt_id": prompt_id(question), "sample_index": i, "correct": False} for i in range(3)]
    store.append(records)
    (row,) = difficulty([question], rollouts=store.path)
    assert (row["n_correct"], row["n"]) == (0, 3)
    (dropped,) = difficulty([{"problem": "never sampled"}], rollouts=store.path)
    assert dropped.reason == "no_rollouts"


def test_the_limr_preset_keeps_exactly_the_published_problems():
    scored = read_rows(shared_file("data/difficulty/limr_scores_7935.jsonl.gz"))
    published = {row["problem"] for row in read_rows(shared_file("data/problems/limr_1389.jsonl.gz"))}
    chosen = kept(difficulty(scored, preset="limr"))
    assert len(chosen) == 1389
    assert len(published & set(chosen)) >= 1380


def test_counts_of_logged_rollouts_are_the_published_ones():
    for row in read_rows(shared_file("data/rollouts/math_qwen3_8b_n16_128.jsonl.gz")):
        (found,) = difficulty([{**row}])
        assert found["pass_rate"] == pytest.approx(row["pass_rate"])
        assert found["n"] == row["n_graded"]


def test_window_of_the_options_is_the_one_that_filters():
    assert window_of(min_pass_rate=0.2, max_inclusive=False) == Window(low=0.2, high_inclusive=False)
    assert window_of(preset="open-r1") == Window(0.1, 0.9, low_inclusive=False, high_inclusive=False)
    assert window_of() is None
    assert window_of(min_pass_rate=0.2, interval="inside") is None
    assert window_of(min_pass_rate=0.2, rollouts="store.jsonl") is None
    with pytest.raises(DataToolsError, match="max_pass_rate"):
        window_of(preset="light-r1-stage2")
