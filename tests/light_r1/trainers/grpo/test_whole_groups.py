"""Rewards of groups get groups by position; over two processes see tests/test_distributed.py."""

from __future__ import annotations

import pytest

from light_r1 import GroupReward
from light_r1.trainers.grpo.trainer import StagedGRPOTrainer
from tests.conftest import make_model
from tests.light_r1.trainers.grpo.test_trainer import config, logged

EACH = 4


@pytest.mark.parametrize("chosen", [{}, {"dynamic_sampling": 2}])
def test_rows_with_the_same_problem_are_groups_of_their_own(tokenizer, tmp_path, chosen):
    seen: list[tuple[set, int]] = []

    @GroupReward
    def spread(completion_ids, row, log_extra, **_):
        seen.append((set(row), len(row)))
        lengths = list(map(len, completion_ids))
        log_extra("shortest", [min(lengths)] * len(lengths))
        return [float(length - min(lengths)) for length in lengths]

    rows = [{"problem": "1+1?", "row": index} for index in range(8)]
    args = config(
        tmp_path, context_schedule=None, max_completion_length=12, max_steps=2, num_generations=EACH,
        per_device_train_batch_size=2 * EACH, **chosen,
    )  # fmt: skip
    made = StagedGRPOTrainer(make_model(tokenizer), [spread], args, rows, processing_class=tokenizer)
    made.train()
    assert len(seen) >= 4
    assert all(len(values) == 1 and count == EACH for values, count in seen)
    assert "rewards/spread/mean" in made.state.log_history[0]
    assert len(logged(made, "reward")) == 2
