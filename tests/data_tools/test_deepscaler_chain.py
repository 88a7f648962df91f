"""The shipped chain of tools on the shipped worked solutions: right answers, no copies, no benchmark problem left."""

from __future__ import annotations

import re

import pytest
import yaml

from data_tools.answers.verify import verify
from data_tools.engine.catalogue import option_faults
from data_tools.engine.fold import fold, make_step
from data_tools.engine.run_tool import canonical_rows
from data_tools.rows.files import read_rows
from tests.shared import ROOT

RECIPES = ROOT / "recipes"
RECIPE = yaml.safe_load((RECIPES / "data_deepscaler.yaml").read_text())
STEPS = [step for stage in RECIPE["stages"] for step in stage["steps"]]


def test_the_recipe_chains_the_steps_with_options_that_exist():
    assert [step["tool"] for step in STEPS] == ["extract", "gradable", "dedup", "decontaminate", "segment", "segment"]
    for step in STEPS:
        assert option_faults(step["tool"], {name: value for name, value in step.items() if name != "tool"}) == []
    for before, stage in zip([{"name": "pool"}, *RECIPE["stages"][:4]], RECIPE["stages"][:5], strict=True):
        assert stage["data"] == before["name"]


def packed(problem):
    return re.sub(r"\s", "", problem.lower())


@pytest.mark.slow  # embeds 600 problems
def test_the_chain_cleans_the_sample():
    source = list(canonical_rows(RECIPES / RECIPE["data"]["pool"]["path"]))
    benchmark = RECIPES / "data" / "aime_2024_2025.jsonl"
    options = [{k: v for k, v in step.items() if k != "tool"} for step in STEPS[:4]]
    options[3] = {"benchmarks": [benchmark]}
    dropped = []
    steps = [make_step(step["tool"], option) for step, option in zip(STEPS[:4], options, strict=True)]
    folded = fold(source, steps, on_dropped=lambda step, item: dropped.append((step, item)))
    kept = list(folded)
    assert len(kept) + len(dropped) == len(source) == 674
    assert 500 <= len(kept) <= 600
    graded = [row for row in kept if row.get("published_answer")]
    right = sum(verify(row["answer"], row["published_answer"]).correct for row in graded)
    assert right / len(graded) >= 0.97
    texts = [packed(row["problem"]) for row in kept]
    assert len(set(texts)) == len(texts)
    assert not {packed(row["problem"]) for row in read_rows(benchmark)} & set(texts)
    proofs = [row for row in source if row["source"] == "harp"]
    assert sum(row["source"] == "harp" for row in kept) <= 0.1 * len(proofs)
