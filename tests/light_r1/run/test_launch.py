from __future__ import annotations

import sys

import pytest

from light_r1.cli import main
from light_r1.errors import LightR1Error
from light_r1.run.check import load_checked
from light_r1.run.launch import config_processes, find_config, launch, stage_commands


def names(commands):
    return [command[command.index("--stage") + 1] for command in commands]


def test_one_command_per_stage_without_its_evaluation():
    recipe = load_checked("tiny").recipe
    commands = stage_commands(recipe, overrides=["seed=1"])
    assert names(commands) == ["base", "sft-stage1", "difficulty", "sft-stage2", "dpo", "merge", "grpo"]
    assert commands[0] == [
        sys.executable,
        "-m",
        "light_r1.run",
        str(recipe.path),
        "--stage",
        "base",
        "--set",
        "seed=1",
    ]
    assert names(stage_commands(recipe, start="merge")) == ["merge", "grpo"]
    assert names(stage_commands(recipe, only="dpo")) == ["dpo"]


def test_stages_that_are_not_enabled_are_left_out_unless_named():
    recipe = load_checked("light_r1_32b").recipe
    assert "grpo" not in names(stage_commands(recipe))
    assert names(stage_commands(recipe, only="grpo")) == ["grpo"]


def test_configs_by_name_and_processes_go_to_accelerate():
    recipe = load_checked("tiny").recipe
    command = stage_commands(recipe, config="zero3", processes=4, only="dpo")[0]
    assert command[:3] == [sys.executable, "-m", "accelerate.commands.launch"]
    assert command[command.index("--config_file") + 1].endswith("accelerate/zero3.yaml")
    assert command[command.index("--num_processes") + 1] == "4"
    with pytest.raises(LightR1Error, match="Did you mean zero3"):
        find_config("zero33")


def test_the_check_counts_the_processes_of_the_config(tmp_path, capsys):
    assert [config_processes(name) for name in ("ddp", "fsdp", "zero2", "zero3")] == [8] * 4
    (tmp_path / "open.yaml").write_text("distributed_type: MULTI_GPU\n")
    (tmp_path / "all.yaml").write_text("num_processes: -1\n")
    assert [config_processes(str(tmp_path / name)) for name in ("open.yaml", "all.yaml")] == [None, None]
    assert main(["launch", "open_rs_1.5b", "--config", "zero2"]) == 2
    assert "72 is no multiple of 48 = per_device_train_batch_size 6 x 8 processes" in capsys.readouterr().err


def test_launching_stops_at_the_first_failure(tmp_path, capfd):
    done = tmp_path / "done"
    good = [sys.executable, "-c", f"open({str(done)!r}, 'a').write('x')"]
    bad = [sys.executable, "-c", "raise SystemExit(3)"]
    assert launch([good, good]) == 0
    assert launch([good, bad, good]) == 3
    assert done.read_text() == "xxx"
    assert "== 2 of 3" in capfd.readouterr().out


def test_a_command_runs_what_it_says(tmp_path):
    recipe = load_checked("smoke").recipe
    command = [*stage_commands(recipe, only="merge")[0], "--plan"]
    import subprocess

    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "from sft-stage2 + dpo" in done.stdout
