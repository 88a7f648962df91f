from __future__ import annotations

import copy
import logging
import math

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.nn.functional import logsigmoid

from light_r1.errors import DataError, StageError
from light_r1.trainers.dpo.config import SemiOnPolicyDPOConfig
from light_r1.trainers.dpo.trainer import SemiOnPolicyDPOTrainer
from tests.conftest import make_model


def pair(a: int, b: int) -> dict:
    def answer(value: int) -> str:
        return f"<think>\n{a}+{b}={value}\n</think>\n\n\\boxed{{{value}}}."

    return {"problem": f"{a}+{b}?", "chosen": answer(a + b), "rejected": answer(a + b + 10)}


ROWS = [pair(a, b) for a in range(4) for b in range(4)]


def config(folder, **fields) -> SemiOnPolicyDPOConfig:
    defaults = {
        "loss_type": "nca_pair",
        "beta": 0.5,
        "max_length": 256,
        "per_device_train_batch_size": 8,
        "num_train_epochs": 2,
        "bf16": False,
        "activation_checkpointing": False,
        "save_strategy": "no",
        "report_to": "none",
        "logging_steps": 1,
        "learning_rate": 1e-3,
        "use_cpu": True,
        "disable_tqdm": True,
    }
    return SemiOnPolicyDPOConfig(str(folder), **{**defaults, **fields})


def trainer(tokenizer, folder, rows=ROWS, *, model=None, peft_config=None, **fields):
    extra = {"peft_config": peft_config} if peft_config else {}
    model = model or make_model(tokenizer)
    return SemiOnPolicyDPOTrainer(model, config(folder, **fields), rows, processing_class=tokenizer, **extra)


def logged(made, key: str) -> list[float]:
    return [entry[key] for entry in made.state.log_history if key in entry]


@pytest.mark.parametrize("peft_config", [None, LoraConfig(r=4, task_type="CAUSAL_LM")], ids=["full", "lora"])
def test_the_reference_is_the_policy_as_it_starts(tokenizer, tmp_path, peft_config):
    # Weights changed in memory after loading: what TRL would reload from disk is another model.
    model = make_model(tokenizer)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    made = trainer(tokenizer, tmp_path, model=model, peft_config=peft_config)
    made.train()
    assert logged(made, "loss")[0] == pytest.approx(2 * math.log(2), abs=1e-6)
    assert logged(made, "rewards/margins")[0] == pytest.approx(0, abs=1e-6)
    assert logged(made, "loss")[-1] < logged(made, "loss")[0]
    assert logged(made, "rewards/margins")[-1] > 0


def completion_logp(model, prompt: list[int], completion: list[int]) -> torch.Tensor:
    ids = torch.tensor([prompt + completion])
    logps = torch.log_softmax(model(ids).logits[0, :-1].float(), -1)
    return sum(logps[position - 1, ids[0, position]] for position in range(len(prompt), ids.shape[1]))


def test_nca_equals_the_loss_written_out(tokenizer, tmp_path):
    reference, policy = make_model(tokenizer), make_model(tokenizer, seed=1)
    made = trainer(tokenizer, tmp_path, ROWS[:3], model=make_model(tokenizer), per_device_train_batch_size=3)
    batch = next(iter(made.get_train_dataloader()))
    made.model.load_state_dict(policy.state_dict())
    loss = made.compute_loss(made.model.eval(), batch)
    beta, expected = 0.5, []
    for row in ROWS[:3]:
        prompt = made.chat.prompt_ids(row["problem"])
        chosen, rejected = (made.chat.completion_ids(row[side]) for side in ("chosen", "rejected"))
        won, lost = (
            beta * (completion_logp(policy, prompt, ids) - completion_logp(reference, prompt, ids))
            for ids in (chosen, rejected)
        )
        expected.append(-logsigmoid(won) - 0.5 * logsigmoid(-won) - 0.5 * logsigmoid(-lost))
    assert float(loss) == pytest.approx(float(torch.stack(expected).mean()), abs=1e-5)


def test_nca_has_its_floor_where_the_documentation_says():
    rewards = torch.linspace(-6, 6, 12001, dtype=torch.float64)
    chosen = -logsigmoid(rewards) - 0.5 * logsigmoid(-rewards)
    assert float(chosen.min()) == pytest.approx(0.955, abs=5e-4)
    assert float(rewards[chosen.argmin()]) == pytest.approx(math.log(2), abs=2e-3)


