from __future__ import annotations

import json

import pytest

from light_r1.errors import RecipeError
from light_r1.recipe.cost.rows import Amount
from light_r1.recipe.read import load_recipe
from light_r1.run.agenda import Agenda
from light_r1.run.check import load_checked
from light_r1.run.plan import plan_recipe
from light_r1.run.plan_text import plan_text
from light_r1.run_dir.folder import RunDir

RECIPE = """
name: two
model:
  init:
    tokenizer: light_r1.tiny:build_tokenizer
    config: {model_type: qwen2, hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2, num_attention_heads: 2}
data:
  easy: {path: easy.jsonl}
stages:
  - {name: first, type: sft, data: easy, args: {num_train_epochs: 3, per_device_train_batch_size: 2, bf16: false}}
  - {name: second, type: sft, from: first, data: easy, args: {gradient_accumulation_steps: 2, bf16: false}}
"""


@pytest.fixture
def recipe_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    row = {"problem": "What is 1 + 1?", "solution": "<think>1 + 1 = 2</think> It is \\boxed{2}.", "answer": "2"}
    (tmp_path / "easy.jsonl").write_text((json.dumps(row) + "\n") * 11)
    path = tmp_path / "two.yaml"
    path.write_text(RECIPE)
    return path


def finish(recipe, names, *, kept=None):
    """Put finished stages into the run folder, as a run leaves them but for their weights."""
    from light_r1.run_dir.manifest import Manifest, RowCounts

    agenda = Agenda(recipe, RunDir(f"{recipe.output_dir}/{recipe.name}"), processes=1)
    for name in names:
        planned = agenda.decide(recipe.stage(name))
        folder = agenda.dir.stage(name)
        folder.begin(planned.settings)
        manifest = Manifest(
            stage=name, type="sft", fingerprint=planned.decision.fingerprint,
            started="2026-01-01T00:00:00+00:00", ended="2026-01-01T00:01:00+00:00", seconds=60.0,
            rows=None if kept is None else RowCounts(11, kept),
        )  # fmt: skip
        folder.write_manifest(manifest)


def actions(recipe, **options):
    return {stage.stage.name: stage.action for stage in plan_recipe(recipe, **options).stages}


def test_rows_steps_and_batches_by_hand(recipe_file):
    plan = plan_recipe(load_checked(recipe_file).recipe, processes=1)
    first, second = (stage.estimate for stage in plan.stages)
    # 11 rows in batches of 2 are 6 steps an epoch; 8 a device, then 2 to a step, are 1.
    assert (first.rows.value, first.batch, first.steps.value) == (11, 2, 18)
    assert (second.rows.value, second.batch, second.steps.value) == (11, 16, 3)
    plan = plan_recipe(load_checked(recipe_file).recipe, processes=3)
    assert (plan.stages[0].estimate.batch, plan.stages[0].estimate.steps.value) == (6, 6)


def test_what_is_done_is_skipped_and_a_change_reruns_what_follows(recipe_file):
    recipe = load_checked(recipe_file).recipe
    assert actions(recipe) == {"first": "run", "second": "run"}
    finish(recipe, ["first"])
    assert actions(recipe) == {"first": "skip", "second": "run"}
    finish(recipe, ["first", "second"])
    assert actions(recipe) == {"first": "skip", "second": "skip"}
    assert "nothing would run" in plan_text(recipe)
    changed = load_checked(recipe_file, ["first.args.learning_rate=0.001"]).recipe
    assert actions(changed) == {"first": "rerun", "second": "rerun"}
    assert "learning_rate: (not set) -> 0.001" in plan_text(changed)
    changed = load_checked(recipe_file, ["second.args.learning_rate=0.001"]).recipe
    assert actions(changed) == {"first": "skip", "second": "rerun"}


def test_rows_of_a_stage_that_is_done_are_those_it_kept(recipe_file):
    text = recipe_file.read_text()
    steps = "[{tool: difficulty, max_pass_rate: 0.5}]"
    text += f"  - {{name: hard, type: data, from: first, data: easy, steps: {steps}}}\n"
    text += "  - {name: third, type: sft, from: first, data: hard, args: {bf16: false}}\n"
    recipe_file.write_text(text)
    recipe = load_recipe(recipe_file)
    assert plan_recipe(recipe).stages[3].estimate.rows == Amount(11, "≤")
    finish(recipe, ["first", "second", "hard"], kept=4)
    assert plan_recipe(recipe).stages[3].estimate.rows == Amount(4)


def test_stages_that_are_not_selected_are_shown_as_such(recipe_file):
    recipe = load_checked(recipe_file).recipe
    assert actions(recipe, only="first") == {"first": "run", "second": "-"}
    assert actions(recipe, start="second") == {"first": "-", "second": "run"}


def test_a_plan_says_what_a_batch_is_made_of():
    recipe = load_checked("light_r1_7b_ds", world_size=8).recipe
    assert "\n    batch of 32 = 8 processes x 1 per device x 4 accumulation steps\n" in plan_text(recipe, processes=8)
    halved = load_checked("light_r1_7b_ds", ["defaults.args.per_device_train_batch_size=2"], world_size=8).recipe
    assert "batch of 32 = 8 processes x 2 per device x 2 accumulation steps" in plan_text(halved, processes=8)


def test_a_stage_that_was_done_on_other_processes_stays_done(recipe_file):
    sized = ["first.args.global_batch_size=6"]
    finish(load_checked(recipe_file, sized).recipe, ["first"])
    with pytest.raises(RecipeError, match="6 is no multiple of 10"):
        load_checked(recipe_file, sized, world_size=5)
    recipe = load_checked(recipe_file, sized, world_size=5, only="second").recipe
    assert actions(recipe, processes=5)["first"] == "skip"
    assert actions(recipe, only="second", processes=5) == {"first": "-", "second": "run"}
    assert plan_text(recipe, only="second", processes=5)


def test_too_large_a_model_is_said_with_what_would_do():
    recipe = load_checked("light_r1_32b").recipe
    text = plan_text(recipe, processes=8)
    assert "do not fit H100 80GB with 8 processes; at least" in text
    assert "32.8B weights" in text


def test_an_unknown_model_leaves_time_open_and_says_so(recipe_file):
    recipe = load_checked(recipe_file, ["model.name_or_path=nobody/knows"]).recipe
    text = plan_text(recipe)
    assert "the shape of nobody/knows is not known here" in text


def test_a_recipe_without_a_model_is_planned(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_text('{"problem": "1 + 1?"}\n')
    (tmp_path / "clean.yaml").write_text(
        "data: {x: {path: rows.jsonl}}\nstages: [{name: clean, type: data, data: x, steps: [{tool: dedup}]}]\n"
    )
    text = plan_text(load_recipe("clean.yaml"))
    assert "clean: no model, 1 process" in text
    assert "from model" not in text
    assert "set model.size" not in text
