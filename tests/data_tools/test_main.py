"""The command line says the same as the function, and one sentence when it is wrong."""

from __future__ import annotations

import subprocess
import sys

import pytest

from data_tools.__main__ import main
from data_tools.engine.catalogue import TOOLS
from data_tools.engine.run_tool import run_tool
from data_tools.rows.files import read_rows, write_rows
from tests.shared import ROOT


@pytest.fixture
def problems(tmp_path):
    path = tmp_path / "in.jsonl"
    write_rows(path, [{"question": str(k), "n_correct": k, "n": 8} for k in range(9)])
    return path


def test_the_command_writes_what_the_function_writes(tmp_path, problems, capsys):
    words = [str(problems), str(tmp_path / "a.jsonl"), "--min-pass-rate", "0.25", "--mixed", "--no-min-inclusive"]
    assert main(["difficulty", *words]) == 0
    options = {"min_pass_rate": 0.25, "mixed": True, "min_inclusive": False}
    run_tool("difficulty", problems, tmp_path / "b.jsonl", options)
    for suffix in ("", ".dropped.jsonl"):
        assert (tmp_path / f"a.jsonl{suffix}").read_bytes() == (tmp_path / f"b.jsonl{suffix}").read_bytes()
    assert capsys.readouterr().out.startswith("difficulty: 9 in = 5 kept + ")


def test_columns_workers_and_errors_are_passed_on(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text('{"txt": "1", "k": 1, "n_correct": 1, "n": 2}\nbroken\n')
    words = [str(path), str(tmp_path / "out.jsonl"), "--columns", "problem=txt", "--workers", "2"]
    assert main(["difficulty", *words]) == 2
    assert main(["difficulty", *words, "--on-error", "skip"]) == 0
    assert next(read_rows(tmp_path / "out.jsonl"))["problem"] == "1"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["dificulty", "a", "b"], "Did you mean difficulty?"),
        (["difficulty", "a", "b", "--max-pas-rate", "1"], "Did you mean --max-pass-rate?"),
        (["difficulty", "a", "b", "c"], "'c' is one word too many"),
        (["difficulty", "a"], "OUT"),
        (["difficulty", "none.jsonl", "b.jsonl"], "none.jsonl: no such file"),
        (["difficulty", "a", "b", "--min-n", "x"], "min_n: expected int, found 'x'"),
        (["difficulty", "a", "b", "--columns", "problem"], "NAME=COLUMN"),
        (["difficulty", "a", "b", "--interval", "insid"], "Did you mean inside?"),
    ],
)
def test_a_wrong_command_is_one_sentence(words, message, capsys):
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("data_tools: ") and message in error and "Traceback" not in error


def test_help_lists_what_the_docstring_says(capsys):
    with pytest.raises(SystemExit):
        main(["difficulty", "--help"])
    text = capsys.readouterr().out
    for words in ("--max-pass-rate", "too_easy: Pass rate above the window.", "--no-mixed", "0.95"):
        assert words in text


def test_the_overview_names_every_tool(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {name} " in text for name in TOOLS)


def test_help_imports_no_tool():
    code = (
        "import sys; from data_tools.__main__ import main\n"
        "try: main(['difficulty', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'sympy', 'pyarrow', 'data_tools.tools.difficulty'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_an_output_that_cannot_be_written_is_told(tmp_path, capsys):
    source = tmp_path / "in.jsonl"
    source.write_text('{"problem": "1+1?", "answer": "2"}\n')
    assert main(["gradable", str(source), str(source / "out.jsonl")]) == 2
    assert f"{source} cannot be written" in capsys.readouterr().err


def test_a_reader_that_goes_away_is_no_error():
    command = f"{sys.executable} -m data_tools | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.startswith("usage")
    assert not done.stderr
