from __future__ import annotations

import json
import shutil

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from light_r1.errors import LightR1Error
from light_r1.models.chat import chat_format
from light_r1.models.export import export_model
from light_r1.models.handover import Handover, read_handover, write_handover
from light_r1.models.load import add_think_tokens, load_tokenizer, lora_config, save_model
from light_r1.models.merge_output import note_dtype
from tests.conftest import character_tokenizer, make_model

TAGS = ["<reason>", "</reason>"]


@pytest.fixture
def model(tokenizer, tmp_path):
    folder = tmp_path / "model"
    save_model(make_model(tokenizer).bfloat16(), tokenizer, folder)
    (folder / "README.md").write_text("the card of a run")
    write_handover(folder, Handover([[1, 2]], [[-1.0]], 9))
    return folder


def adapter_of(base, folder, *, tied):
    """An adapter with think tokens that its base lacks, trained rows included, as a stage of a recipe makes it."""
    torch.manual_seed(1)
    tokenizer = character_tokenizer("chatml", think_special=False)
    save_model(make_model(tokenizer, tied=tied), tokenizer, base)
    whole = AutoModelForCausalLM.from_pretrained(base)
    ids = add_think_tokens(whole, tokenizer, TAGS)
    chat_format(tokenizer, think_tokens=TAGS)
    start = base.with_name("start")
    save_model(whole, tokenizer, start)
    whole.name_or_path = str(start)
    options = {"r": 2, "target_modules": ["q_proj", "up_proj"], "init_lora_weights": False}
    adapted = get_peft_model(whole, lora_config(options, new_token_ids=ids, model=whole))
    for name, weight in adapted.named_parameters():
        if "trainable_tokens_delta" in name:
            weight.data.normal_()
    adapted.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return adapted.eval(), tokenizer


def logits(model, ids):
    with torch.no_grad():
        return model.eval()(input_ids=ids).logits


@pytest.mark.parametrize("tied", [True, False])
def test_an_exported_adapter_computes_and_prompts_as_the_adapter(tmp_path, tied):
    adapted, tokenizer = adapter_of(tmp_path / "base", tmp_path / "adapter", tied=tied)
    to = export_model(tmp_path / "adapter", tmp_path / "whole")
    ids = torch.arange(len(tokenizer))[None]
    whole, base = AutoModelForCausalLM.from_pretrained(to), AutoModelForCausalLM.from_pretrained(tmp_path / "start")
    assert torch.allclose(logits(whole, ids), logits(adapted, ids), atol=1e-4)
    assert not torch.allclose(logits(whole, ids), logits(base, ids), atol=1e-1)
    assert load_tokenizer(to).chat_template == tokenizer.chat_template
    assert load_tokenizer(to)(f"a{TAGS[0]}b").input_ids == tokenizer(f"a{TAGS[0]}b").input_ids
    assert not list(to.glob("adapter*"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "base", "start", "whole"]


def test_a_whole_model_is_copied_bit_by_bit_without_its_card(model, tmp_path):
    to = export_model(model, tmp_path / "to")
    assert {path.name for path in to.iterdir()} == {path.name for path in model.iterdir()} - {"README.md"}
    for path in to.iterdir():
        if path.suffix != ".safetensors":
            assert path.read_bytes() == (model / path.name).read_bytes(), path.name
    before, after = load_file(model / "model.safetensors"), load_file(to / "model.safetensors")
    assert all(torch.equal(before[name], after[name]) and before[name].dtype == after[name].dtype for name in before)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
@pytest.mark.parametrize("key", ["dtype", "torch_dtype"])
def test_weights_and_config_have_the_type_that_was_asked_for(model, tmp_path, dtype, key):
    config = json.loads((model / "config.json").read_text())
    config[key] = config.pop("dtype")
    (model / "config.json").write_text(json.dumps(config))
    to = export_model(model, tmp_path / "to", dtype=dtype)
    assert {str(t.dtype) for t in load_file(to / "model.safetensors").values()} == {f"torch.{dtype}"}
    found = json.loads((to / "config.json").read_text())
    assert (found["dtype"], "torch_dtype" in found) == (dtype, False)
    assert AutoModelForCausalLM.from_pretrained(to, dtype="auto").dtype == getattr(torch, dtype)


def test_the_parts_of_a_composite_config_get_the_type_too(tmp_path):
    parts = {
        "text_config": {"torch_dtype": "float32", "a": 1},
        "vision_config": {"dtype": "float32"},
        "rope": {"b": 2},
    }
    (tmp_path / "config.json").write_text(json.dumps({"torch_dtype": "float32", **parts}))
    note_dtype(tmp_path, "bfloat16")
    expected = {"text_config": {"dtype": "bfloat16", "a": 1}, "vision_config": {"dtype": "bfloat16"}, "rope": {"b": 2}}
    assert json.loads((tmp_path / "config.json").read_text()) == {"dtype": "bfloat16", **expected}


def test_log_probs_are_handed_over_only_with_the_same_weights(model, tmp_path):
    write_handover(model, Handover([[1, 2]], [[-1.0]], 9, lora={"r": 2}, base="x", base_hash="y"))
    assert read_handover(export_model(model, tmp_path / "same")) == Handover([[1, 2]], [[-1.0]], 9)
    assert read_handover(export_model(model, tmp_path / "cast", dtype="float32")) == Handover([[1, 2]])


def test_where_something_is_nothing_is_written(model, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.txt").write_text("mine")
    (tmp_path / "empty").mkdir()
    for to, message in ((tmp_path / "full", "is there already"), (model, "which is read"), (model / "in", "is read")):
        with pytest.raises(LightR1Error, match=message):
            export_model(model, to)
    assert (tmp_path / "full/notes.txt").read_text() == "mine"
    assert not (model / "in").exists()
    export_model(model, tmp_path / "empty")


def test_what_cannot_be_exported_is_told_and_leaves_nothing(model, tmp_path):
    with pytest.raises(LightR1Error, match=r"'bfloat' is not one of .* Did you mean bfloat16"):
        export_model(model, tmp_path / "to", dtype="bfloat")
    tensors = load_file(model / "model.safetensors")
    tensors["model.norm.weight"] *= 1e6
    save_file(tensors, model / "model.safetensors")
    with pytest.raises(LightR1Error, match=r"model.norm.weight of .* in F16 holds NaN or infinity"):
        export_model(model, tmp_path / "to", dtype="float16")
    shutil.copytree(model, tmp_path / "few bits")
    config = json.loads((model / "config.json").read_text())
    (tmp_path / "few bits/config.json").write_text(
        json.dumps({**config, "quantization_config": {"quant_method": "gptq"}})
    )
    with pytest.raises(LightR1Error, match=r"quantised \(gptq\)"):
        export_model(tmp_path / "few bits", tmp_path / "to", dtype="float32")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["few bits", "model"]


def test_an_adapter_of_plain_peft_without_a_tokenizer_takes_that_of_its_base(model, tmp_path):
    whole = AutoModelForCausalLM.from_pretrained(model, dtype="auto")
    options = {"r": 2, "target_modules": ["q_proj"], "init_lora_weights": False, "task_type": "CAUSAL_LM"}
    get_peft_model(whole, LoraConfig(**options)).save_pretrained(tmp_path / "adapter")
    to = export_model(tmp_path / "adapter", tmp_path / "to")
    adapted = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(model, dtype="auto"), tmp_path / "adapter"
    )
    expected = adapted.merge_and_unload().state_dict()
    found = AutoModelForCausalLM.from_pretrained(to, dtype="auto").state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert load_tokenizer(to).get_vocab() == load_tokenizer(model).get_vocab()
