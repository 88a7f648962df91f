from __future__ import annotations

import errno
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from data_tools.errors import DataToolsError
from light_r1.errors import StageError
from light_r1.recipe.read import load_recipe
from light_r1.recipe.spec import Recipe
from light_r1.run.failures import disk_trouble, explained
from light_r1.run.walk import run_recipe
from light_r1.stages import load_stage
from tests.shared import ROOT

RECIPE = """model: {name_or_path: a/b}
data: {x: {path: rows.jsonl}}
evaluate: {benchmarks: {b: {path: rows.jsonl}}, batch_size: 7}
stages:
  - {name: clean, type: data, data: x, steps: [{tool: dedup}]}
  - {name: sft, type: sft, data: clean, args: {max_length: 77, per_device_train_batch_size: 6}}
  - {name: lora, type: sft, data: clean, model: {lora: {r: 4}}, args: {max_length: 77, gradient_checkpointing: true}}
  - {name: newer, type: sft, data: clean, args: {activation_checkpointing: false}}
  - {name: rl, type: grpo, from: sft, data: x, rewards: [accuracy], args: {num_generations: 2}}
  - {name: sized, type: sft, data: clean, args: {global_batch_size: 18, per_device_train_batch_size: 9}}
  - name: reusing
    type: grpo
    from: sft
    data: x
    rewards: [accuracy]
    args: {num_generations: 3, per_device_train_batch_size: 3, gradient_accumulation_steps: 2, steps_per_generation: 4}
  - {name: both, type: merge, from: [sft, rl], args: {method: linear}}
  - {name: scores, type: evaluate, from: both}
"""


@pytest.fixture
def recipe(tmp_path) -> Recipe:
    (tmp_path / "rows.jsonl").write_text('{"problem": "1 + 1?", "answer": "2"}\n')
    (tmp_path / "own.yaml").write_text(RECIPE)
    return load_recipe(tmp_path / "own.yaml")


def told(recipe: Recipe, stage: str, error: BaseException = MemoryError()) -> str:  # noqa: B008 - not changed
    spec = recipe.stage(stage)
    advice = partial(load_stage(spec.type).less_memory, spec, recipe)
    return str(explained(error, stage, Path("runs/own/x/attempts"), advice=advice))


@pytest.mark.parametrize(
    "error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GB")]
)
def test_out_of_memory_names_the_settings_that_help_with_values(recipe, error):
    text = told(recipe, "sft", error)
    assert "sft: memory ran out" in text
    assert "per_device_train_batch_size=3 with gradient_accumulation_steps=2, the same batch" in text
    assert "a lower max_length (now 77)" in text
    assert "a lora block" in text
    assert "runs/own/x/attempts" in text


def test_smaller_passes_make_the_same_batch(recipe):
    assert "in this order: per_device_train_batch_size=3, the same batch" in told(recipe, "sized")
    assert (
        "per_device_train_batch_size=1 with gradient_accumulation_steps=6 and steps_per_generation=12, the same batch"
    ) in told(recipe, "reusing")


def test_nothing_is_advised_that_is_set_already(recipe):
    text = told(recipe, "lora")
    assert "lora block" not in text
    assert "gradient_checkpointing" not in text


def test_the_name_of_a_setting_that_counts_is_advised(recipe):
    assert "gradient_checkpointing=true" not in told(recipe, "newer")
    assert "activation_checkpointing=true" in told(recipe, "newer")


@pytest.mark.parametrize(
    ("stage", "says"),
    [
        ("rl", "max_completion_length (now "),
        ("scores", "batch_size (now 7)"),
        ("clean", "batch_size or"),
        ("both", "one tensor per model"),
    ],
)
def test_each_type_of_stage_has_its_own_advice(recipe, stage, says):
    assert says in told(recipe, stage)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("[enforce fail] PytorchStreamWriter failed writing file data/1"),
        ValueError('Error while serializing: I/O error: Os { code: 28, kind: StorageFull, message: "No space" }'),
    ],
)
def test_a_full_disk_is_recognised_whoever_writes(tmp_path, error):
    assert "the disk is full" in disk_trouble(error, tmp_path / "not/there")


def test_what_is_not_known_is_left_as_it_is(recipe, tmp_path):
    assert explained(ValueError("something"), "sft", tmp_path, advice=str) is None
    assert explained(FileNotFoundError(errno.ENOENT, "no"), "sft", tmp_path, advice=str) is None


def test_a_fault_of_data_gets_the_names_of_its_stage_and_step(tmp_path):
    error = DataToolsError("a.jsonl row 3: no column `problem`")
    assert str(explained(error, "clean", tmp_path, advice=str)) == "clean: a.jsonl row 3: no column `problem`"
    error.step = "dedup"
    assert str(explained(error, "clean", tmp_path, advice=str)) == "clean (dedup): a.jsonl row 3: no column `problem`"


def test_a_stage_that_runs_out_of_disk_stops_with_the_reason(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def full(path, rows):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr("light_r1.stages.data.write_rows", full)
    with pytest.raises(StageError, match=r"clean: the disk is full .* The same command goes on"):
        run_recipe(recipe, only="clean")


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_folder_without_the_right_to_write_is_named(tmp_path, code):
    text = disk_trouble(OSError(code, os.strerror(code), "/data/runs/own"), tmp_path)
    assert "/data/runs/own cannot be written" in text
    assert os.strerror(code) in text


def test_an_output_dir_that_is_a_file_is_one_sentence_not_a_traceback(recipe, tmp_path):
    recipe.path.write_text(
        RECIPE.replace("model: {name_or_path: a/b}", "output_dir: rows.jsonl").partition("evaluate")[0]
    )
    with recipe.path.open("a") as stream:
        stream.write("stages: [{name: clean, type: data, data: x, steps: [{tool: dedup}]}]\n")
    command = [sys.executable, "-m", "light_r1.run", str(recipe.path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "rows.jsonl" in done.stderr
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_interrupted_stage_says_where_it_goes_on(recipe, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def stopped(path, rows):
        raise KeyboardInterrupt

    monkeypatch.setattr("light_r1.stages.data.write_rows", stopped)
    with pytest.raises(KeyboardInterrupt):
        run_recipe(recipe, only="clean")
    assert "clean: interrupted; the same command goes on from its start" in capsys.readouterr().out
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    run_recipe(recipe, only="clean")
    assert "clean: done" in capsys.readouterr().out