def test_both_sides_keep_their_end_token_and_special_tokens(tokenizer, tmp_path):
    made = trainer(tokenizer, tmp_path)
    for row in made.train_dataset:
        for side in ("chosen_ids", "rejected_ids"):
            assert row[side][-1] == tokenizer.eos_token_id
            assert tokenizer.convert_tokens_to_ids("</think>") in row[side]


def test_token_ids_are_taken_as_they_are(tokenizer, tmp_path):
    rows = [{"prompt_ids": [5, 6, 7], "chosen_ids": [8, 9], "rejected_ids": [9, 8, 7]}] * 4
    made = trainer(tokenizer, tmp_path, rows)
    assert made.train_dataset[0]["rejected_ids"] == [9, 8, 7]
    made.train()


def test_overlong_pairs_are_dropped_and_counted(tokenizer, tmp_path):
    long = {**ROWS[0], "rejected": f"<think>{'x' * 500}</think>"}
    made = trainer(tokenizer, tmp_path, [*ROWS, long])
    assert [item["reason"] for item in made.dropped] == ["overlength"]
    with pytest.raises(StageError, match="keeps 95%"):
        trainer(tokenizer, tmp_path, max_length=20)
    with pytest.raises(DataError, match="row 16"):
        trainer(tokenizer, tmp_path, [*ROWS, long], overlength="error")


def test_pairs_do_not_depend_on_the_processes_that_prepare_them(tokenizer, tmp_path):
    alone, shared = (trainer(tokenizer, tmp_path, dataset_num_proc=number).train_dataset for number in (None, 2))
    assert alone.to_list() == shared.to_list()


def test_missing_texts_name_row_and_column(tokenizer, tmp_path):
    with pytest.raises(DataError, match="row 1: no text in rejected"):
        trainer(tokenizer, tmp_path, [ROWS[0], {"problem": "1+1?", "chosen": "2"}])


def test_a_reference_that_trl_would_reload_is_refused(tokenizer, tmp_path):
    with pytest.raises(StageError, match="ref_model"):
        trainer(tokenizer, tmp_path, precompute_ref_log_probs=False)


def test_resume_is_bit_exact(tokenizer, tmp_path):
    fields = {"save_strategy": "steps", "save_steps": 1}
    whole = trainer(tokenizer, tmp_path / "whole", **fields)
    whole.train()
    again = trainer(tokenizer, tmp_path / "again", **fields)
    again.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-1"))
    expected, found = whole.model.state_dict(), again.model.state_dict()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_sharing_the_prompt_changes_no_step(tokenizer, tmp_path):
    shared, padded = (
        trainer(tokenizer, tmp_path / str(share), share_prefixes=share, max_steps=4) for share in (True, False)
    )
    shared.train()
    padded.train()
    for key in ("loss", "rewards/margins", "grad_norm"):
        assert logged(shared, key) == pytest.approx(logged(padded, key), rel=1e-4, abs=1e-5)


def test_a_run_with_nca_says_how_its_loss_is_read(tokenizer, tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="light_r1.trainers.dpo.trainer")
    made = trainer(tokenizer, tmp_path, num_train_epochs=10, learning_rate=5e-3, logging_steps=5)
    made.train()
    assert max(logged(made, "rewards/chosen")) > math.log(2)
    texts = [record.getMessage() for record in caplog.records]
    assert "floor of 0.955" in texts[0] and "by design" in texts[0]
    assert sum("has passed its target" in text for text in texts) == 1
    caplog.clear()
    trainer(tokenizer, tmp_path / "other", loss_type="sigmoid", max_steps=1).train()
    assert not caplog.records


def test_the_margin_and_the_difference_in_length_are_correlated_pair_by_pair(tokenizer, tmp_path):
    rows = [
        {"problem": "p?", "chosen": f"<think>\n{'a' * (1 + 7 * i % 23)}\n</think>\n\n1", "rejected": "b" * (1 + i % 9)}
        for i in range(40)
    ]
    made = trainer(tokenizer, tmp_path, rows, num_train_epochs=1, share_prefixes=False, learning_rate=0.01)
    policy, reference = make_model(tokenizer, seed=3), make_model(tokenizer)
    batches = list(made.get_train_dataloader())
    made.model.load_state_dict(policy.state_dict())
    for batch in batches:
        made.compute_loss(made.model.train(), batch)
    expected = {}
    for row in made.train_dataset:
        margin = 0.0
        for side, sign in (("chosen_ids", 1), ("rejected_ids", -1)):
            ratio = completion_logp(policy, row["prompt_ids"], row[side]) - completion_logp(
                reference, row["prompt_ids"], row[side]
            )
            margin += sign * 0.5 * float(ratio)
        expected[round(margin, 3)] = len(row["chosen_ids"]) - len(row["rejected_ids"])
    found = {round(margin, 3): longer for longer, margin in made.length_watch.pairs}
    assert found == expected and len(made.length_watch.pairs) == 40
    made.log({"loss": 1.0})
    assert -1 <= made.state.log_history[-1]["lengths/margin_correlation"] <= 1


