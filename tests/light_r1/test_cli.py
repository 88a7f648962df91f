from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from light_r1.cli import main
from light_r1.run.command import run_main
from tests.shared import ROOT

BAD = """name: bad
model: {name_or_path: x/y}
stages:
  - {name: s, type: sft, data: none, args: {max_lenght: 5, seed: 1.5}}
"""


@pytest.fixture
def bad(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text(BAD)
    return path


@pytest.mark.parametrize("argv", [["--help"], ["tiny", "--plan", "--stage", "merge"], ["BAD"], ["no_such_recipe"]])
def test_help_plan_and_faults_load_no_torch(argv, bad):
    argv = [str(bad) if part == "BAD" else part for part in argv]
    code = (
        "import sys\nfrom light_r1.run.__main__ import main\n"
        f"try:\n    main({argv!r})\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'transformers', 'trl', 'datasets'} & set(sys.modules)\nassert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_all_faults_are_printed_at_once_with_file_and_line(bad, capsys):
    assert run_main([str(bad)]) == 2
    printed = capsys.readouterr().err
    assert "3 problems, nothing was loaded" in printed
    for fault in (
        f"{bad}:4: s.args.max_lenght: no such option of CurriculumSFTConfig. Did you mean max_length?",
        "s.args.seed: is the number 1.5. Expected an integer.",
        "s.data: no source or data stage called none. There are none.",
    ):
        assert fault in printed
    assert "Traceback" not in printed


def test_only_rank_0_prints_faults(bad, capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run_main([str(bad)]) == 2
    assert run_main(["light_r1_7b_ds", "--plan"]) == 0
    assert capsys.readouterr() == ("", "")


def test_a_plan_for_several_processes_asks_none_of_them_what_is_done(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs/light_r1_7b_ds").mkdir(parents=True)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run_main(["light_r1_7b_ds", "--plan"]) == 0
    assert "2 processes" in capsys.readouterr().out


def test_plan_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_main(["smoke", "--plan", "--set", "dpo.args.beta=0.1"]) == 0
    assert list(tmp_path.iterdir()) == []
    printed = capsys.readouterr().out
    assert "beta=0.1" in printed
    assert "sft-stage2" in printed


def test_an_unknown_stage_is_explained(capsys):
    assert run_main(["tiny", "--plan", "--stage", "sft-stage"]) == 2
    assert "--stage sft-stage: no such stage" in (printed := capsys.readouterr().err)
    assert "Did you mean sft-stage" in printed
    assert main(["launch", "tiny", "--from", "nothing"]) == 2


def test_stage_and_from_exclude_each_other(capsys):
    with pytest.raises(SystemExit) as stopped:
        run_main(["tiny", "--stage", "dpo", "--from", "dpo"])
    assert stopped.value.code == 2


def test_check_reports_every_recipe(bad, capsys):
    assert main(["check", "tiny", str(bad)]) == 2
    printed = capsys.readouterr()
    assert "tiny: 13 stages, no problems" in printed.out
    assert "max_lenght" in printed.err


@pytest.mark.parametrize("command", ["run", "plan", "check", "schema", "report", "new", "launch"])
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    assert command in capsys.readouterr().out


def test_report_of_no_folder_is_explained(tmp_path, capsys):
    assert main(["report", str(tmp_path / "nothing")]) == 1
    assert "no run folder" in capsys.readouterr().err


def test_a_reader_that_has_gone_is_no_error():
    command = f"{sys.executable} -c \"from light_r1.cli import main; raise SystemExit(main(['schema']))\" | head -1"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], cwd=ROOT, capture_output=True, text=True, env=os.environ
    )
    assert done.stderr == ""
    assert done.returncode == 0


def test_the_installed_command_finds_modules_where_it_is_started(tmp_path):
    (tmp_path / "own_rows.py").write_text("def rows():\n    yield {'problem': '1 + 1?', 'answer': '2'}\n")
    (tmp_path / "own.yaml").write_text(
        "data: {x: {generator: 'own_rows:rows'}}\nstages: [{name: c, type: data, data: x, steps: [{tool: dedup}]}]\n"
    )
    command = [str(Path(sys.executable).with_name("light-r1")), "check", "own.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_modules_are_commands():
    for module, words in (
        ("light_r1.cli", ["check", "no.yaml"]),
        ("light_r1.run", ["no.yaml"]),
        ("data_tools", ["no"]),
    ):
        done = subprocess.run([sys.executable, "-m", module, *words], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 2, module
        assert done.stderr
        assert "Traceback" not in done.stderr
