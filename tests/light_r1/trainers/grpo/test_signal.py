from __future__ import annotations

import logging
import re

import pytest

from light_r1.errors import StageError
from light_r1.trainers.grpo.config import StagedGRPOConfig
from light_r1.trainers.grpo.trainer import StagedGRPOTrainer
from tests.conftest import make_model

ROWS = [{"problem": f"{a}+{b}?", "answer": str(a + b)} for a in range(4) for b in range(4)]
LIMIT = 6
END = "<|im_end|>"


class Constant:
    """A reward that is the same for all completions, and remembers them."""

    def __init__(self, value: float | None) -> None:
        self.value = value
        self.completions: list[list[int]] = []
        self.__name__ = "constant"

    def __call__(self, completion_ids, **_):
        self.completions += completion_ids
        return [self.value] * len(completion_ids)


def length(completion_ids, **_):
    return [float(len(ids)) for ids in completion_ids]


def accuracy(completions, **_):
    return [1.0] * len(completions)


def trainer(tokenizer, folder, *rewards, **fields):
    args = {
        "per_device_train_batch_size": 8, "num_generations": 4, "max_completion_length": LIMIT, "max_steps": 4,
        "logging_steps": 2, "learning_rate": 1e-3, "bf16": False, "activation_checkpointing": False,
        "save_strategy": "no", "report_to": "none", "use_cpu": True, "disable_tqdm": True, **fields,
    }  # fmt: skip
    return StagedGRPOTrainer(
        make_model(tokenizer), list(rewards), StagedGRPOConfig(str(folder), **args), ROWS, processing_class=tokenizer
    )


def said(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if "told completions apart" in record.getMessage()]


@pytest.mark.parametrize("value", [0.0, 1.0, 0.3])
def test_a_window_without_gradient_is_said_once_with_what_its_completions_were(tokenizer, tmp_path, caplog, value):
    reward = Constant(value)
    with caplog.at_level(logging.WARNING):
        trainer(tokenizer, tmp_path, reward).train()
    end, close = tokenizer.convert_tokens_to_ids([END, "</think>"])
    for number, text in enumerate(said(caplog)):
        window = reward.completions[16 * number : 16 * (number + 1)]
        cut = sum(ids[-1] != end for ids in window)
        unclosed = sum(close not in ids for ids in window)  # the prompt ends with the opening tag
        wrong = 16 if value == 0 else 0
        right = 4 if value else 0
        assert text.startswith(f"step {2 * number + 2}: ")
        assert f"Of 16 completions {wrong} were not right, {cut} were cut at max_completion_length {LIMIT}, " in text
        assert f"{unclosed} did not close their thought" in text
        assert f"of 4 groups 4 had equal rewards, {right} were all right" in text
        assert ("harder problems" in text, "easier problems" in text) == (bool(right), bool(wrong))
        assert "dynamic_sampling" in text
    assert len(said(caplog)) == 2


def test_stop_raises_what_warn_says(tokenizer, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        trainer(tokenizer, tmp_path / "warn", Constant(0.0)).train()
    made = trainer(tokenizer, tmp_path / "stop", Constant(0.0), on_no_signal="stop")
    with pytest.raises(StageError, match=re.escape(said(caplog)[0])):
        made.train()
    assert made.state.global_step == 2


@pytest.mark.parametrize(
    ("rewards", "fields"),
    [
        ([length], {}),
        ([Constant(1.0)], {"beta": 0.1}),
        ([Constant(1.0)], {"entropy_coef": 0.1}),
    ],
)
def test_a_window_with_a_gradient_is_not_spoken_of(tokenizer, tmp_path, caplog, rewards, fields):
    with caplog.at_level(logging.WARNING):
        made = trainer(tokenizer, tmp_path, *rewards, on_no_signal="stop", **fields)
        made.train()
    assert made.state.global_step == 4
    assert not said(caplog)


def test_completions_that_are_all_masked_are_a_window_without_gradient(tokenizer, tmp_path, caplog):
    made = trainer(tokenizer, tmp_path, length, max_completion_length=1, mask_truncated_completions=True)
    made.eos_token_ids, made.eos_token_id = [tokenizer.pad_token_id], tokenizer.pad_token_id
    with caplog.at_level(logging.WARNING):
        made.train()
    assert len(said(caplog)) == 2
    assert "16 were cut at max_completion_length 1" in said(caplog)[0]


def test_a_step_that_only_trains_on_earlier_completions_is_no_window(tokenizer, tmp_path, caplog):
    fields = {"steps_per_generation": 2, "logging_steps": 1, "per_device_train_batch_size": 4}
    with caplog.at_level(logging.WARNING):
        trainer(tokenizer, tmp_path, Constant(0.0), **fields).train()
    assert [text.split(":")[0] for text in said(caplog)] == ["step 1", "step 3"]


@pytest.mark.parametrize(
    ("rewards", "fields"),
    [
        ([length, Constant(None)], {}),
        ([length, Constant(float("nan"))], {}),
        ([length, Constant(None)], {"dynamic_sampling": 1, "pass_rate_window": [0.1, 0.9]}),
    ],
)
def test_a_number_without_a_value_is_not_logged(tokenizer, tmp_path, rewards, fields):
    made = trainer(tokenizer, tmp_path, *rewards, log_completions=True, **fields)
    made.train()
    assert made.state.global_step == 4
    events = [event for event in made.state.log_history if "loss" in event]
    assert len(events) == 2
    assert all(isinstance(value, int | float) and value == value for event in events for value in event.values())


def test_what_passes_is_accuracy_or_else_the_first_reward(tokenizer, tmp_path):
    for rewards, rate in (([Constant(0.0), accuracy], 1.0), ([Constant(0.0), length], 0.0)):
        made = trainer(tokenizer, tmp_path, *rewards, max_steps=2)
        made.train()
        assert [event["completions/pass_rate"] for event in made.state.log_history if "loss" in event] == [rate]


def test_a_choice_that_is_none_is_refused(tmp_path):
    with pytest.raises(StageError, match="on_no_signal: 'halt' is not one of"):
        StagedGRPOConfig(str(tmp_path), on_no_signal="halt")


def test_the_check_of_a_recipe_knows_the_choice(tmp_path):
    from light_r1.run.check import inspect

    def problems(value: str) -> list[str]:
        (tmp_path / "r.yaml").write_text(
            "model: {name_or_path: a/b}\ndata: {x: {hub: h/s}}\nstages:\n"
            f"  - {{name: rl, type: grpo, data: x, rewards: [accuracy], args: {{on_no_signal: {value}}}}}\n"
        )
        return [str(problem) for problem in inspect(tmp_path / "r.yaml").problems]

    assert problems("stop") == []
    (found,) = problems("stopp")
    assert "rl.args.on_no_signal" in found
    assert "Did you mean stop?" in found
