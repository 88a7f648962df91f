from __future__ import annotations

import pytest

from light_r1.recipe.check.model import _ATTENTION
from light_r1.run.check import inspect


def problems(tmp_path, model: str, stage: str = "") -> list[str]:
    path = tmp_path / "r.yaml"
    path.write_text(
        f"model: {model}\ndata: {{x: {{hub: h/s}}}}\n"
        f"stages:\n  - {{name: s, type: sft, data: x, args: {{max_length: 9}}{stage}}}\n"
    )
    return [str(problem) for problem in inspect(path).problems]


def made(config: str) -> str:
    return f'{{init: {{tokenizer: "light_r1.tiny:build_tokenizer", config: {{{config}}}}}}}'


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("{}", "neither name_or_path nor init"),
        ("{name_or_path: ./nowhere}", "no folder ./nowhere"),
        ("{name_or_path: two words}", "neither a folder nor a name on the hub"),
        ("{name_or_path: a/b/c}", "neither a folder nor a name on the hub"),
        ("{name_or_path: a/b, attn_implementation: flash_attention2}", "Did you mean flash_attention_2?"),
        ("{name_or_path: a/b, quantization: {load_in_4bit: true}}", "quantised weights cannot be trained"),
        (
            "{name_or_path: a/b, lora: {r: 8}, quantization: {load_in_4bit: true, load_in_8bit: true}}",
            "exclude each other",
        ),
        ("{name_or_path: a/b, lora: {target_modules: [lm_head]}}", "lm_head cannot have an adapter"),
        ("{init: {config: {model_type: qwen2}}}", "model.init.tokenizer: is missing"),
        ('{init: {tokenizer: "light_r1.tiny:nothing", config: {model_type: qwen2}}}', "cannot be found"),
        (made("hidden_size: 8"), "model_type is missing"),
        (made("model_type: qwen22"), "no model type qwen22"),
        (made("model_type: qwen2, hidden_sze: 8"), "Did you mean hidden_size?"),
        (made("model_type: qwen2, hidden_size: wide"), "Expected an integer"),
        (made("model_type: qwen2, hidden_size: 30, num_attention_heads: 4"), "30 does not split into 4 heads"),
        (made("model_type: qwen2, num_attention_heads: 4, num_key_value_heads: 3"), "3 does not divide"),
    ],
)
def test_faults_of_a_model_are_named(tmp_path, model, says):
    found = problems(tmp_path, model)
    assert any(says in text for text in found), found
    assert all(text.split(":")[1] == "1" for text in found), found


@pytest.mark.parametrize(
    "model",
    [
        "{name_or_path: a/b}",
        "{name_or_path: gpt2}",
        "{name_or_path: a/b, attn_implementation: kernels-community/flash-attn2}",
        "{name_or_path: a/b, attn_implementation: flash_attention_4}",
        "{name_or_path: a/b, lora: {r: 8, target_modules: all-linear}, quantization: {load_in_4bit: true}}",
        made("model_type: qwen2, hidden_size: 32, num_attention_heads: 4, num_key_value_heads: 2"),
        made("model_type: llama, hidden_size: 32, num_attention_heads: 4, rope_theta: 10000.0"),
    ],
)
def test_right_models_raise_no_alarm(tmp_path, model):
    assert problems(tmp_path, model) == []


def test_every_attention_of_transformers_has_a_name_in_the_check():
    from transformers.modeling_utils import AttentionInterface

    table = {name for name in AttentionInterface._global_mapping if "|" not in name and "/" not in name}
    assert set(_ATTENTION) == table | {"auto", "eager"}


def test_a_model_in_a_folder_is_found(tmp_path):
    (tmp_path / "model").mkdir()
    assert problems(tmp_path, f"{{name_or_path: {tmp_path}/model}}") == []


def test_a_stages_own_model_is_checked_where_it_stands(tmp_path):
    found = problems(tmp_path, "{name_or_path: a/b}", ", model: {attn_implementation: flash}")
    assert len(found) == 1
    assert ":4: s.model.attn_implementation: flash is unknown" in found[0]
