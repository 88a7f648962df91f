from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from light_r1.recipe.cost import rows as cost_rows
from light_r1.recipe.cost.rows import Amount, RowsOf, rows_of
from light_r1.recipe.read import load_recipe

HEAD = """
model: {name_or_path: Qwen/Qwen2.5-0.5B-Instruct}
stages: [{name: s, type: sft, data: a}]
data:
"""


@pytest.fixture
def rows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def found(data: str, name: str = "a"):
        path = tmp_path / "r.yaml"
        path.write_text(HEAD + "".join(f"  {line}\n" for line in data.strip().splitlines()))
        return rows_of(load_recipe(path), name, {"hard": RowsOf(Amount(6))})

    return found


def write(name: str, count: int, text: str = "x" * 30) -> None:
    lines = "".join(json.dumps({"problem": text, "solution": text}) + "\n" for _ in range(count))
    Path(name).write_text(lines)


def test_files_are_counted_and_measured(rows):
    write("a.jsonl", 7)
    write("b.jsonl", 5)
    found = rows("a: {path: [a.jsonl, b.jsonl]}")
    assert found.count == Amount(12)
    assert found.tokens == Amount(60 / cost_rows.CHARACTERS_PER_TOKEN, "~")


def test_other_formats_are_counted(rows):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"problem": ["p"] * 9, "solution": ["s"] * 9}), "a.parquet")
    assert rows("a: {path: a.parquet}").count == Amount(9)
    with gzip.open("a.jsonl.gz", "wt") as file:
        file.write('{"problem": "p"}\n' * 4)
    assert rows("a: {path: a.jsonl.gz}").count == Amount(4)
    Path("a.json").write_text(json.dumps([{"problem": "p"}] * 3))
    assert rows("a: {path: a.json}").count == Amount(3)


def test_a_large_file_is_estimated_from_its_first_rows(rows, monkeypatch):
    write("a.jsonl", 1000)
    monkeypatch.setattr(cost_rows, "_READ_WHOLE", 1000)
    assert rows("a: {path: a.jsonl}").count == Amount(1000, "~")


def test_fraction_and_limit_hold(rows):
    write("a.jsonl", 100)
    assert rows("a: {path: a.jsonl, fraction: 0.25}").count == Amount(25)
    assert rows("a: {path: a.jsonl, fraction: 0.5, limit: 10}").count == Amount(10)
    assert rows("a: {path: a.jsonl, limit: 1000}").count == Amount(100)


def test_mixtures_add_up(rows):
    write("a.jsonl", 100)
    found = rows("a: {mix: [{source: b, fraction: 0.5}, {source: c}]}\nb: {path: a.jsonl}\nc: {hub: x/y, rows: 7}")
    assert found.count == Amount(57)
    assert found.tokens is None
    assert rows("a: {mix: [{source: hard, fraction: 0.5}, {source: b}]}\nb: {path: a.jsonl}").count == Amount(103)


def test_what_nothing_tells_is_not_known(rows):
    assert rows("a: {hub: x/y}").count is None
    assert rows("a: {hub: x/y, rows: 5}").count == Amount(5)
    assert rows("a: {path: missing.jsonl}").count is None
    assert rows('a: {generator: "light_r1.tiny:problems", options: {n: 30, seed: 1, max_steps: 2}}').count == Amount(
        30
    )


def test_a_conversation_is_measured_once(rows):
    turns = [{"from": "human", "value": "x" * 12}, {"from": "gpt", "value": "y" * 18}]
    Path("a.jsonl").write_text(json.dumps({"conversations": turns}) + "\n")
    assert rows("a: {path: a.jsonl}").tokens == Amount(10, "~")


def test_the_vaguer_sign_holds():
    assert Amount(2).times(Amount(3, "~")) == Amount(6, "~")
    assert Amount(2, "≤").plus(Amount(3, "~")) == Amount(5, "≤")
