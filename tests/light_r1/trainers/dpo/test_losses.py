"""Every loss of TRL on our pairs: the number that plain TRL gives for the same tokens and an exact reference."""

from __future__ import annotations

import re

import pytest
import torch
from datasets import Dataset
from trl import DPOConfig, DPOTrainer

from tests.conftest import make_model
from tests.light_r1.trainers.dpo.test_trainer import ROWS, trainer

LOSSES = re.findall(r"`'(\w+)'`", DPOConfig.__dataclass_fields__["loss_type"].metadata["help"])
assert len(LOSSES) >= 15, "TRL names its losses elsewhere now"
CASES = [
    *({"loss_type": name, "label_smoothing": 0.1 if name in ("robust", "exo_pair") else 0.0} for name in LOSSES),
    {"loss_type": ["nca_pair", "sft"], "loss_weights": [1.0, 0.3]},
    {"loss_type": "sigmoid", "use_weighting": True},
    {"loss_type": "sigmoid", "ld_alpha": 0.5},
    {"loss_type": "sigmoid", "f_divergence_type": "js_divergence"},
]


def plain(tokenizer, folder, fields) -> DPOTrainer:
    args = DPOConfig(str(folder), beta=0.5, bf16=False, report_to="none", use_cpu=True, disable_tqdm=True, **fields)
    rows = Dataset.from_list([{"prompt": "a", "chosen": "b", "rejected": "c"}])
    return DPOTrainer(
        make_model(tokenizer, seed=1), make_model(tokenizer), args, train_dataset=rows, processing_class=tokenizer
    )


def loss_and_gradient(made, batch) -> tuple[float, torch.Tensor]:
    loss = made.compute_loss(made.model.train(), batch)
    loss.backward()
    return float(loss.detach()), made.model.model.layers[0].self_attn.q_proj.weight.grad


@pytest.mark.parametrize("fields", CASES, ids=lambda fields: "-".join(map(str, fields.values())))
def test_every_loss_is_that_of_plain_trl(tokenizer, tmp_path, fields):
    ours = trainer(tokenizer, tmp_path, ROWS[:6], per_device_train_batch_size=6, **fields)
    batch = next(iter(ours.get_train_dataloader()))
    ours.model.load_state_dict(make_model(tokenizer, seed=1).state_dict())
    theirs = plain(tokenizer, tmp_path, fields)
    loss, gradient = loss_and_gradient(ours, dict(batch))
    bare = {key: value for key, value in batch.items() if not key.startswith("ref_")}  # TRL asks its reference model
    expected_loss, expected = loss_and_gradient(theirs, bare)
    assert loss == pytest.approx(expected_loss, abs=1e-5, rel=1e-5)
    assert torch.allclose(gradient, expected, atol=1e-5, rtol=1e-3)
    for key in ("rewards/margins", "logps/chosen", "logps/rejected"):
        assert ours._metrics["train"][key] == pytest.approx(theirs._metrics["train"][key], abs=1e-4)
