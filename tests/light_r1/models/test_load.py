from __future__ import annotations

import pytest
import torch
from peft import get_peft_model

from light_r1.errors import LightR1Error
from light_r1.models.load import (
    add_think_tokens,
    init_model,
    load_model,
    load_tokenizer,
    lora_config,
    resolve_attention,
    save_model,
)
from tests.conftest import character_tokenizer, make_model

TEXT = "<think>\n12 + 34=46\n</think>\n\n\\boxed{46}<|im_end|>"


def test_a_tokenizer_comes_back_as_it_was_saved_beside_any_config(tokenizer, tmp_path):
    save_model(make_model(tokenizer), tokenizer, tmp_path)
    again = load_tokenizer(tmp_path)
    assert again(TEXT)["input_ids"] == tokenizer(TEXT)["input_ids"]
    assert again.decode(again(TEXT)["input_ids"]) == TEXT
    assert (again.eos_token, again.pad_token) == (tokenizer.eos_token, tokenizer.pad_token)


def test_padding_is_not_the_end_where_the_vocabulary_has_a_spare_token(tokenizer, tmp_path):
    bare = character_tokenizer("chatml", think_special=False)
    bare.pad_token = None
    bare.save_pretrained(tmp_path)
    assert load_tokenizer(tmp_path).pad_token == "<|endoftext|>"


def test_saved_weights_come_back(tokenizer, tmp_path):
    model = make_model(tokenizer)
    save_model(model, tokenizer, tmp_path)
    again = load_model(tmp_path, dtype="float32", attn_implementation="sdpa")
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())
    assert load_model(tmp_path, dtype="bfloat16").dtype == torch.bfloat16


def test_a_model_from_nothing_is_seeded_and_fits_its_tokenizer(tokenizer):
    config = {"model_type": "qwen2", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config |= {"num_key_value_heads": 2, "intermediate_size": 64}
    one, same, other = (init_model(config, tokenizer, seed=seed) for seed in (1, 1, 2))
    assert one.config.vocab_size == len(tokenizer)
    assert one.config.eos_token_id == tokenizer.eos_token_id
    assert torch.equal(one.get_input_embeddings().weight, same.get_input_embeddings().weight)
    assert not torch.equal(one.get_input_embeddings().weight, other.get_input_embeddings().weight)
    with pytest.raises(LightR1Error, match="model_type is missing"):
        init_model({"hidden_size": 32}, tokenizer, seed=0)


@pytest.mark.parametrize("tied", [True, False])
def test_new_think_tokens_train_under_lora_and_survive_the_merge(tmp_path, tied):
    tokenizer = character_tokenizer("chatml", think_special=False)
    model = make_model(tokenizer, tied=tied)
    before = model.get_input_embeddings().weight.detach().clone()
    new = add_think_tokens(model, tokenizer, ("<think>", "</think>"))
    assert new == [len(before), len(before) + 1]
    assert torch.allclose(model.get_input_embeddings().weight[new].mean(0), before.mean(0), atol=0.1)
    assert add_think_tokens(model, tokenizer, ("<think>", "</think>")) == []
    save_model(model, tokenizer, tmp_path / "base")

    base = load_model(tmp_path / "base", dtype="float32", attn_implementation="sdpa")
    start = base.get_input_embeddings().weight.detach().clone()
    adapted = get_peft_model(base, lora_config({"r": 2, "target_modules": ["q_proj"]}, new_token_ids=new))
    optimizer = torch.optim.SGD([p for p in adapted.parameters() if p.requires_grad], lr=1.0)
    ids = torch.tensor([[5, *new, 6]])
    adapted(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()
    trained = adapted(input_ids=ids).logits.detach()
    adapted.save_pretrained(tmp_path / "adapter")
    tokenizer.save_pretrained(tmp_path / "adapter")

    whole = load_model(tmp_path / "adapter", dtype="float32", attn_implementation="sdpa")
    moved = (whole.get_input_embeddings().weight - start).abs().sum(1).detach()
    assert (moved[new] > 0).all()
    assert (moved[: new[0]] == 0).all()
    assert torch.allclose(whole(input_ids=ids).logits, trained, atol=1e-4)


def test_attention_auto_is_sdpa_without_a_gpu():
    assert resolve_attention("eager") == "eager"
    if not torch.cuda.is_available():
        assert resolve_attention("auto") == "sdpa"


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", ["sft", "dpo"])
def test_new_think_tokens_train_under_lora_through_the_trainers_and_survive_the_merge(tmp_path, tied, kind):
    from light_r1 import CurriculumSFTTrainer, SemiOnPolicyDPOTrainer
    from tests.light_r1.trainers.dpo import test_trainer as test_dpo_trainer
    from tests.light_r1.trainers.sft import test_trainer as test_sft_trainer

    tokenizer = character_tokenizer("chatml", think_special=False)
    model = make_model(tokenizer, tied=tied)
    new = add_think_tokens(model, tokenizer, ("<think>", "</think>"))
    save_model(model, tokenizer, tmp_path / "base")
    base = load_model(tmp_path / "base", dtype="float32", attn_implementation="sdpa")
    start = {name: value.clone() for name, value in base.state_dict().items()}
    adapter = lora_config({"r": 2, "target_modules": ["q_proj"]}, new_token_ids=new)
    make, tests = {
        "sft": (CurriculumSFTTrainer, test_sft_trainer),
        "dpo": (SemiOnPolicyDPOTrainer, test_dpo_trainer),
    }[kind]
    args = tests.config(tmp_path / "out", max_steps=3, learning_rate=0.05)
    made = make(base, args, tests.ROWS, processing_class=tokenizer, peft_config=adapter)
    made.train()
    made.save_model(str(tmp_path / "adapter"))
    tokenizer.save_pretrained(tmp_path / "adapter")
    merged = load_model(tmp_path / "adapter", dtype="float32", attn_implementation="sdpa")
    rows = merged.get_input_embeddings().weight - start["model.embed_tokens.weight"]
    assert (rows[new].abs().sum(1) > 1e-4).all(), "the new tokens were not trained"
    assert not rows[: new[0]].any()
    assert (merged.lm_head.weight is merged.get_input_embeddings().weight) == tied
    ids = torch.tensor([[5, *new, 6]])
    made.model.eval()
    assert torch.allclose(merged(input_ids=ids).logits, made.model(input_ids=ids).logits, atol=1e-4)
