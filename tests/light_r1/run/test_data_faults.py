"""Faults of data behind the rows that the check reads: each ends in a sentence, in a run and in the command line."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from data_tools.__main__ import main as data_tools
from data_tools.errors import DataToolsError
from light_r1.errors import DataError, LightR1Error
from light_r1.run.command import run_main
from tests.shared import ROOT

GOOD = [json.dumps({"problem": f"What is {n}+1?", "answer": str(n + 1), "pass_rate": 0.5}) for n in range(60)]


def lines(bad: str) -> bytes:
    return "".join(f"{line}\n" for line in [*GOOD, bad]).encode()


def parquet(folder: Path) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / "whole.parquet"
    pq.write_table(pa.Table.from_pylist([json.loads(line) for line in GOOD]), path, row_group_size=10)
    content = bytearray(path.read_bytes())
    content[900:1200] = bytes(300)
    return bytes(content)


# Name -> (file, its content, step, what the sentence says).
FAULTS = {
    "a torn line": ("a.jsonl", lines('{"problem": "1+'), "{tool: gradable}", ["a.jsonl", "61"]),
    "a row that is no object": ("a.jsonl", lines("[1, 2]"), "{tool: gradable}", ["a.jsonl", "61"]),
    "bytes that are no text": (
        "a.jsonl",
        lines("") + b'{"problem": "\xff\xfe"}\n',
        "{tool: gradable}",
        ["a.jsonl"],
    ),
    "a column that one row lacks": ("a.jsonl", lines('{"answer": "2"}'), "{tool: dedup}", ["dedup", "problem"]),
    "a column of another type": (
        "a.jsonl",
        lines('{"problem": 3, "answer": "2"}'),
        "{tool: dedup}",
        ["dedup", "problem"],
    ),
    "a pass rate that is no number": (
        "a.jsonl",
        lines('{"problem": "x", "answer": "2", "pass_rate": "half"}'),
        "{tool: difficulty, max_pass_rate: 0.6, interval: point}",
        ["pass_rate"],
    ),
    "an archive that ends early": (
        "a.jsonl.gz",
        gzip.compress(lines(GOOD[0]) * 400)[:-40],
        "{tool: gradable}",
        ["a.jsonl.gz"],
    ),
}


def write(folder: Path, name: str) -> list[str]:
    file, content, step, words = FAULTS[name]
    (folder / file).write_bytes(content)
    recipe = f"data: {{a: {{path: {file}}}}}\nstages:\n  - {{name: pool, type: data, data: a, steps: [{step}]}}\n"
    (folder / "r.yaml").write_text(recipe)
    return words


@pytest.mark.parametrize("name", FAULTS)
def test_a_run_tells_the_stage_and_the_fault(tmp_path, monkeypatch, capsys, name):
    words = write(tmp_path, name)
    monkeypatch.chdir(tmp_path)
    assert run_main(["r.yaml"]) in (1, 2)
    printed = capsys.readouterr().err
    assert "Traceback" not in printed
    assert all(word in printed for word in words), printed


@pytest.mark.parametrize("name", FAULTS)
def test_the_command_line_tells_the_fault(tmp_path, monkeypatch, capsys, name):
    words = write(tmp_path, name)
    monkeypatch.chdir(tmp_path)
    file, _, step, _ = FAULTS[name]
    tool, *options = step.strip("{}").replace("tool: ", "").split(", ")
    flags = []
    for option in options:
        key, value = option.split(": ")
        flags += [f"--{key.replace('_', '-')}", value]
    assert data_tools([tool, file, "out.jsonl", *flags]) == 2
    printed = capsys.readouterr().err
    assert all(word in printed for word in words if word != "dedup"), printed
    assert not (tmp_path / "out.jsonl").exists()


def test_a_torn_table_is_told(tmp_path, monkeypatch, capsys):
    (tmp_path / "a.parquet").write_bytes(parquet(tmp_path))
    stages = "stages:\n  - {name: pool, type: data, data: a, steps: [{tool: gradable}]}\n"
    (tmp_path / "r.yaml").write_text(f"data: {{a: {{path: a.parquet}}}}\n{stages}")
    monkeypatch.chdir(tmp_path)
    assert run_main(["r.yaml"]) in (1, 2)
    printed = capsys.readouterr().err
    assert "a.parquet" in printed
    assert "Traceback" not in printed


def test_one_except_clause_catches_every_data_fault():
    assert issubclass(DataError, DataToolsError)
    assert issubclass(DataError, LightR1Error)
    assert issubclass(DataError, ValueError)


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
