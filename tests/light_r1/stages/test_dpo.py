"""Rounds of a DPO stage: what each is held against, and what a killed one costs."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM, TrainerCallback

from data_tools.rows.files import read_rows
from light_r1.models.load import load_model, save_model
from light_r1.stages import load_stage
from light_r1.stages import training as stage_training
from light_r1.stages.base import Artifact, StageJob
from tests.light_r1.stages import test_stages
from tests.light_r1.stages.test_stages import ROWS, job_for

start = test_stages.start  # the fixture

SAMPLE = {"n": 2, "max_tokens": 12, "temperature": 1.0, "batch_size": 8}
ARGS = {"max_length": 256, "loss_type": ["nca_pair"], "learning_rate": 0.02}
LORA = {"r": 4, "target_modules": ["q_proj", "v_proj"]}


def two_rounds(folder, start, *, lora=None, args=None, quantization=None, **options) -> StageJob:
    folder.mkdir()
    options = {"sample": SAMPLE, "rounds": 2, **options}
    job = job_for(folder, start, ROWS, args={**ARGS, **(args or {})}, options=options, lora=lora)
    return replace(job, spec=replace(job.spec, model=replace(job.spec.model, quantization=quantization)))


def first_step(job: StageJob, number: int) -> dict[str, float]:
    lines = (job.dir.path / "rounds" / str(number) / "metrics.jsonl").read_text().splitlines()
    return next(found for found in map(json.loads, lines) if "rewards/margins" in found)


def assert_starts_at_its_reference(job: StageJob, number: int) -> None:
    step = first_step(job, number)
    assert step["rewards/margins"] == pytest.approx(0, abs=1e-6)
    assert step["loss"] == pytest.approx(2 * math.log(2), abs=1e-5)


@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
def test_every_round_starts_at_its_own_reference(start, tmp_path, lora):
    job = two_rounds(tmp_path / "run", start, lora=lora)
    load_stage("dpo").run(job)
    for number in (0, 1):
        assert_starts_at_its_reference(job, number)
    models = [job.dir.path / "rounds" / str(number) / "output" / "model" for number in (0, 1)]
    first, second = (load_model(path, dtype="float32").state_dict() for path in models)
    begun = load_model(start.path, dtype="float32").state_dict()
    assert any(not torch.equal(first[name], begun[name]) for name in begun)
    assert any(not torch.equal(second[name], first[name]) for name in begun), "the second round did not train"


def test_a_quantized_policy_starts_at_its_own_reference_too(tokenizer, tmp_path):
    pytest.importorskip("bitsandbytes", reason="4-bit weights need bitsandbytes")
    wide = Qwen2Config(  # bitsandbytes packs blocks of 64 weights on a CPU
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        initializer_range=0.1,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    torch.manual_seed(0)
    save_model(Qwen2ForCausalLM(wide), tokenizer, tmp_path / "start")
    start = Artifact(tmp_path / "start", "model", "0" * 16)
    quantization = {"load_in_4bit": True, "bnb_4bit_compute_dtype": "float32"}
    job = two_rounds(tmp_path / "run", start, lora=LORA, quantization=quantization)
    load_stage("dpo").run(job)
    for number in (0, 1):
        assert_starts_at_its_reference(job, number)


@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
def test_a_kept_reference_is_the_start_of_the_stage(start, tmp_path, lora):
    job = two_rounds(tmp_path / "run", start, lora=lora, reference="keep")
    load_stage("dpo").run(job)
    assert_starts_at_its_reference(job, 0)
    policy = load_model(job.dir.path / "rounds" / "0" / "output" / "model", dtype="float32")
    reference = load_model(start.path, dtype="float32")

    def logp(model, pair, side):
        ids = torch.tensor([pair["prompt_ids"] + pair[side]])
        logps = torch.log_softmax(model(ids).logits[0, :-1], -1)[torch.arange(ids.size(1) - 1), ids[0, 1:]]
        return float(logps[len(pair["prompt_ids"]) - 1 :].sum().detach())

    margins = [
        0.1 * sum(
            sign * (logp(policy, pair, side) - logp(reference, pair, side))
            for side, sign in (("chosen_ids", 1), ("rejected_ids", -1))
        )
        for pair in read_rows(job.dir.path / "rounds" / "1" / "output" / "pairs.jsonl")
    ]  # fmt: skip
    found = first_step(job, 1)["rewards/margins"]
    assert min(margins) - 1e-4 <= found <= max(margins) + 1e-4 and abs(found) > 1e-3


class Killed(RuntimeError):
    pass


class DiesAtItsFirstCheckpoint(TrainerCallback):
    def on_save(self, args, state, control, **kwargs):
        raise Killed


@pytest.mark.parametrize("place", ["round 0 is training", "round 1 has its pairs", "round 1 is training"])
def test_a_killed_stage_goes_on_in_its_round_and_ends_the_same(start, tmp_path, monkeypatch, place):
    saving = {"save_strategy": "steps", "save_steps": 1}
    whole = two_rounds(tmp_path / "whole", start, args=saving)
    expected = load_stage("dpo").run(whole)
    job = two_rounds(tmp_path / "killed", start, args=saving)
    number = int(place.split()[1])
    begun = []
    train = stage_training._train

    def dying(trainer, checkpoint):
        begun.append(checkpoint)
        if len(begun) - 1 == number:
            if "training" in place:
                trainer.add_callback(DiesAtItsFirstCheckpoint())
                train(trainer, checkpoint)
            raise Killed
        train(trainer, checkpoint)

    monkeypatch.setattr(stage_training, "_train", dying)
    with pytest.raises(Killed):
        load_stage("dpo").run(job)
    monkeypatch.undo()
    resumed = []
    monkeypatch.setattr(
        stage_training, "_train", lambda trainer, checkpoint: (resumed.append(checkpoint), train(trainer, checkpoint))
    )
    found = load_stage("dpo").run(job)
    assert len(resumed) == 2 - number, "a round that was done was trained again"
    assert (resumed[0] is not None) == ("training" in place)
    want = load_model(whole.dir.output / "model", dtype="float32").state_dict()
    have = load_model(job.dir.output / "model", dtype="float32").state_dict()
    assert all(torch.equal(want[name], have[name]) for name in want)
    assert found.metrics["round-1/rewards/margins"] == expected.metrics["round-1/rewards/margins"]
