"""Adapters on 4-bit weights train on a CPU, whoever loaded the weights."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from light_r1.models.load import save_model
from light_r1.trainers.dpo.config import SemiOnPolicyDPOConfig
from light_r1.trainers.dpo.trainer import SemiOnPolicyDPOTrainer
from light_r1.trainers.grpo.config import StagedGRPOConfig
from light_r1.trainers.grpo.trainer import StagedGRPOTrainer
from light_r1.trainers.sft.config import CurriculumSFTConfig
from light_r1.trainers.sft.trainer import CurriculumSFTTrainer
from tests.conftest import make_model

ROWS = [{"problem": f"question {i}", "solution": "x" * (5 + i), "answer": "x"} for i in range(4)]
PAIRS = [{"problem": row["problem"], "chosen": row["solution"], "rejected": "z" * 9} for row in ROWS]


def distinct(completion_ids, **_):
    return [float(len(set(ids))) for ids in completion_ids]


@pytest.mark.parametrize("by_path", [True, False], ids=["loaded by TRL", "loaded before"])
@pytest.mark.parametrize("name", ["sft", "dpo", "grpo"])
def test_a_step_after_a_pass_without_gradient_trains_on_quantized_weights(tokenizer, tmp_path, name, by_path):
    """bitsandbytes packs a layer in its first pass without a gradient, on CPUs with bfloat16 units."""
    pytest.importorskip("bitsandbytes", reason="4-bit weights need bitsandbytes")
    save_model(make_model(tokenizer, hidden=128), tokenizer, tmp_path / "start")
    quantized = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=torch.float32)
    init = {"dtype": "float32", "quantization_config": quantized}
    fields = {
        "output_dir": str(tmp_path / "out"),
        "max_steps": 2,
        "per_device_train_batch_size": 2,
        "learning_rate": 1e-3,
        "use_cpu": True,
        "bf16": False,
        "report_to": [],
        "save_strategy": "no",
        "disable_tqdm": True,
        "model_init_kwargs": init if by_path else None,
    }
    model = tmp_path / "start"
    options = {
        "model": str(model) if by_path else AutoModelForCausalLM.from_pretrained(model, **init),
        "processing_class": tokenizer,
        "peft_config": LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"),
    }
    if name == "sft":
        args = CurriculumSFTConfig(**fields, missing_think="keep", eval_strategy="steps", eval_steps=1)
        trainer = CurriculumSFTTrainer(args=args, train_dataset=ROWS, eval_dataset=ROWS, **options)
    elif name == "dpo":
        trainer = SemiOnPolicyDPOTrainer(args=SemiOnPolicyDPOConfig(**fields), train_dataset=PAIRS, **options)
    else:
        args = StagedGRPOConfig(**fields, num_generations=2, max_completion_length=8)
        trainer = StagedGRPOTrainer(args=args, train_dataset=ROWS, reward_funcs=[distinct], **options)
    before = {key: value.detach().clone() for key, value in trainer.model.named_parameters() if value.requires_grad}
    trainer.train()
    after = dict(trainer.model.named_parameters())
    assert all(torch.isfinite(after[key]).all() for key in before)
    assert any(not torch.equal(after[key], value) for key, value in before.items())
