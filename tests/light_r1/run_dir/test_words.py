from __future__ import annotations

import pytest

from light_r1.run_dir.manifest import RowCounts
from light_r1.run_dir.words import duration, outcome_text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 00 s"), (701, "11 min 41 s"), (11_100, "3 h 05 min")]
)
def test_durations_are_read_at_a_glance(seconds, text):
    assert duration(seconds) == text


def test_training_says_rows_steps_tokens_and_loss():
    rows = RowCounts(209, 85, {"overlength": 120, "no_think": 4})
    text = outcome_text({"loss": 0.41234, "eval_loss": 0.5}, rows=rows, tokens=12_345, steps=60)
    assert text == (
        "85 of 209 rows, 120 overlength, 4 no_think, 60 steps, 12,345 tokens, loss 0.4123, held-out loss 0.5"
    )


def test_dpo_counts_pairs_and_grpo_names_no_loss():
    assert outcome_text({}, rows=RowCounts(16, 32, {}, unit="pairs"), tokens=None, steps=None) == "32 pairs from 16"
    assert outcome_text({"loss": 0.0, "reward": 0.25}, rows=None, tokens=None, steps=4) == ("4 steps, reward 0.25")


def test_an_evaluation_says_score_error_length_and_truncation():
    metrics = {"hard/avg@8": 0.3421, "hard/se": 0.0213, "hard/truncated": 0.125, "hard/tokens": 1234.5}
    text = outcome_text(metrics, rows=RowCounts(64, 64, {}), tokens=9, steps=None)
    assert text == "hard avg@8 34.2 ± 2.1% (1,234 tokens a response, 12% cut)"


def test_a_merge_has_nothing_to_say():
    assert outcome_text({}, rows=None, tokens=None, steps=None) == ""
