"""Weights take the step that fp32 weights take, whatever type is computed in."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from data_tools.rows.files import write_rows
from light_r1.models.load import save_model
from light_r1.recipe.spec import ModelSpec
from light_r1.stages.base import Artifact
from light_r1.stages.precision import precision_of
from light_r1.trainers.sft.trainer import CurriculumSFTTrainer
from tests.conftest import make_model
from tests.light_r1.stages.test_handover import KINDS, finished, rows_of
from tests.light_r1.stages.test_stages import job_for
from tests.light_r1.trainers.sft import test_trainer as sft_tests
from tests.shared import ROOT

STEPS = {"learning_rate": 1e-6, "lr_scheduler_type": "constant", "warmup_steps": 0, "max_steps": 8}


def saved_base(tokenizer, folder: Path) -> Artifact:
    """A model whose weights bfloat16 holds exactly, so that only training moves them."""
    save_model(make_model(tokenizer).bfloat16().float(), tokenizer, folder)
    return Artifact(folder, "model", "0" * 16)


def update(before: Path, after: Path) -> torch.Tensor:
    start, end = (load_file(folder / "model.safetensors") for folder in (before, after))
    return torch.cat([(end[name].double() - start[name].double()).flatten() for name in sorted(start)])


def compare(update: torch.Tensor, exact: torch.Tensor) -> tuple[float, float]:
    return float(update.norm() / exact.norm()), float(update @ exact / update.norm() / exact.norm())


@pytest.mark.parametrize("kind", KINDS)
def test_full_training_in_bfloat16_takes_the_step_of_fp32(tokenizer, tmp_path, kind):
    base = saved_base(tokenizer, tmp_path / "base")
    moved = {}
    for name, dtype, masters in (
        ("exact", "float32", "auto"),
        ("kept", "bfloat16", "auto"),
        ("lost", "bfloat16", "none"),
    ):
        fields = {"dtype": dtype, "master_weights": masters, "save_dtype": "float32"}
        job = finished(tmp_path / name, base, kind, args=STEPS, **fields)
        moved[name] = update(base.path, job.dir.output / "model")
    norm, cosine = compare(moved["kept"], moved["exact"])
    assert 0.95 < norm < 1.05, f"norm {norm:.3f}, cosine {cosine:.3f}"
    assert cosine > 0.8, f"norm {norm:.3f}, cosine {cosine:.3f}"  # GRPO draws other samples in bfloat16
    assert compare(moved["lost"], moved["exact"])[0] < 0.5  # the fault that the others would show


RECIPE = """
name: {dtype}
model: {{name_or_path: base, dtype: {dtype}, attn_implementation: sdpa, save_dtype: float32}}
chat: {{template: chatml}}
defaults:
  args: {{learning_rate: 1.0e-6, lr_scheduler_type: constant, warmup_steps: 0, max_steps: 8, save_strategy: "no",
         per_device_train_batch_size: 2, report_to: none, activation_checkpointing: false}}
data: {{rows: {{path: rows.jsonl}}, pairs: {{path: pairs.jsonl}}}}
stages:
  - {{name: sft, type: sft, data: rows, args: {{max_length: 256}}}}
  - {{name: dpo, type: dpo, from: model, data: pairs, args: {{max_length: 256, loss_type: sigmoid}}}}
  - name: grpo
    type: grpo
    from: model
    data: rows
    rewards: ["tests.light_r1.stages.test_handover:by_length"]
    args: {{num_generations: 4, max_completion_length: 8}}
