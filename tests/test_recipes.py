"""Every shipped recipe is right, can be planned without its data, and says what its paper says."""

from __future__ import annotations

import re

import pytest

from light_r1.batch import counted, ways_to_split
from light_r1.recipe.check.args import Args
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


# Sequences, pairs or completions of an optimizer step. Those of recipes that follow a paper are published: Light-R1's
# table 8 (its DPO and GRPO from the scripts), the scripts of DeepScaleR, FastCuRL and Open-RS, Sky-T1's paper.
BATCHES = {
    "light_r1_32b": {"sft-stage1": 96, "sft-stage2": 32, "dpo": 8, "dpo-untagged": 8, "grpo": 128 * 8},
    "light_r1_14b_ds": {"sft-stage2": 32, "grpo": 128 * 8},
    "light_r1_7b_ds": {"sft-stage2": 32},
    "deepscaler_1.5b": {"grpo-8k": 64 * 8, "grpo-16k": 64 * 16, "grpo-24k": 64 * 16},
    "fastcurl_1.5b": {"grpo-stage1": 64 * 8, "grpo-stage2": 64 * 8, "grpo-stage3": 64 * 8, "grpo-stage4": 64 * 16},
    "open_rs_1.5b": {"grpo": 12 * 6},
    "sky_t1_lora": {"sft": 96},
    "tiny": {"base": 16, "sft-stage1": 16, "sft-stage2": 16, "dpo": 16, "grpo": 128},
    "smoke": {"base": 16, "sft-stage1": 16, "sft-stage2": 16, "dpo": 16, "grpo": 8},
    "gsm8k_traces": {"sft-stage1": 8, "sft-stage2": 8, "dpo": 8},
}
SAMPLED_AT_ONCE = {
    "deepscaler_1.5b": {"grpo-8k": 128 * 8, "grpo-16k": 128 * 16, "grpo-24k": 128 * 16},
    "fastcurl_1.5b": {"grpo-stage1": 128 * 8},
}


def batches(recipe, processes):
    plan = plan_recipe(recipe, processes=processes)
    return {stage.stage.name: stage.estimate.batch for stage in plan.stages if stage.estimate.batch}


def stages_of(problem, names):
    """The stages that a problem of the check is about; a fault of `defaults` is told once for several."""
    also = re.search(r"\(also in (.*)\)", problem.what)
    return {problem.what.partition(".")[0], *(also[1].split(", ") if also else ())} & set(names)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
@pytest.mark.parametrize("processes", [1, 2, 8, 96])
def test_the_batch_is_the_recipes_on_any_number_of_processes_or_the_numbers_that_do_are_told(path, processes):
    checked = inspect(path, world_size=processes)
    recipe, sizes = checked.recipe, BATCHES.get(path.stem, {})
    assert batches(recipe, processes) == sizes
    told = {stage: str(problem) for problem in checked.problems for stage in stages_of(problem, sizes)}
    assert bool(told) == bool(checked.problems)
    text = "" if told else plan_text(recipe, processes=processes)
    for stage, size in sizes.items():
        args = Args(recipe.stage(stage))
        per_device = args["per_device_train_batch_size"]
        if not recipe.stage(stage).enabled:
            continue
        if size % (per_device * processes) == 0:
            split = f"batch of {size} = {counted(processes, 'process', 'es')} x {per_device} per device x "
            assert not text or split in text
        else:
            ways = ways_to_split(size, per_device, processes, group=args.group)
            assert f"{size} is no multiple of {per_device * processes} = " in told[stage]
            assert f"It would be with {ways}" in told.pop(stage)
            assert ways.per_device or ways.processes, "nothing named keeps the batch"
    assert not told, "a batch was refused that can be split"


def test_the_first_sft_of_light_r1_32b_runs_on_the_96_gpus_it_ran_on():
    recipe = load_checked("light_r1_32b", world_size=96, only="sft-stage1").recipe
    text = plan_text(recipe, processes=96, only="sft-stage1")
    assert "batch of 96 = 96 processes x 1 per device x 1 accumulation step\n" in text


def test_what_is_sampled_at_once_is_as_published():
    for name in PAPERS:
        args = {stage.name: Args(stage) for stage in load_checked(name).recipe.stages if stage.type == "grpo"}
        sampled = {stage: arg["generation_batch_size"] for stage, arg in args.items() if arg["generation_batch_size"]}
        assert sampled == SAMPLED_AT_ONCE.get(name, {})
        assert all(arg["steps_per_generation"] is None for arg in args.values())


def test_light_r1_32b_says_what_the_paper_says():
    recipe = load_checked("light_r1_32b").recipe
    written = [stage.name for stage in recipe.stages if not stage.implicit and stage.type != "data"]
    assert [name for name in written if name != "dpo-untagged"] == [
        "sft-stage1", "sft-stage2", "dpo", "merge", "grpo", "evaluate",
    ]  # fmt: skip
    # arXiv 2503.10460 table 8 and the released scripts.
    found = {
        name: (recipe.stage(name).args["learning_rate"], batch)
        for name, batch in batches(recipe, 96).items()
        if name.startswith("sft")
    }
    assert found == {"sft-stage1": (5e-5, 96), "sft-stage2": (1e-5, 32)}
    dpo = recipe.stage("dpo").args
    assert (dpo["loss_type"], dpo["beta"], dpo["learning_rate"], dpo["max_length"]) == (["nca_pair"], 0.3, 5e-7, 32768)
    epochs = [recipe.stage(name).args["stop_after_epochs"] for name in ("sft-stage1", "sft-stage2")]
    assert epochs == [4, 8]
    assert recipe.stage("merge").args["method"] == "ties"
    assert (recipe.evaluate.n, recipe.evaluate.temperature, recipe.evaluate.max_tokens) == (64, 0.6, 32768)


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
