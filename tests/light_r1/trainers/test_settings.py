"""What is refused of TRL's settings, by the configs and by the check of a recipe."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from light_r1.errors import StageError
from light_r1.run.check import inspect
from light_r1.trainers.dpo.config import SemiOnPolicyDPOConfig
from light_r1.trainers.grpo.config import StagedGRPOConfig
from light_r1.trainers.settings import DPO, GRPO, RECIPE, SFT, Refusal, refused
from light_r1.trainers.sft.config import CurriculumSFTConfig

CONFIGS = {"sft": CurriculumSFTConfig, "dpo": SemiOnPolicyDPOConfig, "grpo": StagedGRPOConfig}
REFUSALS = [(kind, one) for kind, table in (("sft", SFT), ("dpo", DPO), ("grpo", GRPO)) for one in table]
RECIPES = {
    "sft": "type: sft, data: x, args: {{max_length: 9, {args}}}",
    "dpo": "type: dpo, data: x, args: {{max_length: 9, {args}}}",
    "grpo": "type: grpo, data: x, rewards: [accuracy], args: {{{args}}}",
}
OTHERS: dict[str, Any] = {
    "train_sampling_strategy": "group_by_length",
    "truncation_mode": "keep_end",
    "packing_strategy": "wrapped",
    "dataset_kwargs": {"append_concat_token": True},
    "length_column_name": "tokens",
    "label_names": ["labels"],
    "chat_template_kwargs": {"enable_thinking": False},
    "model_init_kwargs": {"dtype": "float32"},
    "label_smoothing_factor": 0.1,
    "chat_template_path": "some/model",
    "eos_token": "</s>",
    "max_tool_calling_iterations": 3,
    "data_seed": 7,
    "local_rank": 0,
}


def other(refusal: Refusal) -> Any:
    """Return a value that is not taken."""
    return not refusal.taken[0] if isinstance(refusal.taken[0], bool) else OTHERS[refusal.field]


def problems(tmp_path, kind: str, args: str) -> list[str]:
    path = tmp_path / "r.yaml"
    stage = RECIPES[kind].format(args=args)
    path.write_text(f"model: {{name_or_path: a/b}}\ndata: {{x: {{hub: h/s}}}}\nstages:\n  - {{name: s, {stage}}}\n")
    return [str(problem) for problem in inspect(path).problems]


@pytest.mark.parametrize(("kind", "refusal"), REFUSALS, ids=lambda value: getattr(value, "field", value))
def test_a_setting_that_would_have_no_effect_is_refused_by_its_config(tmp_path, kind, refusal):
    value = other(refusal)
    with pytest.raises(StageError, match=f"(?m)^{refusal.field}: .* is refused: .*; expected"):
        CONFIGS[kind](str(tmp_path), use_cpu=True, **{refusal.field: value})


@pytest.mark.parametrize(
    ("kind", "refusal"),
    [
        *REFUSALS,
        *(
            (kind, one)
            for kind, config in CONFIGS.items()
            for one in RECIPE
            if one.field in config.__dataclass_fields__
        ),
    ],
    ids=lambda value: getattr(value, "field", value),
)
def test_a_setting_that_would_have_no_effect_is_refused_by_file_and_line(tmp_path, kind, refusal):
    found = problems(tmp_path, kind, f"{refusal.field}: {json.dumps(other(refusal))}")
    assert any(text.startswith(f"{tmp_path / 'r.yaml'}:4: s.args.{refusal.field}: ") for text in found), found


@pytest.mark.parametrize("kind", CONFIGS)
def test_what_is_taken_includes_every_default(tmp_path, kind):
    tables = {"sft": SFT, "dpo": DPO, "grpo": GRPO}
    defaults = {field.name: field.default for field in dataclasses.fields(CONFIGS[kind])}
    assert not list(refused((*tables[kind], *RECIPE), defaults))
    for one in tables[kind]:
        for value in one.taken:
            CONFIGS[kind](str(tmp_path), use_cpu=True, **{one.field: value})


def test_all_that_is_refused_is_told_at_once(tmp_path):
    with pytest.raises(StageError, match=r"(?s)eos_token.*label_names.*padding_free"):
        CurriculumSFTConfig(str(tmp_path), eos_token="</s>", label_names=["x"], padding_free=True)


CONFLICTS = [
    ("sft", {"train_sampling_strategy": "sequential", "order": "by_difficulty"}, "train_sampling_strategy"),
    ("sft", {"padding_free": True}, "padding_free"),
    ("sft", {"eval_packing": True, "packing": False}, "eval_packing"),
    ("dpo", {"activation_checkpointing_kwargs": {"selective": True}}, "activation_checkpointing_kwargs"),
    ("grpo", {"gradient_checkpointing_kwargs": {"every_n_layers": 2}}, "gradient_checkpointing_kwargs"),
]


@pytest.mark.parametrize(("kind", "fields", "named"), CONFLICTS, ids=lambda value: value if type(value) is str else "")
def test_settings_that_rob_each_other_of_their_effect_are_refused(tmp_path, kind, fields, named):
    with pytest.raises(StageError, match=f"(?m)^{named}: "):
        CONFIGS[kind](str(tmp_path), use_cpu=True, **fields)
    args = ", ".join(f"{name}: {json.dumps(value)}" for name, value in fields.items())
    assert any(f"s.args.{named}: " in text for text in problems(tmp_path, kind, args))


def test_a_recipe_may_name_the_column_of_its_texts(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"body": "1+1=2"}\n')
    head = "model: {name_or_path: a/b}\ndata: {x: {path: rows.jsonl}}\nstages:\n  - "
    for args, fine in (("max_length: 9, dataset_text_field: body", True), ("max_length: 9", False)):
        (tmp_path / "r.yaml").write_text(f"{head}{{name: s, type: sft, data: x, args: {{{args}}}}}\n")
        assert (not inspect(tmp_path / "r.yaml").problems) == fine
