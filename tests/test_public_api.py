"""Names and signatures that scripts of users depend on."""

from __future__ import annotations

import inspect

import pytest
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

import light_r1

NAMES = {
    "ChatFormat",
    "CurriculumSFTConfig",
    "CurriculumSFTTrainer",
    "HFSampler",
    "Request",
    "SamplingParams",
    "SemiOnPolicyDPOConfig",
    "SemiOnPolicyDPOTrainer",
    "StagedGRPOConfig",
    "StagedGRPOTrainer",
    "accuracy",
    "build_pairs",
    "compare",
    "get_cosine_reward",
    "load_recipe",
    "merge_models",
    "run_recipe",
}


def test_every_public_name_loads_and_is_documented():
    assert set(light_r1.__all__) - {"__version__"} == NAMES
    for name in NAMES:
        assert len(inspect.getdoc(getattr(light_r1, name))) > 80, f"help({name}) says too little"
    assert dir(light_r1) == sorted(light_r1.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Curriculum"):
        light_r1.CurriculumTrainer  # noqa: B018


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("CurriculumSFTTrainer", SFTTrainer),
        ("SemiOnPolicyDPOTrainer", DPOTrainer),
        ("StagedGRPOTrainer", GRPOTrainer),
    ],
)
def test_trainers_inherit_once(ours, theirs):
    assert getattr(light_r1, ours).__bases__ == (theirs,)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("CurriculumSFTConfig", SFTConfig), ("SemiOnPolicyDPOConfig", DPOConfig), ("StagedGRPOConfig", GRPOConfig)],
)
def test_configs_document_each_field_they_add(ours, theirs):
    config = getattr(light_r1, ours)
    added = set(config.__annotations__)
    assert config.__bases__ == (theirs,)
    for field in added:
        assert f"{field}:" in config.__doc__, f"{ours}.{field} is not documented"
        assert config.__dataclass_fields__[field].metadata["help"]


def test_run_recipe_takes_what_the_documentation_shows():
    parameters = inspect.signature(light_r1.run_recipe).parameters
    assert list(parameters) == ["recipe", "only", "start", "overrides"]
