from __future__ import annotations

import pytest

from light_r1.recipe.cost.shapes import SHAPES, model_shape, shape_of
from light_r1.recipe.spec import ModelSpec


# Numbers of weights as the model cards give them, in billions.
@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("Qwen/Qwen2.5-0.5B-Instruct", 0.494),
        ("Qwen/Qwen2.5-1.5B-Instruct", 1.544),
        ("Qwen/Qwen2.5-3B-Instruct", 3.086),
        ("Qwen/Qwen2.5-7B-Instruct", 7.616),
        ("Qwen/Qwen2.5-14B-Instruct", 14.77),
        ("Qwen/Qwen2.5-32B-Instruct", 32.76),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", 1.777),
    ],
)
def test_known_shapes_have_the_published_number_of_weights(name, billions):
    assert SHAPES[name].parameters / 1e9 == pytest.approx(billions, rel=1e-3)


@pytest.mark.parametrize("tied", [True, False])
def test_parameters_are_those_of_a_real_model(tokenizer, tied):
    from peft import LoraConfig, get_peft_model

    from tests.conftest import make_model

    model = make_model(tokenizer, tied=tied)
    shape = shape_of(model.config.to_dict())
    assert shape.parameters == sum(weight.numel() for weight in model.parameters())
    adapted = get_peft_model(model, LoraConfig(r=3, target_modules="all-linear"))
    assert shape.lora_parameters(3) == sum(w.numel() for n, w in adapted.named_parameters() if "lora_" in n)


def test_a_models_shape_comes_from_size_init_disk_or_the_table(tmp_path):
    size = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    assert model_shape(ModelSpec(name_or_path="Qwen/Qwen2.5-7B-Instruct", size=size)).hidden_size == 8
    assert model_shape(ModelSpec(init={"config": size})).vocab_size == 0
    (tmp_path / "config.json").write_text(
        '{"hidden_size": 16, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}'
    )
    assert model_shape(ModelSpec(name_or_path=str(tmp_path))).head_dim == 8
    assert model_shape(ModelSpec(name_or_path="Qwen/Qwen2.5-7B-Instruct")).num_hidden_layers == 28
    assert model_shape(ModelSpec(name_or_path="nobody/knows")) is None
