from __future__ import annotations

import math
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import TrainerCallback

from light_r1 import (
    CurriculumSFTConfig,
    CurriculumSFTTrainer,
    SemiOnPolicyDPOConfig,
    SemiOnPolicyDPOTrainer,
    StagedGRPOConfig,
    StagedGRPOTrainer,
)
from light_r1.errors import StageError
from light_r1.models.checkpoints import list_checkpoints
from light_r1.models.load import load_model
from light_r1.trainers.finite import require_finite
from tests.conftest import make_model
from tests.shared import ROOT

KINDS = ("sft", "dpo", "grpo")
RIGHT, WRONG = "<think>\n{0}+1\n</think>\n\n\\boxed{{{0}}}", "<think>\n1+{0}\n</think>\n\n\\boxed{{1{0}}}"
ROWS = [
    {"problem": f"{a}+1?", "solution": RIGHT.format(a + 1), "chosen": RIGHT.format(a + 1), "rejected": WRONG.format(a)}
    for a in range(16)
]


def length(completion_ids, **_):
    return [float(len(ids)) for ids in completion_ids]


def build(kind: str, tokenizer, folder: Path, *, model=None, rewards=(length,), **fields):
    common = {
        "per_device_train_batch_size": 4,
        "max_steps": 6,
        "learning_rate": 1e-3,
        "bf16": False,
        "activation_checkpointing": False,
        "save_steps": 1,
        "logging_steps": 1,
        "lr_scheduler_type": "constant",
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
        **fields,
    }
    model = make_model(tokenizer) if model is None else model
    if kind == "sft":
        args = CurriculumSFTConfig(str(folder), max_length=256, **common)
        return CurriculumSFTTrainer(model, args, ROWS, processing_class=tokenizer)
    if kind == "dpo":
        args = SemiOnPolicyDPOConfig(str(folder), max_length=256, **common)
        pairs = [{key: row[key] for key in ("problem", "chosen", "rejected")} for row in ROWS]
        return SemiOnPolicyDPOTrainer(model, args, pairs, processing_class=tokenizer)
    args = StagedGRPOConfig(str(folder), num_generations=4, max_completion_length=12, **common)
    return StagedGRPOTrainer(model, list(rewards), args, ROWS, processing_class=tokenizer)


