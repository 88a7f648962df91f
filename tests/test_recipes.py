"""Every shipped recipe is right, can be planned without its data, and says what its paper says."""

from __future__ import annotations

import re

import pytest

from light_r1.recipe.shipped import shipped_recipes
from light_r1.run.check import inspect, load_checked
from light_r1.run.plan import plan_recipe
from light_r1.run.plan_text import plan_text

RECIPES = sorted(shipped_recipes().glob("*.yaml"))
CONFIGS = sorted((shipped_recipes() / "accelerate").glob("*.yaml"))
PAPERS = ["deepscaler_1.5b", "fastcurl_1.5b", "light_r1_14b_ds", "light_r1_32b", "light_r1_7b_ds", "open_rs_1.5b"]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_has_no_faults_and_can_be_planned(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checked = inspect(path)
    assert [str(problem) for problem in checked.problems] == []
    text = plan_text(checked.recipe, notes=checked.notes)
    for stage in checked.recipe.stages:
        assert stage.name in text
    assert list(tmp_path.iterdir()) == [], "planning wrote something"


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_is_called_like_its_file(path):
    assert load_checked(path).recipe.name == path.stem


@pytest.mark.parametrize("name", PAPERS)
@pytest.mark.parametrize("processes", [1, 8])
def test_batches_come_out_on_one_gpu_and_on_a_node(name, processes):
    processes = 3 if (name, processes) == ("open_rs_1.5b", 8) else processes
    recipe = load_checked(name, world_size=processes).recipe
    assert plan_recipe(recipe, processes=processes).todo


def batches(name, processes):
    plan = plan_recipe(load_checked(name, world_size=processes).recipe, processes=processes)
    return {stage.stage.name: stage.estimate.batch for stage in plan.stages if stage.estimate.batch}


def test_light_r1_32b_says_what_the_paper_says():
    recipe = load_checked("light_r1_32b").recipe
    written = [stage.name for stage in recipe.stages if not stage.implicit and stage.type != "data"]
    assert [name for name in written if name != "dpo-untagged"] == [
        "sft-stage1", "sft-stage2", "dpo", "merge", "grpo", "evaluate",
    ]  # fmt: skip
    # arXiv 2503.10460 table 8 and the released scripts; the last column is per GPU of a node.
    found = {
        name: (recipe.stage(name).args["learning_rate"], batch)
        for name, batch in batches("light_r1_32b", 8).items()
        if name.startswith("sft")
    }
    assert found == {"sft-stage1": (5e-5, 96), "sft-stage2": (1e-5, 32)}
    dpo = recipe.stage("dpo").args
    assert (dpo["loss_type"], dpo["beta"], dpo["learning_rate"], dpo["max_length"]) == (["nca_pair"], 0.3, 5e-7, 32768)
    epochs = [recipe.stage(name).args["stop_after_epochs"] for name in ("sft-stage1", "sft-stage2")]
    assert epochs == [4, 8]
    assert recipe.stage("merge").args["method"] == "ties"
    assert (recipe.evaluate.n, recipe.evaluate.temperature, recipe.evaluate.max_tokens) == (64, 0.6, 32768)


def test_grpo_recipes_take_the_published_number_of_prompts_a_step():
    groups = {"light_r1_14b_ds": 8, "open_rs_1.5b": 6}
    prompts = {
        name: {stage: batch // groups[name] for stage, batch in batches(name, gpus).items() if "grpo" in stage}
        for name, gpus in (("light_r1_14b_ds", 8), ("open_rs_1.5b", 3))
    }
    assert prompts == {"light_r1_14b_ds": {"grpo": 128}, "open_rs_1.5b": {"grpo": 12}}
    assert batches("deepscaler_1.5b", 8) == {"grpo-8k": 64 * 8, "grpo-16k": 64 * 16, "grpo-24k": 64 * 16}
    fastcurl = batches("fastcurl_1.5b", 8)
    assert list(fastcurl.values()) == [64 * 8, 64 * 8, 64 * 8, 64 * 16]


def test_contexts_grow_and_shrink_as_published():
    def contexts(name):
        stages = load_checked(name).recipe.stages
        return [stage.args["max_completion_length"] // 1024 for stage in stages if stage.type == "grpo"]

    assert contexts("deepscaler_1.5b") == [8, 16, 24]
    assert contexts("fastcurl_1.5b") == [8, 16, 24, 16]


@pytest.mark.parametrize(
    "name", ["light_r1_32b", "light_r1_14b_ds", "light_r1_7b_ds", "deepscaler_1.5b", "sky_t1_lora"]
)
def test_values_that_are_not_published_are_listed_in_the_plan(name):
    recipe = load_checked(name).recipe
    marked = [
        line for file in recipe.files for line in file.read_text(encoding="utf-8").splitlines()
        if "parameter: not published" in line and not line.lstrip().startswith("#")
    ]  # fmt: skip
    listed = plan_text(recipe).partition("not published")[2].partition("Notes:")[0]
    assert marked
    assert len(re.findall(r"\.yaml:\d+: ", listed)) == len(marked)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_accelerate_reads_the_shipped_configs(path):
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(path))
    assert config.mixed_precision == "bf16"
    assert config.num_processes == 8


def test_each_way_to_split_a_model_has_a_config():
    assert [path.stem for path in CONFIGS] == ["ddp", "fsdp", "zero2", "zero3"]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_trl_takes_the_args_of_every_stage(path, tmp_path):
    """What the check lets pass, the real config classes take: nothing fails after a model is loaded."""
    import importlib

    from light_r1.stages import load_stage

    for stage in load_checked(path).recipe.stages:
        dotted = load_stage(stage.type).args_class
        if stage.type in ("sft", "dpo", "grpo"):
            module, _, name = dotted.partition(":")
            config = getattr(importlib.import_module(module), name)(
                output_dir=str(tmp_path), use_cpu=True, **stage.args
            )
            assert config.learning_rate == stage.args.get("learning_rate", config.learning_rate)
