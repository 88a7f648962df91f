from __future__ import annotations

import json

import pytest

from light_r1.errors import RecipeError
from light_r1.recipe.read import load_recipe, read_recipe, resolved
from light_r1.recipe.shipped import shipped_recipes

RECIPE = """name: r
model: {name_or_path: a/b, lora: {r: 8}}
data: {x: {hub: h/s}}
evaluate: {benchmarks: {bench: {hub: h/b}}, n: 4, after: all}
defaults:
  args: {learning_rate: 1.0e-4, max_length: 100, beta: 0.5}
  sft: {args: {max_length: 200}, data: x}
stages:
  - {name: one, type: sft, args: {learning_rate: 2e-4}}
  - name: two
    type: sft
    from: one
    model: {lora: {lora_alpha: 4}}
    args: {max_length: 300}
  - {name: pairs, type: dpo, from: two, data: x, enabled: false}
  - {name: score, type: evaluate, from: two}
"""


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "r.yaml").write_text(RECIPE)
    return load_recipe(tmp_path / "r.yaml")


def test_the_nearest_layer_wins(recipe):
    assert recipe.stage("one").args == {"learning_rate": 2e-4, "max_length": 200}
    assert recipe.stage("two").args == {"learning_rate": 1e-4, "max_length": 300}
    # `beta` is DPO's: SFT stages do not get what their config lacks.
    assert recipe.stage("pairs").args == {"learning_rate": 1e-4, "max_length": 100, "beta": 0.5}
    assert recipe.stage("one").data == "x"


def test_a_stages_model_is_laid_over_the_recipes(recipe):
    assert recipe.stage("one").model.lora == {"r": 8}
    assert recipe.stage("two").model.lora == {"r": 8, "lora_alpha": 4}
    assert recipe.stage("two").model.name_or_path == "a/b"


def test_evaluations_follow_models_that_are_not_scored_by_hand(recipe):
    assert [stage.name for stage in recipe.stages] == [
        "one", "one.evaluate", "two", "pairs", "pairs.evaluate", "score",
    ]  # fmt: skip
    added = recipe.stage("pairs.evaluate")
    assert (added.implicit, added.inputs, added.enabled) == (True, ("pairs",), False)


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("one.args.learning_rate", 9),
        ("one.args.max_length", 7),
        ("two.args.learning_rate", 6),
        ("two.args.max_length", 14),
        ("two.model.lora.r", 2),
        ("two.model.lora.lora_alpha", 13),
        ("two.args.no_such_thing", 14),
        ("evaluate.n", 4),
        ("nothing", 1),
    ],
)
def test_every_value_knows_the_line_it_was_written_at(recipe, key, line):
    assert recipe.where.near(key).line == line


def test_overrides_win_over_everything(tmp_path, recipe):
    changed = load_recipe(recipe.path, ["two.args.max_length=7", "seed=5", "one.enabled=false"])
    assert (changed.stage("two").args["max_length"], changed.seed) == (7, 5)
    assert not changed.stage("one.evaluate").enabled
    assert str(changed.where["two.args.max_length"]) == "--set two.args.max_length=7"


def test_the_resolved_recipe_is_json_and_says_the_same(recipe):
    again = json.loads(json.dumps(resolved(recipe)))
    assert again["stages"][0]["args"] == {"learning_rate": 2e-4, "max_length": 200}
    assert again["model"]["name_or_path"] == "a/b"


def test_loading_raises_every_fault_and_reading_returns_them(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("nam: r\nmodel: {nme: 1}\nstages: [{name: a, type: sft, args: {betta: 1}}]\n")
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    _, problems = read_recipe(path)
    assert list(caught.value.problems) == problems
    assert [str(problem).split(":")[1] for problem in problems] == ["1", "2", "3"] or len(problems) == 3


def test_a_file_that_is_not_there_is_a_recipe_error(tmp_path):
    with pytest.raises(RecipeError, match="no such file"):
        load_recipe(tmp_path / "none.yaml")


@pytest.mark.parametrize("path", sorted(shipped_recipes().glob("*.yaml")), ids=lambda path: path.stem)
def test_no_value_of_a_shipped_recipe_is_lost_on_the_way(path):
    """Every scalar that a stage writes arrives in its spec."""
    from light_r1.recipe.yaml_lines import read_yaml

    node, _ = read_yaml(path)
    recipe = load_recipe(path)
    stages = node.items["stages"].value if "stages" in node.items else []
    for stage in stages:
        spec = recipe.stage(stage.items["name"].value)
        written = stage.items["args"].data() if "args" in stage.items else {}
        for name, value in written.items():
            assert spec.args[name] == value or spec.args[name] == [value], f"{spec.name}.args.{name}"
