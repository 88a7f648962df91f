from __future__ import annotations

import json

import jsonschema
import pytest

from light_r1.recipe.options.steps import STEPS
from light_r1.recipe.schema import recipe_schema
from light_r1.recipe.shipped import shipped_recipes
from light_r1.recipe.yaml_lines import parse_yaml, read_yaml

RECIPES = sorted(shipped_recipes().glob("*.yaml"))


def test_the_words_that_a_tool_takes_are_in_the_schema():
    steps = recipe_schema()["$defs"]["stage-data"]["properties"]["steps"]["items"]["anyOf"]
    options = {step["properties"]["tool"].get("const"): step["properties"] for step in steps}
    assert options["difficulty"]["interval"]["enum"] == ["point", "overlaps", "inside"]
    assert options["dedup"]["keep"]["items"] == {"enum": ["answer", "source", "solution"]}
    assert {name for name in options if name} == set(STEPS)


@pytest.fixture(scope="module")
def validator():
    schema = json.loads(json.dumps(recipe_schema()))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_fit_the_schema(path, validator):
    node, problems = read_yaml(path)
    assert not problems
    assert [error.message for error in validator.iter_errors(node.data())] == []


@pytest.mark.parametrize(
    "text",
    [
        "nam: x",
        "model: {name: x}",
        "model: {dtype: bf16}",
        "chat: {template: chatlm}",
        "data: {a: {pth: b}}",
        "stages: [{type: sft}]",
        "stages: [{name: a, type: stf}]",
        "stages: [{name: a, type: sft, args: {max_lenght: 1}}]",
        "stages: [{name: a, type: sft, args: {max_length: -1}}]",
        "stages: [{name: a, type: sft, args: {num_train_epochs: many}}]",
        "stages: [{name: a, type: sft, pairs: {}}]",
        "stages: [{name: a, type: grpo, args: {loss_type: drgrpo}}]",
        "stages: [{name: a, type: grpo, rewards: [acuracy]}]",
        "stages: [{name: a, type: grpo, rewards: [{name: cosine, maxlen: 1}]}]",
        "stages: [{name: a, type: merge, args: {method: tie}}]",
        "stages: [{name: a, type: data, steps: [{tool: difficulty, max_pass_rat: 1}]}]",
        "stages: [{name: a, type: data, steps: [{tool: difficulty, interval: pont}]}]",
        "stages: [{name: a, type: data, steps: [{tool: dedup, keep: [answr]}]}]",
        "defaults: {sft: {args: {max_lenght: 1}}}",
    ],
)
def test_faults_do_not_fit(text, validator):
    node, _ = parse_yaml(text, "recipe.yaml")
    assert list(validator.iter_errors(node.data()))
