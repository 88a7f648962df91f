from __future__ import annotations

import builtins
import dataclasses
import importlib
import inspect
import subprocess
import sys
import typing

import pytest

from light_r1.recipe.options.source import SourceError, literal
from light_r1.recipe.options.table import REQUIRED, UNKNOWN, table

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


class NamesOrAny(dict):
    """The names of a module; those that it imports for type checkers only are `Any`."""

    def __missing__(self, name):
        return getattr(builtins, name, typing.Any)


BUILT_IN = [*literal("light_r1.rollouts.sampler:SAMPLERS").values(), *literal("light_r1.rewards:REWARDS").values()]


@pytest.mark.parametrize("dotted", [*BUILT_IN, "light_r1.tiny:problems", "light_r1.tiny:drills"])
def test_every_word_that_a_function_of_a_recipe_takes_is_a_choice(dotted):
    module, name = dotted.split(":")
    function = getattr(importlib.import_module(module), name)
    names = NamesOrAny({**vars(typing), **vars(sys.modules[module])})
    for parameter in inspect.signature(function).parameters.values():
        annotation = eval(str(parameter.annotation), {}, names)
        if typing.get_origin(annotation) is typing.Literal:
            words = typing.get_args(annotation)
            assert table(dotted).fields[parameter.name].type.choices == words, parameter.name


def test_words_are_followed_to_the_module_that_lists_them(tmp_path, monkeypatch):
    (tmp_path / "words_listed.py").write_text("from typing import Literal\nWords = Literal['first', 'last']\n")
    (tmp_path / "words_passed_on.py").write_text("from words_listed import Words as Order\n")
    (tmp_path / "words_used.py").write_text(
        "import words_listed\nfrom words_passed_on import Order\nfrom words_turning import Turning\n"
        "def make(*, a: Order, b: 'Order | None' = None, c: words_listed.Words = 'first', d: Turning = 1): ...\n"
    )
    (tmp_path / "words_turning.py").write_text("from words_used import Turning\n")
    monkeypatch.syspath_prepend(tmp_path)
    fields = table("words_used:make").fields
    assert [fields[name].type.choices for name in "abc"] == [("first", "last")] * 3
    assert "none" in fields["b"].type.kinds
    assert fields["d"].type.any


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