def test_a_second_trainer_on_the_same_adapter_is_held_against_it_as_it_is_then(tokenizer, tmp_path):
    adapted = get_peft_model(make_model(tokenizer), LoraConfig(r=4, task_type="CAUSAL_LM"))
    first = trainer(tokenizer, tmp_path / "0", model=adapted, learning_rate=0.01)
    first.train()
    assert logged(first, "rewards/margins")[-1] > 0.1
    second = trainer(tokenizer, tmp_path / "1", model=adapted)
    second.train()
    assert logged(second, "loss")[0] == pytest.approx(2 * math.log(2), abs=1e-5)
    assert logged(second, "rewards/margins")[0] == pytest.approx(0, abs=1e-5)


def scored(tokenizer, folder, monkeypatch, rows=ROWS, **options) -> tuple[int, object]:
    """Make a trainer and prepare its reference; return how many batches the reference had to score."""
    calls = []
    score = SemiOnPolicyDPOTrainer.compute_ref_log_probs
    monkeypatch.setattr(
        SemiOnPolicyDPOTrainer, "compute_ref_log_probs", lambda *args: (calls.append(1), score(*args))[1]
    )
    made = trainer(tokenizer, folder, rows, per_device_train_batch_size=16, **options)
    made.train()
    monkeypatch.undo()
    return len(calls), made


def test_reference_log_probs_are_found_again_by_what_they_score(tokenizer, tmp_path, monkeypatch):
    first, made = scored(tokenizer, tmp_path, monkeypatch, max_steps=1)
    again, same = scored(tokenizer, tmp_path, monkeypatch, [dict(row) for row in ROWS], max_steps=1)
    assert (first, again) == (1, 0)
    assert same.train_dataset["ref_chosen_logps"] == made.train_dataset["ref_chosen_logps"]
    other_pairs, _ = scored(tokenizer, tmp_path, monkeypatch, [*ROWS[1:], ROWS[0]], max_steps=1)
    other_weights, other = scored(tokenizer, tmp_path, monkeypatch, max_steps=1, model=make_model(tokenizer, seed=5))
    assert (other_pairs, other_weights) == (1, 1)
    assert logged(other, "rewards/margins")[0] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("fields", "theta"),
    [({"ld_alpha": 0.5}, None), ({"bf16": True}, None), ({}, 100.0)],
    ids=["ld_alpha", "bf16", "rope"],
)
def test_a_reference_is_scored_anew_when_something_else_changes_it(tokenizer, tmp_path, fields, theta):
    trainer(tokenizer, tmp_path, loss_type="sigmoid")
    model = make_model(tokenizer)
    if theta is not None:
        config = copy.deepcopy(model.config)
        config.rope_parameters = {**config.rope_parameters, "rope_theta": theta}
        changed = type(model)(config)
        changed.load_state_dict(model.state_dict())
        model = changed
    made = trainer(tokenizer, tmp_path, model=model, loss_type="sigmoid", max_steps=1, **fields)
    made.train()
    assert logged(made, "loss")[0] == pytest.approx(math.log(2), abs=2e-3)
    assert logged(made, "rewards/margins")[0] == pytest.approx(0, abs=2e-3)


def test_another_reference_than_the_start_is_what_is_passed(tokenizer, tmp_path):
    reference, policy = make_model(tokenizer, seed=1), make_model(tokenizer)
    made = SemiOnPolicyDPOTrainer(
        policy, config(tmp_path, max_steps=1), ROWS[:4], processing_class=tokenizer, ref_model=reference
    )
    made.train()
    row = made.train_dataset[2]
    expected = completion_logp(reference, row["prompt_ids"], row["chosen_ids"])
    assert row["ref_chosen_logps"] == pytest.approx(float(expected.detach()), abs=1e-4)
    assert abs(logged(made, "rewards/margins")[0]) > 1e-3
