"""Packed rows have the log-probs, token by token, of each row alone."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from light_r1.trainers.sft.trainer import CurriculumSFTTrainer
from tests.conftest import TURN_TOKENS, character_tokenizer, make_model
from tests.light_r1.trainers.sft.test_trainer import ROWS, config


@pytest.mark.parametrize("order", ["random", "by_difficulty", "staged"])
@pytest.mark.parametrize("family", TURN_TOKENS)
def test_packed_tokens_score_as_alone(tmp_path, family, order):
    tokenizer = character_tokenizer(family, think_special=True)
    made = CurriculumSFTTrainer(
        make_model(tokenizer),
        config(tmp_path, packing=True, max_length=300, order=order, per_device_train_batch_size=2),
        ROWS,
        processing_class=tokenizer,
    )
    alone = make_model(tokenizer).eval()
    model = made.model.eval()
    seen = []
    for batch in made.get_train_dataloader():
        with torch.no_grad():
            packed = model(**batch, fused_lm_head=True).log_probs[0]
        starts = [*(batch["position_ids"][0] == 0).nonzero().flatten().tolist(), batch["input_ids"].size(1)]
        for start, end in pairwise(starts):
            ids = batch["input_ids"][:, start:end]
            labels = batch["labels"][0, start + 1 : end]
            with torch.no_grad():
                expected = torch.log_softmax(alone(ids).logits[0, :-1], -1)[torch.arange(end - start - 1), ids[0, 1:]]
            found = packed[start : end - 1]
            kept = labels != -100
            assert kept.any()
            assert float((found - expected)[kept].abs().max()) <= 1e-5
            seen.append(tuple(ids[0].tolist()))
    rendered = [tuple(made.chat.render(row["problem"], row["solution"]).input_ids) for row in ROWS]
    assert sorted(seen) == sorted(rendered), "a row was lost, cut or packed twice"
