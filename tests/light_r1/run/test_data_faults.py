"""Whatever is wrong with data or options, both commands end with a sentence that names it, and no traceback."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_tools.__main__ import main as run_data_tools
from light_r1.run.__main__ import main as run_light_r1
from tests.shared import ROOT

ROWS = [
    {"problem": f"What is {k} + {k}?", "solution": f"It is {2 * k}.", "answer": str(2 * k), "n_correct": 1, "n": 2}
    for k in range(80)
]


def lines(rows: list[dict[str, Any]] = ROWS) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def with_line(number: int, line: bytes) -> bytes:
    before = lines().splitlines(keepends=True)
    return b"".join([*before[: number - 1], line + b"\n", *before[number - 1 :]])


def at_row(number: int, **changes: Any) -> bytes:
    return lines([{**row, **(changes if n == number else {})} for n, row in enumerate(ROWS, start=1)])


def parquet() -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), stream)
    return stream.getvalue()


@dataclass(frozen=True)
class Fault:
    """One fault.

    Args:
        name: Name of the file of rows.
        content: What is in it.
        says: Words of both messages.
        tool: The tool that the rows go to.
        options: Its options; `beside` in a value is the folder of the rows.
        code: Exit code of a run: 2 where the check sees the fault, 1 where a stage does.
        from_step: Whether the message of a run names the step.
    """

    name: str
    content: bytes
    says: tuple[str, ...]
    tool: str = "dedup"
    options: dict[str, Any] = field(default_factory=dict)
    code: int = 2
    from_step: bool = False


def late(content: bytes, *says: str) -> Fault:
    """A fault behind the rows that the check reads."""
    return Fault("a.jsonl", content, ("a.jsonl row 60", *says), code=1)


def of_tool(tool: str, options: dict[str, Any], *says: str, content: bytes = lines(), code: int = 1) -> Fault:
    return Fault("a.jsonl", content, says, tool, options, code, from_step=code == 1)


FAULTS = {
    "a line that is no JSON": late(with_line(60, b'{"problem": '), "not valid JSON"),
    "bytes that are no text": late(with_line(60, b'{"problem": "\xff\xfe"}'), "can't decode byte 0xff"),
    "a line that is no row": late(with_line(60, b"[1]"), "expected an object, found an array"),
    "a number of 6,000 digits": late(with_line(60, b'{"n": ' + b"1" * 6000 + b"}"), "Exceeds the limit"),
    "a role that nobody has": late(at_row(60, messages=[{"role": "robot", "content": "x"}]), "unknown role 'robot'"),
    "the first line is no JSON": Fault("a.jsonl", with_line(1, b"{"), ("a.jsonl row 1", "not valid JSON")),
    "a gz that is cut": Fault("a.jsonl.gz", gzip.compress(lines())[:-40], ("a.jsonl.gz", "the file is torn")),
    "a gz that is none": Fault("a.jsonl.gz", lines(), ("a.jsonl.gz", "Not a gzipped file")),
    "a zst that is none": Fault("a.jsonl.zst", lines(), ("a.jsonl.zst", "the file is torn")),
    "a list that is cut": Fault("a.json", json.dumps(ROWS).encode()[:-60], ("a.json row 80", "not valid"), code=1),
    "a parquet that is cut": Fault("a.parquet", parquet()[:400], ("a.parquet", "not a readable Parquet file")),
    "an empty parquet": Fault("a.parquet", b"", ("a.parquet", "not a readable Parquet file")),
    "a torn page": Fault("a.parquet", parquet()[:20] + bytes(190) + parquet()[210:], ("a.parquet", "not a readable")),
    "an unknown kind of file": Fault("a.txt", lines(), ("a.txt", "unknown file type")),
    "no such column": Fault("a.jsonl", lines([{"answer": "1"}] * 3), ("no column", "problem", "answer")),
    "no such column late": of_tool("dedup", {}, "row 60: no column `problem`", content=with_line(60, b'{"n": 1}')),
    "no such column of an option": of_tool("balance", {"by": "topic", "cap": 2}, "no column `topic`"),
    "counts that are none": of_tool(
        "difficulty", {"max_pass_rate": 0.5}, "'many'", content=at_row(60, n_correct="many")
    ),
    "a column of another type": of_tool("dedup", {}, "row 60: column `problem`", content=at_row(60, problem=3)),
    "no such word": of_tool("difficulty", {"interval": "pont"}, "Did you mean point?", code=2),
    "no such option": of_tool("difficulty", {"interva": "point"}, "Did you mean", code=2),
    "a number out of range": of_tool("dedup", {"method": "cosine", "threshold": 2.0}, "threshold: expected a cosine"),
    "options that need another": of_tool("difficulty", {"preset": "light-r1-stage1"}, "needs max_pass_rate"),
    "a language nobody knows": of_tool("filter_language", {"languages": ["xx"]}, "languages: xx unknown"),
    "a store that is torn": of_tool("difficulty", {"rollouts": "beside/torn.jsonl"}, "torn.jsonl row 1"),
    "a benchmark that is torn": of_tool("decontaminate", {"benchmarks": ["beside/torn.jsonl"]}, "torn.jsonl row 2"),
    "a tokenizer that is torn": of_tool(
        "filter_length", {"unit": "tokens", "tokenizer": "beside/torn.jsonl"}, "torn.jsonl: not a readable tokenizer"
    ),
}


@pytest.fixture(params=FAULTS)
def planted(request, tmp_path):
    """A fault, the command line of its tool and the recipe of a stage with it."""
    fault = FAULTS[request.param]
    (tmp_path / fault.name).write_bytes(fault.content)
    (tmp_path / "torn.jsonl").write_bytes(b'{"problem": "1 + 1?"}\n{"problem"\n')
    options = json.loads(json.dumps(fault.options).replace("beside", str(tmp_path)))
    words = [fault.tool, str(tmp_path / fault.name), str(tmp_path / "out.jsonl")]
    for name, value in options.items():
        words += [f"--{name.replace('_', '-')}", *(map(str, value) if isinstance(value, list) else [str(value)])]
    steps = [{"tool": fault.tool, **options}, {"tool": "filter_repetition", "column": "answer"}]
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        f"name: r\noutput_dir: {tmp_path}/runs\ndata: {{a: {{path: {fault.name}}}}}\n"
        f"stages: [{{name: clean, type: data, data: a, steps: {json.dumps(steps)}}}]\n"
    )
    return fault, words, recipe


def test_data_tools_say_what_is_wrong(planted, capsys):
    fault, words, _ = planted
    assert run_data_tools(words) == 2
    message = capsys.readouterr().err
    assert message.startswith("data_tools: ") and "Traceback" not in message
    assert all(word in message for word in fault.says), message
    assert not Path(words[2]).exists()


def test_a_run_says_what_is_wrong_and_in_which_step(planted, capsys):
    fault, _, recipe = planted
    assert run_light_r1([str(recipe)]) == fault.code
    message = capsys.readouterr().err
    assert "Traceback" not in message
    assert all(word in message for word in fault.says), message
    if fault.code == 1:
        assert message.startswith(f"DataError: clean{f' ({fault.tool})' if fault.from_step else ''}: ")
    else:
        assert f"{recipe}:" in message


@pytest.mark.parametrize("rank", ["0", "1"])
def test_the_commands_themselves_print_no_traceback(tmp_path, rank):
    (tmp_path / "a.jsonl").write_bytes(with_line(60, b"{"))
    (tmp_path / "r.yaml").write_text(
        "name: r\ndata: {a: {path: a.jsonl}}\nstages: [{name: c, type: data, data: a, steps: [{tool: dedup}]}]\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RANK": rank}
    for command, code in ((["data_tools", "dedup", "a.jsonl", "out.jsonl"], 2), (["light_r1.run", "r.yaml"], 1)):
        done = subprocess.run(
            [sys.executable, "-m", *command], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == code, done.stderr
        assert "a.jsonl row 60: not valid JSON" in done.stderr
        assert "Traceback" not in done.stderr
    assert done.stderr.startswith("[rank 1] DataError: c: " if rank == "1" else "DataError: c: ")
