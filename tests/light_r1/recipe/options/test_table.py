from __future__ import annotations

import dataclasses
import importlib
import inspect
import subprocess
import sys

import pytest

from light_r1.recipe.options.source import SourceError
from light_r1.recipe.options.table import REQUIRED, UNKNOWN, keyword_only, table

CONFIGS = [
    "trl:SFTConfig", "trl:DPOConfig", "trl:GRPOConfig", "peft:LoraConfig",
    "light_r1.trainers.sft.config:CurriculumSFTConfig", "light_r1.trainers.dpo.config:SemiOnPolicyDPOConfig",
    "light_r1.trainers.grpo.config:StagedGRPOConfig", "light_r1.stages.sampling:SampleOptions",
    "light_r1.rollouts.pairs:PairOptions",
    "light_r1.recipe.spec:SourceSpec", "light_r1.recipe.spec:EvaluateSpec",
]  # fmt: skip


@pytest.mark.parametrize("dotted", CONFIGS)
def test_fields_and_defaults_are_those_of_the_real_class(dotted):
    module, name = dotted.split(":")
    real = {
        field.name: field for field in dataclasses.fields(getattr(importlib.import_module(module), name)) if field.init
    }
    read = table(dotted).fields
    assert set(read) == set(real)
    for field in real.values():
        default = read[field.name].default
        has_none = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        assert (default is REQUIRED) == has_none, field.name
        if default not in (REQUIRED, UNKNOWN) and field.default is not dataclasses.MISSING:
            assert default == field.default, field.name


@pytest.mark.parametrize("dotted", ["transformers:BitsAndBytesConfig", "light_r1.rewards.verified:get_cosine_reward"])
def test_arguments_are_those_of_the_real_signature(dotted):
    module, name = dotted.split(":")
    parameters = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    named = {n for n, p in parameters.items() if p.kind is not inspect.Parameter.VAR_KEYWORD}
    assert set(table(dotted).fields) == named


def test_only_keyword_only_options_of_a_tool_are_its_options():
    from data_tools.tools.difficulty import difficulty

    expected = {n for n, p in inspect.signature(difficulty).parameters.items() if p.kind is p.KEYWORD_ONLY}
    assert set(keyword_only("data_tools.tools.difficulty:difficulty").fields) == expected


def test_types_are_read_from_annotations():
    fields = table("light_r1.trainers.sft.config:CurriculumSFTConfig").fields
    assert fields["packing"].type.describe() == "auto or true or false"
    assert fields["order"].type.choices == ("random", "by_difficulty", "staged")
    assert fields["learning_rate"].type.kinds == {"float"}
    assert "cosine" in fields["lr_scheduler_type"].type.choices
    assert fields["stop_after_epochs"].type.kinds == {"float", "none"}


@pytest.mark.parametrize("dotted", ["no_such_package:X", "light_r1.recipe.options.table:Nothing", "nodots"])
def test_what_is_not_there_is_a_source_error(dotted):
    with pytest.raises(SourceError):
        table(dotted)


def test_reading_imports_nothing():
    code = (
        "import sys\nfrom light_r1.recipe.options.table import table\n"
        "table('trl:GRPOConfig'), table('peft:LoraConfig'), table('transformers:BitsAndBytesConfig')\n"
        "assert not {'torch', 'trl', 'peft', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
