from __future__ import annotations

import logging
import math
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from light_r1.errors import StageError
from light_r1.trainers.finite import SKIPPED_IN_A_ROW, FiniteWatch, likely_causes
from tests.light_r1.trainers.dpo import test_trainer as dpo
from tests.light_r1.trainers.grpo import test_trainer as grpo
from tests.light_r1.trainers.sft import test_trainer as sft
from tests.shared import ROOT

KINDS = {"sft": sft, "dpo": dpo, "grpo": grpo}
SCHEDULE = {"grpo": {"context_schedule": [{"steps": 6, "max_completion_length": 6}]}}


def built(kind: str, tokenizer, folder, **fields):
    fields = {"max_steps": 6, "logging_steps": 100, **SCHEDULE.get(kind, {}), **fields}
    return KINDS[kind].trainer(tokenizer, folder, **fields)


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_that_diverges_stops_with_its_step_and_causes_and_saves_nothing_broken(tokenizer, tmp_path, kind):
    broken = {"learning_rate": 1e30, "save_strategy": "steps", "save_steps": 1, "warmup_steps": 0}
    made = built(kind, tokenizer, tmp_path, **broken)
    with pytest.raises(StageError) as error:
        made.train()
    assert made.state.global_step < 3
    if kind != "grpo":  # which stops at the logits of its next completions
        assert re.match(r"step \d: .*(nan|inf|no numbers)", str(error.value))
        assert "learning_rate 1e+30" in str(error.value)
    for saved in tmp_path.glob("checkpoint-*/model.safetensors"):
        assert all(value.isfinite().all() for value in load_file(saved).values()), saved


@pytest.mark.parametrize("kind", ["sft", "dpo"])
def test_the_step_is_the_one_that_broke_and_the_last_good_checkpoint_is_named(tokenizer, tmp_path, kind, monkeypatch):
    made = built(kind, tokenizer, tmp_path, save_strategy="steps", save_steps=2)
    usual = type(made).compute_loss

    def compute_loss(self, *args, **kwargs):
        loss = usual(self, *args, **kwargs)
        return loss * (math.nan if self.state.global_step == 3 else 1)

    monkeypatch.setattr(type(made), "compute_loss", compute_loss)
    with pytest.raises(StageError, match=r"^step 4: the gradient norm is nan and the loss is nan\.") as error:
        made.train()
    assert f"The last good checkpoint is {tmp_path / 'checkpoint-2'}" in str(error.value)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_that_are_no_numbers_are_not_saved(tokenizer, tmp_path, kind):
    made = built(kind, tokenizer, tmp_path)
    with torch.no_grad():
        made.model.model.norm.weight[3] = math.inf
    with pytest.raises(StageError, match=r"1 of \d+ weights are no numbers: model\.norm\.weight"):
        made.save_model(str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_steps_that_a_gradient_scaler_skips_do_not_count_but_many_in_a_row_do():
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**60)
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    accelerator = SimpleNamespace(optimizer_step_was_skipped=False, device=torch.device("cpu"))
    args = SimpleNamespace(world_size=1, output_dir="nowhere", learning_rate=1e-5, fp16=True, max_grad_norm=1.0)
    watch = FiniteWatch(SimpleNamespace(accelerator=accelerator, args=args))

    def step(number: int, factor: float) -> None:
        optimizer.zero_grad()
        scaler.scale(weight.sum() * factor).backward()
        scaler.unscale_(optimizer)
        norm, scale = weight.grad.norm(), scaler.get_scale()
        scaler.step(optimizer)
        scaler.update()
        accelerator.optimizer_step_was_skipped = scaler.get_scale() < scale
        watch.see_norm(norm)
        watch.on_step_end(args, SimpleNamespace(global_step=number), SimpleNamespace(should_save=False))

    step(1, 1e30)
    assert accelerator.optimizer_step_was_skipped, "nothing overflowed"
    step(2, 1.0)
    assert watch.skipped == 0
    with pytest.raises(StageError, match=f"overflowed {SKIPPED_IN_A_ROW} times in a row") as error:
        for number in range(3, 60):
            step(number, math.inf)
    assert "float16" in str(error.value)


def test_causes_follow_the_settings():
    args = SimpleNamespace(learning_rate=2e-5, fp16=False, max_grad_norm=0)
    causes = likely_causes(args)
    assert "2e-05" in causes[0]
    assert any("not clipped" in cause for cause in causes)


def test_clean_training_is_what_it_was(tokenizer, tmp_path):
    """The watch and the filter of transformers that it replaces change no loss."""
    made = sft.trainer(tokenizer, tmp_path / "a", max_steps=3, logging_steps=1)
    made.train()
    plain = sft.trainer(tokenizer, tmp_path / "b", max_steps=3, logging_steps=1)
    plain.args.logging_nan_inf_filter = True
    plain.remove_callback(FiniteWatch)
    plain.train()
    assert [entry["loss"] for entry in made.state.log_history if "loss" in entry] == [
        entry["loss"] for entry in plain.state.log_history if "loss" in entry
    ]


def equal(completions, **_):
    return [0.0] * len(completions)


def unequal(completion_ids, **_):
    return [float(sum(ids) % 7) for ids in completion_ids]


@pytest.mark.parametrize("what", ["warn", "stop"])
def test_a_window_without_any_gradient_is_told_with_what_was_sampled(tokenizer, tmp_path, caplog, what):
    made = built("grpo", tokenizer, tmp_path, rewards=(equal,), logging_steps=2, on_no_signal=what)
    with caplog.at_level(logging.WARNING):
        if what == "stop":
            with pytest.raises(StageError, match="step 2: no gradient since the last log"):
                made.train()
            return
        made.train()
    told = [record.getMessage() for record in caplog.records if "no gradient since" in record.getMessage()]
    assert len(told) == 3
    assert "Of 16 completions" in told[0]
    assert "16 without a reward above 0" in told[0]


@pytest.mark.parametrize("fields", [{"rewards": (unequal,)}, {"beta": 0.1, "rewards": (equal,)}])
def test_a_window_with_a_gradient_is_not_complained_of(tokenizer, tmp_path, caplog, fields):
    with caplog.at_level(logging.WARNING):
        built("grpo", tokenizer, tmp_path, logging_steps=2, **fields).train()
    assert not [record for record in caplog.records if "no gradient since" in record.getMessage()]


BROKEN_RANK = """
import os, sys, math
from tests.light_r1.trainers.sft import test_trainer as sft
from tests.conftest import character_tokenizer
tokenizer = character_tokenizer("chatml", think_special=True)
made = sft.trainer(tokenizer, sys.argv[1], max_steps=6, logging_steps=100)
assert made.accelerator.num_processes == 2
usual = type(made).compute_loss
def compute_loss(self, *args, **kwargs):
    loss = usual(self, *args, **kwargs)
    return loss * (math.nan if self.state.global_step == 2 and os.environ["RANK"] == "1" else 1)
type(made).compute_loss = compute_loss
try:
    made.train()
except Exception as error:
    print("STOPPED", os.environ["RANK"], type(error).__name__, error, flush=True)
"""


@pytest.mark.slow
def test_a_loss_that_breaks_on_one_process_stops_all_at_the_same_step(tmp_path):
    (tmp_path / "broken.py").write_text(BROKEN_RANK)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [*torchrun, str(tmp_path / "broken.py"), str(tmp_path / "out")]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200)
    told = sorted(line for line in done.stdout.splitlines() if line.startswith("STOPPED"))
    assert [line.split()[1] for line in told] == ["0", "1"], done.stderr[-3000:]
    assert all("StageError step 3: the gradient norm is nan" in line for line in told), told