def stopped(trainer) -> str:
    with pytest.raises(StageError) as error:
        trainer.train()
    return str(error.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_learning_rate_that_diverges_stops_and_leaves_good_checkpoints_alone(tokenizer, tmp_path, kind):
    trainer = build(kind, tokenizer, tmp_path, learning_rate=1e30)
    text = stopped(trainer)
    broken = (
        "the model gave NaN or infinite logits"
        if kind == "grpo"
        else "the gradient is not finite (norm nan); the loss"
    )
    assert text.startswith(f"step 2: {broken}")
    assert f"The last good checkpoint is {tmp_path / 'checkpoint-1'}" in text
    assert "learning_rate 1e+30" in text
    (good,) = list_checkpoints(tmp_path)
    require_finite(load_model(good), "the checkpoint")


@pytest.mark.parametrize("kind", KINDS)
def test_steps_that_are_neither_logged_nor_saved_nor_clipped_are_looked_at(tokenizer, tmp_path, kind):
    fields = {"max_grad_norm": 0.0, "gradient_accumulation_steps": 2, "logging_steps": 100, "save_strategy": "no"}
    text = stopped(build(kind, tokenizer, tmp_path, learning_rate=1e30, **fields))
    assert text.startswith("step 2: ")
    assert "There is no checkpoint" in text
    assert "max_grad_norm 0" in text


@pytest.mark.parametrize("kind", KINDS)
def test_the_step_is_the_one_that_broke_and_the_last_good_checkpoint_is_named(tokenizer, tmp_path, kind):
    trainer = build(kind, tokenizer, tmp_path, save_steps=2, logging_steps=100)
    usual = trainer.compute_loss
    trainer.compute_loss = lambda *args, **kwargs: (
        usual(*args, **kwargs) * (math.nan if trainer.state.global_step == 3 else 1)
    )
    text = stopped(trainer)
    assert text.startswith("step 4: the gradient is not finite (norm nan)")
    assert f"The last good checkpoint is {tmp_path / 'checkpoint-2'}" in text


def test_an_update_that_overflows_is_not_saved(tokenizer, tmp_path):
    text = stopped(build("dpo", tokenizer, tmp_path, learning_rate=1e39))
    assert text.startswith(f"{tmp_path / 'checkpoint-1'} is not saved: 26 of 26 weights hold NaN or infinite numbers")
    assert not list_checkpoints(tmp_path)


def test_the_last_update_is_looked_at_where_nothing_is_saved(tokenizer, tmp_path):
    trainer = build("sft", tokenizer, tmp_path, learning_rate=1e39, max_steps=1, save_strategy="no")
    assert stopped(trainer).startswith("training has ended: 26 of 26 weights")
    with pytest.raises(StageError, match="is not saved"):
        trainer.save_model(str(tmp_path / "model"))
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("lora", [False, True])
def test_training_does_not_start_from_weights_that_are_no_numbers(tokenizer, tmp_path, lora):
    model = make_model(tokenizer)
    model.model.layers[1].mlp.up_proj.weight.data[3, 5] = math.inf
    if lora:
        model = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    text = stopped(build("sft", tokenizer, tmp_path, model=model))
    assert text.startswith("training does not start: 1 of ")
    assert "layers.1.mlp.up_proj.weight." in text


def test_the_type_of_the_weights_is_named_among_the_causes(tokenizer, tmp_path):
    trainer = build("sft", tokenizer, tmp_path, model=make_model(tokenizer).to(torch.bfloat16), learning_rate=1e30)
    assert "weights are trained in bfloat16, not in float32" in stopped(trainer)


@pytest.mark.parametrize("kind", KINDS)
def test_clean_training_is_what_it_was(tokenizer, tmp_path, kind):
    runs = []
    for watched in (True, False):
        trainer = build(kind, tokenizer, tmp_path / str(watched), max_steps=3, save_strategy="no")
        if not watched:
            trainer.remove_callback(trainer.finite)
            trainer.args.logging_nan_inf_filter = True
            trainer.finite.spread, trainer.finite.see_norm = (lambda loss: loss), (lambda grad_norm: None)
        trainer.train()
        history = [(event["loss"], event["grad_norm"]) for event in trainer.state.log_history if "loss" in event]
        assert len(history) == 3
        runs.append((history, trainer.model.state_dict()))
    (history, weights), (plain_history, plain_weights) = runs
    assert history == plain_history
    assert all(torch.equal(weights[name], plain_weights[name]) for name in plain_weights)


@pytest.mark.parametrize("constant", [math.nan, math.inf, -math.inf, 0.0, -1.5])
def test_a_loss_that_is_no_number_has_no_gradient_that_is_one(tokenizer, tmp_path, constant):
    watch = build("sft", tokenizer, tmp_path).finite
    weight = torch.tensor([1.0, 0.0], requires_grad=True)
    loss = (3 * weight).sum() + constant
    spread = watch.spread(loss)
    spread.backward()
    if math.isfinite(constant):
        assert weight.grad.tolist() == [3.0, 3.0]
        assert spread.item() == loss.item()
    else:
        assert weight.grad.isnan().all()


class Reads(TorchDispatchMode):
    """Counts the numbers that are read from tensors: on a GPU the host waits for each."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def test_a_step_that_is_noted_reads_no_number(tokenizer, tmp_path):
    watch = build("sft", tokenizer, tmp_path).finite
    weight = torch.ones(3, requires_grad=True)
    for grad_norm in (torch.tensor(math.nan), math.inf, None):
        with Reads() as reads:
            watch.spread(weight.sum()).backward()
            watch.see_norm(grad_norm)
            assert reads.count == 0
            bool(weight.isfinite().all())
            assert reads.count == 1  # what a look would have cost
        if grad_norm is None:
            watch.read()
        else:
            with pytest.raises(StageError, match="step 1: the gradient is not finite"):
                watch.read()


class Scales(TrainerCallback):
    """Notes which steps a gradient scaler skipped."""

    def __init__(self, trainer):
        self.trainer = trainer
        self.skipped = []
        self.scale = math.inf

    def on_optimizer_step(self, args, state, control, **kwargs):
        scale = self.trainer.accelerator.scaler.get_scale()
        self.skipped.append(scale < self.scale)
        self.scale = scale


def with_scaler(trainer, monkeypatch, **fields) -> Scales:
    """Compute in float16 with a loss scale, which accelerate refuses on a CPU though torch can."""
    monkeypatch.setattr(trainer.accelerator.state, "_mixed_precision", "fp16")
    monkeypatch.setattr(trainer.accelerator, "native_amp", True)
    trainer.accelerator.scaler = torch.amp.GradScaler("cpu", **fields)
    scales = Scales(trainer)
    trainer.callback_handler.callbacks.insert(0, scales)
    return scales


def test_steps_that_a_loss_scale_skips_are_no_fault_until_twenty_in_a_row(tokenizer, tmp_path, monkeypatch):
    trainer = build("sft", tokenizer, tmp_path / "falls", max_steps=30, save_strategy="no")
    scales = with_scaler(trainer, monkeypatch, init_scale=2.0**24, backoff_factor=0.5)
    trainer.train()
    assert trainer.state.global_step == 30
    assert 1 < sum(scales.skipped) < 20
    trainer = build("sft", tokenizer, tmp_path / "stays", max_steps=30, save_strategy="no")
    scales = with_scaler(trainer, monkeypatch, init_scale=2.0**127, backoff_factor=0.999)
    text = stopped(trainer)
    assert text.startswith("step 20: the gradient is not finite (norm nan), nor was it in the 19 steps before")
    assert "float16 ends at 65504 (loss scale 1.6" in text
    assert scales.skipped == [True] * 20
    require_finite(trainer.model, "nothing was updated")


@pytest.mark.parametrize("seed", range(12))
def test_weights_that_are_no_numbers_are_named(tokenizer, seed):
    chance = random.Random(seed)
    model = make_model(tokenizer, tied=False).to(chance.choice([torch.float32, torch.bfloat16, torch.float16]))
    if seed % 2:
        model = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    weights = dict(model.named_parameters())
    require_finite(model, "as made")
    bad = set(chance.sample(sorted(weights), chance.randint(1, 3)))
    for name in bad:
        flat = weights[name].data.view(-1)
        flat[chance.randrange(len(flat))] = chance.choice([math.nan, math.inf, -math.inf])
    assert bad == {name for name, weight in weights.items() if not weight.isfinite().all()}
    with pytest.raises(StageError) as error:
        require_finite(model, "planted")
    text = str(error.value)
    assert text.startswith(f"planted: {len(bad)} of {len(weights)} weights")
    assert set(text.partition("numbers: ")[2].removesuffix(".").split(", ")) == bad


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_float8_weights_empty_and_whole_numbers_are_looked_at_or_over(dtype):
    model = torch.nn.Module()
    values = torch.ones(8)
    model.packed = torch.nn.Parameter(torch.zeros(4, dtype=torch.uint8), requires_grad=False)
    model.empty = torch.nn.Parameter(torch.zeros(0))
    model.small = torch.nn.Parameter(values.to(dtype), requires_grad=False)
    require_finite(model, "clean")
    values[3] = math.nan
    model.small.data = values.to(dtype)
    with pytest.raises(StageError, match="1 of 2 weights hold NaN or infinite numbers: small"):
        require_finite(model, "planted")


def test_an_infinite_reward_names_its_function(tokenizer, tmp_path):
    def endless(completions, **_):
        return [math.inf] + [1.0] * (len(completions) - 1)

    text = stopped(build("grpo", tokenizer, tmp_path, rewards=(length, endless)))
    assert text.startswith("endless returned an infinite reward")


def test_a_recipe_leaves_no_manifest_and_goes_on_from_the_last_good_checkpoint(tmp_path):
    from light_r1.run.walk import run_recipe

    overrides = (f"output_dir={tmp_path}", "base.args.weight_decay=1.0e30", "base.args.save_steps=1")
    stage = tmp_path / "smoke" / "base"
    written = []
    for _ in range(2):
        with pytest.raises(StageError, match=r"step 3: the gradient is not finite.*checkpoint-2\."):
            run_recipe(ROOT / "recipes" / "smoke.yaml", only="base", overrides=overrides)
        checkpoints = list_checkpoints(stage / "checkpoints")
        assert [path.name for path in checkpoints] == ["checkpoint-1", "checkpoint-2"]
        written.append([path.stat().st_mtime_ns for path in checkpoints])
    assert written[0] == written[1]  # the second run took none of these steps again
    assert not (stage / "manifest.json").exists()
    assert not (stage / "output" / "model").exists()


@pytest.mark.slow
def test_two_processes_stop_at_one_step_with_one_message():
    torchrun = str(Path(sys.executable).with_name("torchrun"))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [torchrun, "--standalone", "--nproc_per_node", "2", "-m", "tests.distributed_finite"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-4000:]
