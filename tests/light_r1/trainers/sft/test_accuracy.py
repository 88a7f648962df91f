"""Accuracy on held-out problems, and checkpoints selected by it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from light_r1.errors import DataError, StageError
from light_r1.models.chat import ChatFormat
from light_r1.rollouts.hf import HFSampler
from light_r1.rollouts.sampler import Completion
from light_r1.trainers.sft import trainer as sft
from light_r1.trainers.sft.accuracy import sampled_accuracy
from light_r1.trainers.sft.trainer import CurriculumSFTTrainer
from tests.conftest import make_model
from tests.light_r1.trainers.sft.test_trainer import ROWS, config, weights

HELD_OUT = [{**row, "answer": str(row["difficulty"])} for row in ROWS[:5]]
LENGTH = 40


def accelerator(index: int = 0, count: int = 1):
    return SimpleNamespace(
        process_index=index, num_processes=count, device="cpu", reduce=lambda value, reduction: value
    )


@pytest.mark.parametrize("processes", [1, 2])
def test_accuracy_is_the_share_of_right_samples_over_all_processes(tokenizer, monkeypatch, processes):
    chat = ChatFormat(tokenizer)
    asked = []

    def sample(self, requests, params):
        asked.extend((r.prompt_id, r.sample_index) for r in requests)
        assert (params.max_tokens, params.temperature, params.top_p) == (LENGTH, 0.6, 0.95)
        answers = [HELD_OUT[int(r.prompt_id)]["answer"] if r.sample_index else "77" for r in requests]
        answers[0] = "77"
        texts = [f"hm\n</think>\n\n\\boxed{{{answer}}}" for answer in answers]
        return [Completion(r, chat.response_ids(text), True) for r, text in zip(requests, texts, strict=True)]

    monkeypatch.setattr(HFSampler, "sample", sample)
    shares = [
        sampled_accuracy(
            make_model(tokenizer), chat, HELD_OUT, accelerator(i, processes), n=3, max_tokens=LENGTH, batch_size=4
        )
        for i in range(processes)
    ]
    assert sum(shares) == pytest.approx(2 / 3)
    assert sorted(asked) == [(str(row), sample) for row in range(5) for sample in range(3)]


def trained(tokenizer, folder, rows=HELD_OUT, **fields) -> CurriculumSFTTrainer:
    args = config(
        folder,
        num_train_epochs=3,
        save_strategy="epoch",
        eval_strategy="epoch",
        load_best_model_at_end=True,
        learning_rate=1e-2,
        **fields,
    )
    made = CurriculumSFTTrainer(make_model(tokenizer), args, ROWS, rows, processing_class=tokenizer)
    made.train()
    return made


def test_the_checkpoint_that_answers_best_is_kept_although_a_later_one_has_less_loss(tokenizer, tmp_path, monkeypatch):
    scores = iter([0.1, 0.6, 0.2])
    seen = []

    def scripted(model, *args, **options):
        seen.append(weights(model))
        assert options == {"n": 2, "max_tokens": LENGTH, "batch_size": 16}
        return next(scores)

    monkeypatch.setattr(sft, "sampled_accuracy", scripted)
    made = trained(tokenizer, tmp_path, metric_for_best_model="accuracy", eval_samples=2, eval_max_tokens=LENGTH)
    losses = [entry["eval_loss"] for entry in made.state.log_history if "eval_loss" in entry]
    assert losses[2] < losses[1]
    assert [e["eval_accuracy"] for e in made.state.log_history if "eval_accuracy" in e] == [0.1, 0.6, 0.2]
    assert made.state.best_model_checkpoint.endswith("checkpoint-18")
    found = weights(made.model)
    assert all(torch.equal(found[name], seen[1][name]) for name in found)
    assert any(not torch.equal(seen[2][name], seen[1][name]) for name in found)


def test_loss_selects_too_and_the_schedule_may_be_longer(tokenizer, tmp_path):
    made = trained(tokenizer, tmp_path, metric_for_best_model="eval_loss", schedule_epochs=50)
    losses = [entry["eval_loss"] for entry in made.state.log_history if "eval_loss" in entry]
    assert len(losses) == 3
    assert made.state.best_metric == min(losses)
    assert made.evaluate()["eval_loss"] == pytest.approx(min(losses), abs=1e-6)


def test_what_the_samples_lack_is_named(tokenizer, tmp_path):
    with pytest.raises(StageError, match="eval_max_tokens"):
        config(tmp_path, eval_samples=2)
    args = config(tmp_path, eval_samples=2, eval_max_tokens=8)
    with pytest.raises(DataError, match="one eval_dataset"):
        CurriculumSFTTrainer(make_model(tokenizer), args, ROWS, processing_class=tokenizer)
    made = CurriculumSFTTrainer(make_model(tokenizer), args, ROWS, ROWS[:2], processing_class=tokenizer)
    with pytest.raises(DataError, match=r"row 0: eval_samples needs problem and answer; the columns are difficulty"):
        made.evaluate()