"""


@pytest.mark.slow
def test_two_processes_in_bfloat16_take_the_step_of_fp32(tokenizer, tmp_path):
    base = saved_base(tokenizer, tmp_path / "base")
    write_rows(tmp_path / "rows.jsonl", rows_of("sft"))
    write_rows(tmp_path / "pairs.jsonl", rows_of("dpo"))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    for dtype in ("float32", "bfloat16"):
        (tmp_path / f"{dtype}.yaml").write_text(RECIPE.format(dtype=dtype))
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
        command = [*torchrun, "-m", "light_r1.run", f"{dtype}.yaml"]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=500)
        assert done.returncode == 0, done.stderr[-4000:]
    for kind in KINDS:
        kept, exact = (
            update(base.path, tmp_path / "runs" / dtype / kind / "output" / "model")
            for dtype in ("bfloat16", "float32")
        )
        norm, cosine = compare(kept, exact)
        assert 0.95 < norm < 1.05, f"{kind}: norm {norm:.3f}, cosine {cosine:.3f}"


@pytest.mark.parametrize(
    ("model", "args", "types"),
    [
        ({"dtype": "bfloat16"}, {}, ("bfloat16", "float32", "bfloat16", True)),
        ({"dtype": "float32"}, {}, ("float32", "float32", "float32", False)),
        ({"dtype": "float32"}, {"bf16": True}, ("bfloat16", "float32", "float32", True)),
        ({"dtype": "bfloat16"}, {"bf16": False}, ("float32", "float32", "bfloat16", False)),
        ({"dtype": "bfloat16", "master_weights": "none"}, {}, ("bfloat16", "bfloat16", "bfloat16", True)),
        ({"dtype": "bfloat16"}, {"deepspeed": "zero3.json"}, ("bfloat16", "bfloat16", "bfloat16", True)),
        ({"dtype": "bfloat16", "master_weights": "fp32"}, {"fsdp": "x"}, ("bfloat16", "float32", "bfloat16", True)),
        ({"dtype": "bfloat16", "lora": {"r": 4}}, {}, ("bfloat16", "bfloat16", "bfloat16", True)),
        ({"dtype": "bfloat16", "save_dtype": "float32"}, {}, ("bfloat16", "float32", "float32", True)),
    ],
)
def test_types_that_are_computed_in_held_and_saved(tokenizer, tmp_path, model, args, types):
    job = job_for(tmp_path, Artifact(tmp_path, "model", "0"), rows_of("sft"))
    given = {key: value for key, value in job.spec.args.items() if key not in ("bf16", "fp16")}
    spec = replace(job.spec, args={**given, **args}, model=ModelSpec(name_or_path="x", **model))
    found = precision_of(spec, trains=True)
    assert (found.computed, found.held, found.saved, found.mixed) == types
    plain = precision_of(spec, trains=False)
    assert (plain.computed, plain.held, plain.mixed) == (spec.model.dtype, spec.model.dtype, False)


@pytest.mark.parametrize("environment", ["ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_FSDP"])
def test_an_engine_that_was_launched_keeps_its_own_masters(tmp_path, monkeypatch, environment):
    job = job_for(tmp_path, Artifact(tmp_path, "model", "0"), rows_of("sft"))
    monkeypatch.setenv(environment, "true")
    assert precision_of(replace(job.spec, model=ModelSpec(name_or_path="x")), trains=True).held == "bfloat16"


def test_what_is_saved_has_the_type_that_its_config_names(tokenizer, tmp_path):
    base = saved_base(tokenizer, tmp_path / "base")
    for save_dtype, want in ((None, torch.bfloat16), ("float32", torch.float32)):
        job = finished(tmp_path / str(want), base, dtype="bfloat16", save_dtype=save_dtype)
        weights = load_file(job.dir.output / "model" / "model.safetensors")
        assert {value.dtype for value in weights.values()} == {want}
        config = (job.dir.output / "model" / "config.json").read_text()
        assert f'"dtype": "{str(want).removeprefix("torch.")}"' in config
        assert "lm_head.weight" not in weights, "tied weights were written twice"


def test_a_script_that_trains_bfloat16_weights_alone_is_told_once(tokenizer, tmp_path, caplog):
    def built(**fields):
        args = sft_tests.config(tmp_path, **fields)
        return CurriculumSFTTrainer(model, args, sft_tests.ROWS, processing_class=tokenizer)

    model = make_model(tokenizer).bfloat16()
    with caplog.at_level(logging.WARNING):
        built()
    told = [record for record in caplog.records if "nothing keeps them in fp32" in record.message]
    assert len(told) == 1
    caplog.clear()
    model = make_model(tokenizer)
    built()
    assert not [record for record in caplog.records if "nothing keeps them in fp32" in record.message]
