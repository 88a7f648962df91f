"""The blocks of a recipe beside its stages, and the files that data steps name."""

from __future__ import annotations

import json

import pytest

from light_r1.errors import LightR1Error
from light_r1.models.chat import checked_tags
from light_r1.run.check import inspect

HEAD = "model: {name_or_path: a/b}\ndata: {x: {hub: h/s}}\nstages:\n"


def problems(folder, step: str) -> list[str]:
    path = folder / "r.yaml"
    path.write_text(f"{HEAD}  - {{name: d, type: data, data: x, steps: [{step}]}}\n")
    return [str(problem) for problem in inspect(path).problems]


def test_a_file_that_a_step_reads_must_be_there(tmp_path):
    step = "{tool: decontaminate, benchmarks: [bench.jsonl]}"
    (problem,) = problems(tmp_path, step)
    assert "d.steps.0.benchmarks: no file bench.jsonl beside the recipe" in problem
    (tmp_path / "bench.jsonl").write_text("{}")
    assert problems(tmp_path, step) == []


def test_a_file_that_a_step_writes_need_not_be_there(tmp_path):
    assert problems(tmp_path, "{tool: dedup, clusters: clusters.jsonl}") == []


@pytest.mark.parametrize("tags", [["<<x>>", "<x>"], ["<t>", "<t"], ["", "</thought>"]])
def test_think_tokens_that_no_text_tells_apart_are_refused(tmp_path, tags):
    (tmp_path / "r.yaml").write_text(f"chat: {{think_tokens: {json.dumps(tags)}}}\nstages: []\n")
    assert any(problem.what.startswith("chat.think_tokens") for problem in inspect(tmp_path / "r.yaml").problems)
    with pytest.raises(LightR1Error, match="think_tokens"):
        checked_tags(tags)
