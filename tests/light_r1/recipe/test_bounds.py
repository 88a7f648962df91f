from __future__ import annotations

import importlib
import inspect
import json
import re

import pytest

from light_r1.errors import RecipeError
from light_r1.recipe.bounds import CHOICES, LIMITS, Limit, limit_of
from light_r1.recipe.options.table import table
from light_r1.recipe.read import load_recipe


@pytest.mark.parametrize(
    ("limit", "inside", "outside", "words"),
    [
        (Limit(0, 1), [0, 0.5, 1], [-0.1, 1.1], "a number at least 0 and at most 1"),
        (Limit(0, open_low=True), [1e-9, 5], [0, -1], "a number above 0"),
        (Limit(0, 1, open_high=True), [0, 0.99], [1], "a number at least 0 and below 1"),
        (Limit(high=0), [-3, 0], [0.1], "a number at most 0"),
    ],
)
def test_limits_hold_and_say_what_they_are(limit, inside, outside, words):
    assert all(limit.holds(value) for value in inside)
    assert not any(limit.holds(value) for value in outside)
    assert limit.describe() == words


def test_nan_is_a_value_of_no_limit():
    assert not any(limit.holds(float("nan")) for limit in LIMITS.values())


SAMPLING = {
    "temperature": -1, "top_p": 1.5, "top_k": -1, "min_p": 2, "repetition_penalty": 0, "max_tokens": 0,
}  # fmt: skip


@pytest.mark.parametrize(("field", "value"), SAMPLING.items())
def test_sampling_out_of_range_is_refused_wherever_a_recipe_has_it(tmp_path, field, value):
    own = {"n": 2, "max_tokens": 9, "temperature": 1.0, field: value}
    grpo = {("max_completion_length" if field == "max_tokens" else field): value}
    file = tmp_path / "r.yaml"
    file.write_text(
        json.dumps(
            {
                "name": "r",
                "model": {"name_or_path": "a/b"},
                "data": {"d": {"path": "d.jsonl"}},
                "evaluate": {"benchmarks": {"b": {"path": "b.jsonl"}}, field: value},
                "stages": [
                    {"name": "s", "type": "data", "data": "d", "steps": [{"tool": "sample", **own}]},
                    {"name": "p", "type": "dpo", "from": "model", "data": "d", "sample": own},
                    {"name": "g", "type": "grpo", "from": "p", "data": "d", "rewards": ["accuracy"], "args": grpo},
                    {"name": "e", "type": "evaluate", "from": "g", "args": {field: value}},
                ],
            }
        )
    )
    with pytest.raises(RecipeError) as caught:
        load_recipe(file)
    found = [str(problem) for problem in caught.value.problems]
    places = ("evaluate", "s.steps.0", "p.sample", "g.args", "e.args")
    keys = [f"{place}.{next(iter(grpo)) if place == 'g.args' else field}: " for place in places]
    assert all(any(key in problem and "out of range" in problem for problem in found) for key in keys), found


def test_a_class_has_its_own_limit_where_a_name_means_two_things():
    assert limit_of("DPOConfig", "beta") != limit_of("GRPOConfig", "beta")
    assert limit_of("SFTConfig", "learning_rate") == limit_of("", "learning_rate")
    assert limit_of("SFTConfig", "nothing") is None


def test_every_default_lies_within_its_limit():
    configs = {"sft": "CurriculumSFTConfig", "dpo": "SemiOnPolicyDPOConfig", "grpo": "StagedGRPOConfig"}
    for dotted in (f"{folder}.config:{name}" for folder, name in configs.items()):
        for field in table(f"light_r1.trainers.{dotted}").fields.values():
            limit = limit_of(field.owner, field.name)
            if limit is not None and isinstance(field.default, int | float) and not isinstance(field.default, bool):
                assert limit.holds(field.default), f"{dotted}.{field.name}: {field.default}"


def test_limits_of_a_class_name_fields_that_exist():
    configs = {"DPOConfig": "trl:DPOConfig", "GRPOConfig": "trl:GRPOConfig", "LoraConfig": "peft:LoraConfig"}
    configs["TrainingArguments"] = "transformers:TrainingArguments"
    configs["BitsAndBytesConfig"] = "transformers:BitsAndBytesConfig"
    configs["ChatSpec"] = "light_r1.recipe.spec:ChatSpec"
    for key in [*LIMITS, *CHOICES]:
        owner, dot, name = key.rpartition(".")
        if dot:
            assert name in table(configs[owner]).fields, key


@pytest.mark.parametrize(
    ("key", "module"),
    [("DPOConfig.loss_type", "trl.trainer.dpo_trainer"), ("GRPOConfig.loss_type", "trl.trainer.grpo_trainer")],
)
def test_losses_are_those_that_the_trainer_compares_with(key, module):
    source = inspect.getsource(importlib.import_module(module))
    for loss in CHOICES[key]:
        assert f'"{loss}"' in source, f"{loss} is not known to {module}"
    compared = set(re.findall(r'loss_type == "(\w+)"', source))
    assert compared <= set(CHOICES[key])


def test_loggers_are_those_that_transformers_knows():
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    known = {"all", "none", *INTEGRATION_TO_CALLBACK}
    assert set(CHOICES["TrainingArguments.report_to"]) == known
