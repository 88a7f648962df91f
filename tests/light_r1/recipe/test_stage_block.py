from __future__ import annotations

import pytest

from light_r1.recipe.options.source import SourceError, read_module
from light_r1.recipe.read import read_recipe
from light_r1.recipe.stage_block import reward_names, reward_parameters, stage_type, stage_types


def read(tmp_path, stages: str, rest: str = ""):
    path = tmp_path / "r.yaml"
    path.write_text(f"model: {{name_or_path: a/b}}\n{rest}stages:\n  - {stages}\n")
    recipe, problems = read_recipe(path)
    return recipe, [str(problem) for problem in problems]


def test_stage_types_are_read_from_their_classes():
    for name in stage_types():
        kind = stage_type(name)
        from light_r1.stages import load_stage

        assert kind.makes == load_stage(name).makes
    assert "learning_rate" in stage_type("sft").args.fields
    assert "rewards" in stage_type("grpo").options.fields


def test_a_stage_of_ones_own_is_read_without_import(tmp_path, monkeypatch):
    (tmp_path / "own_stage.py").write_text(
        "raise ImportError('not during validation')\n"
        "from light_r1.stages.base import Stage\n"
        "class MyStage(Stage):\n    makes = 'model'\n    args_class = 'own_options:MyArgs'\n"
    )
    (tmp_path / "own_options.py").write_text(
        "from dataclasses import dataclass\n@dataclass\nclass MyArgs:\n    strength: float = 1.0\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    read_module.cache_clear()
    stage_type.cache_clear()
    recipe, problems = read(tmp_path, '{name: s, type: "own_stage:MyStage", args: {strength: 2}}')
    assert not problems
    assert recipe.stage("s").args == {"strength": 2.0}
    _, problems = read(tmp_path, '{name: s, type: "own_stage:MyStage", args: {strengt: 2}}')
    assert "Did you mean strength?" in problems[0]


def test_a_reward_has_the_parameters_of_its_factory():
    assert "max_len" in reward_parameters("cosine").fields
    assert "think_tokens" in reward_parameters("accuracy").fields
    assert reward_parameters("light_r1.rewards.verified:accuracy").fields == {}
    assert set(reward_names()) >= {"accuracy", "format", "cosine"}
    with pytest.raises(SourceError):
        reward_parameters("nothing")


def test_rewards_and_steps_keep_their_options(tmp_path):
    grpo = "{name: g, type: grpo, data: x, rewards: [accuracy, {name: cosine, weight: 0.5, max_len: 10}]}"
    recipe, problems = read(tmp_path, grpo)
    assert not problems
    assert recipe.stage("g").options["rewards"] == ["accuracy", {"name": "cosine", "weight": 0.5, "max_len": 10}]
    data = "{name: d, type: data, data: x, steps: [{tool: difficulty, max_pass_rate: 0.5}]}"
    recipe, problems = read(tmp_path, data)
    assert not problems
    assert recipe.stage("d").options["steps"] == [{"tool": "difficulty", "max_pass_rate": 0.5}]


def test_every_wrong_word_of_a_step_is_named_with_its_line_and_the_nearest(tmp_path):
    steps = "\n      - {tool: difficulty, max_pass_rate: 0.6, interval: pont}\n      - {tool: dedup, keep: [answr]}"
    _, problems = read(tmp_path, f"name: d\n    type: data\n    data: a\n    steps:{steps}", "data: {a: {path: a}}\n")
    interval, keep = problems
    assert "r.yaml:8: d.steps.0.interval: is the text 'pont'. Expected one of point, overlaps, inside." in interval
    assert "Did you mean point?" in interval
    assert "r.yaml:9: d.steps.1.keep.0: is the text 'answr'. Expected one of answer, source, solution." in keep
    assert "Did you mean answer?" in keep


def test_an_own_tool_with_an_option_that_no_recipe_can_say_is_a_fault(tmp_path):
    tool = "tests.data_tools.sample_tools:untypable"
    _, (problem,) = read(tmp_path, f'{{name: d, type: data, data: x, steps: [{{tool: "{tool}", table: {{}}}}]}}')
    assert "r.yaml:3: d.steps.0.tool" in problem
    assert "option table: a command line cannot say the type dict[str, int]" in problem


@pytest.mark.parametrize(
    ("stage", "says"),
    [
        ("{name: s}", "type is missing"),
        ("{name: s, type: 5}", "type is missing"),
        ("{name: s, type: sftt}", "Did you mean sft?"),
        ('{name: s, type: "pathlib:Path"}', "no Stage"),
        ("{name: s, type: data, data: x}", "steps is missing"),
        ("{name: s, type: data, data: x, steps: [{n: 1}]}", "names no tool"),
        ("{name: s, type: data, data: x, steps: [{tool: sample}]}", "max_tokens is missing"),
        ("{name: s, type: grpo, data: x}", "rewards is missing"),
        ("{name: s, type: grpo, data: x, rewards: accuracy}", "is no list"),
        ("{name: s, type: sft, beta: 1}", "no such option"),
        ("{name: s, type: dpo, args: {sample: {n: 1}}}", "is a key of the stage, not of its args"),
        ("{name: s, type: merge, from: [a, b]}", "method is missing"),
    ],
)
def test_faults_of_a_stage_are_named(tmp_path, stage, says):
    _, problems = read(tmp_path, stage)
    assert any(says in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("defaults", "says"),
    [
        ("{argz: {}}", "Did you mean args?"),
        ("{args: {max_lenght: 1}}", "Did you mean max_length?"),
        ("{sft: 5}", "is no mapping"),
        ("[a]", "is no mapping"),
    ],
)
def test_faults_of_defaults_are_named(tmp_path, defaults, says):
    _, problems = read(tmp_path, "{name: s, type: sft}", f"defaults: {defaults}\n")
    assert any(says in problem for problem in problems), problems


def test_think_tokens_that_a_reward_requires_come_from_the_chat(tmp_path, monkeypatch):
    (tmp_path / "own_reward.py").write_text("def get_mine(*, think_tokens, scale: float = 1.0):\n    ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    for entry in ('"own_reward:get_mine"', '{name: "own_reward:get_mine", scale: 2}'):
        _, problems = read(tmp_path, f"{{name: g, type: grpo, data: a, rewards: [{entry}]}}")
        assert not problems
