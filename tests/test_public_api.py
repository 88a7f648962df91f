"""Names and signatures that scripts of users depend on."""

from __future__ import annotations

import inspect

import pytest
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

import data_tools
import light_r1

NAMES = {
    light_r1: {
        "ChatFormat",
        "Completion",
        "CurriculumSFTConfig",
        "CurriculumSFTTrainer",
        "GroupReward",
        "HFSampler",
        "Request",
        "SamplingParams",
        "SemiOnPolicyDPOConfig",
        "SemiOnPolicyDPOTrainer",
        "Stage",
        "StageResult",
        "StagedGRPOConfig",
        "StagedGRPOTrainer",
        "__version__",
        "accuracy",
        "build_pairs",
        "compare",
        "get_cosine_reward",
        "leave_ranks",
        "load_model",
        "load_recipe",
        "load_reward",
        "merge_models",
        "run_recipe",
    },
    data_tools: {
        "DataToolsError",
        "Dropped",
        "RolloutStore",
        "StopRule",
        "TOOLS",
        "Verdict",
        "VerifierPool",
        "Window",
        "canonical_rows",
        "extract_answer",
        "fold",
        "per_row",
        "read_rows",
        "run_tool",
        "sample_until_settled",
        "shard",
        "verify",
        "why_ungradable",
        "write_rows",
    },
}
SIGNATURES = {
    light_r1.run_recipe: "recipe, *, only, start, overrides, verify_outputs",
    light_r1.merge_models: "models, out, *, method, base, weights, densities, scale, normalize, seed, shard_bytes",
    light_r1.build_pairs: "rows, chat, options",
    data_tools.verify: "prediction, gold, *, with_thought",
    data_tools.extract_answer: "solution, problem",
    data_tools.why_ungradable: "answer, problem, *, allow_text",
    data_tools.fold: "rows, steps, *, on_dropped, on_error",
    data_tools.run_tool: "name, in_path, out_path, options, *, columns, workers, on_error, engine, progress",
    data_tools.canonical_rows: "path, *, columns, on_error, on_malformed",
    data_tools.read_rows: "path, *, on_error, on_malformed",
    data_tools.write_rows: "path, rows",
    data_tools.per_row: "check, rows, **options",
    data_tools.VerifierPool: "workers, deadline_s, start_method, *, with_thought",
}


@pytest.mark.parametrize("face", NAMES, ids=lambda face: face.__name__)
def test_every_public_name_loads_and_is_documented(face):
    assert set(face.__all__) == NAMES[face]
    assert dir(face) == sorted(face.__all__)
    for name in NAMES[face] - {"__version__", "TOOLS"}:
        assert len(inspect.getdoc(getattr(face, name))) >= 80, f"help({name}) says too little"


@pytest.mark.parametrize(
    ("function", "expected"), SIGNATURES.items(), ids=lambda value: getattr(value, "__name__", "")
)
def test_signatures_are_those_that_scripts_depend_on(function, expected):
    """Names, order, and what is given by name only."""
    written, named = [], False
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind == parameter.KEYWORD_ONLY and not named:
            written.append("*")
            named = True
        written.append(f"**{parameter.name}" if parameter.kind == parameter.VAR_KEYWORD else parameter.name)
    assert ", ".join(written) == expected


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'light_r1' has no attribute 'CurriculumTrainer'"):
        light_r1.CurriculumTrainer  # noqa: B018
    with pytest.raises(AttributeError, match="'data_tools' has no attribute 'verifier'"):
        data_tools.verifier  # noqa: B018


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
