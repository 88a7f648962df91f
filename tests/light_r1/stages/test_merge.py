"""What the check of a recipe sees of a merge, before anything trains, and that a merge sees the same."""

from __future__ import annotations

import itertools
import json

import pytest

from light_r1.errors import LightR1Error
from light_r1.models.merge import merge_models
from light_r1.run.check import inspect
from tests.conftest import make_model

HEAD = """
data: {x: {hub: h/s}}
stages:
  - {name: a, type: sft, data: x, args: {max_length: 100}}
  - {name: b, type: sft, data: x, args: {max_length: 100}}
  - {name: c, type: sft, data: x, args: {max_length: 100}, model: {lora: {r: 4}}}
"""
START = "model: {name_or_path: a/b}"


def problems(tmp_path, *stages, model=START):
    path = tmp_path / "r.yaml"
    path.write_text("\n".join([model, HEAD.strip(), *(f"  - {{{stage}}}" for stage in stages)]) + "\n")
    return [str(problem) for problem in inspect(path).problems]


@pytest.mark.parametrize("method", ["linear", "slerp", "ties", "dare_ties"])
def test_the_check_finds_an_option_wrong_just_where_the_merge_does(tmp_path, tokenizer, method):
    for name in ("a", "b", "c", "base"):
        make_model(tokenizer, layers=1, hidden=8).save_pretrained(tmp_path / name)
    choices = itertools.product(
        [["a", "b"], ["c"]],
        [None, [1.0, 1.0], [1.0, -1.0]],
        [None, [0.5, 1.0], [0.5, 1.5]],
        [True, False],
        [None, "base"],
    )
    for number, (models, weights, densities, normalize, base) in enumerate(choices):
        args = {"weights": weights, "densities": densities, "normalize": normalize}
        try:
            options = {"method": method, "base": base and tmp_path / base, **args}
            merge_models([tmp_path / name for name in models], tmp_path / f"out-{number}", **options)
            works = True
        except LightR1Error:
            works = False
        block = json.dumps({"method": method, **args})
        stage = f"name: m, type: merge, from: {json.dumps(models)}, args: {block}" + (", base: model" if base else "")
        found = problems(tmp_path, stage)
        assert works == (not found), (models, args, base, found)


@pytest.mark.parametrize("stage", ["from: [model, a]", "from: [a, b], base: model"])
def test_a_model_made_from_nothing_cannot_be_merged(tmp_path, stage):
    model = 'model: {init: {tokenizer: "light_r1.tiny:tokenizer", config: {model_type: qwen2}}}'
    found = problems(
        tmp_path, f"name: m, type: merge, {stage}, args: {{method: ties, densities: [1, 1]}}", model=model
    )
    assert any("made from nothing: there are no weights to merge" in text for text in found), found


def test_models_of_other_sizes_are_told_before_any_of_them_trains(tmp_path, tokenizer):
    make_model(tokenizer, hidden=32).save_pretrained(tmp_path / "one")
    make_model(tokenizer, hidden=64).save_pretrained(tmp_path / "two")
    make_model(tokenizer, hidden=32, seed=1).save_pretrained(tmp_path / "three")
    other = (
        "name: {0}, type: sft, data: x, args: {{max_length: 9}}, model: {{name_or_path: " + f"{tmp_path}/" + "{0}}}"
    )
    model, merge = (
        f"model: {{name_or_path: {tmp_path}/one}}",
        "name: m, type: merge, from: [a, {}], args: {{method: linear}}",
    )
    behind = "name: d, type: sft, data: x, from: two, args: {max_length: 9}"
    found = problems(tmp_path, other.format("two"), behind, merge.format("d"), model=model)
    assert any("m.from: d and a are of other sizes (hidden_size 64 and 32" in text for text in found), found
    assert problems(tmp_path, other.format("three"), merge.format("three"), model=model) == []


@pytest.mark.parametrize("name", ["a", "model"])
def test_one_whole_model_is_no_merge_and_one_adapter_is(tmp_path, name):
    found = problems(tmp_path, f"name: m, type: merge, from: {name}, args: {{method: linear}}")
    assert any("a merge of 1 model, which is whole" in text for text in found), found
    assert problems(tmp_path, "name: m, type: merge, from: c, args: {method: linear}") == []
