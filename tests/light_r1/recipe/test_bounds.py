from __future__ import annotations

import importlib
import inspect
import re

import pytest

from light_r1.recipe.bounds import CHOICES, LIMITS, Limit, limit_of
from light_r1.recipe.options.table import table


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
