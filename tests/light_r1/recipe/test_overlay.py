from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from light_r1.recipe.overlay import apply_override, merge, read_layers
from light_r1.recipe.shipped import find_recipe, shipped_recipes
from light_r1.recipe.typecheck import Faults
from light_r1.recipe.yaml_lines import Node, Place, parse_yaml

HERE = Place("here")
TREES = st.recursive(
    st.integers(0, 3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3) | st.lists(inner, max_size=2),
    max_leaves=8,
)


def node(value):
    if isinstance(value, dict):
        return Node({key: node(item) for key, item in value.items()}, HERE)
    return Node([node(item) for item in value] if isinstance(value, list) else value, HERE)


def merged_by_hand(lower, upper):
    if not (isinstance(lower, dict) and isinstance(upper, dict)):
        return upper
    both = {key: merged_by_hand(lower[key], upper[key]) for key in lower.keys() & upper.keys()}
    return {**lower, **upper, **both}


@given(TREES, TREES)
def test_merging_is_the_naive_deep_merge_and_changes_neither(lower, upper):
    below, above = node(lower), node(upper)
    assert merge(below, above).data() == merged_by_hand(lower, upper)
    assert (below.data(), above.data()) == (lower, upper)


def layers(folder: Path, **files: str):
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    faults = Faults()
    tree, found = read_layers(folder / "top.yaml", faults)
    return tree, found, [str(problem) for problem in faults.problems]


def test_files_are_merged_nearest_last_and_values_keep_their_place(tmp_path):
    tree, files, problems = layers(
        tmp_path,
        top="name: top\nextends: middle.yaml\nseed: 3\n",
        middle="name: middle\nextends: bottom.yaml\nmodel: {dtype: float32}\n",
        bottom="name: bottom\nseed: 1\nmodel: {name_or_path: a/b, dtype: bfloat16}\n",
    )
    assert not problems
    assert [file.stem for file in files] == ["top", "middle", "bottom"]
    data = tree.data()
    assert (data["name"], data["seed"]) == ("top", 3)
    assert data["model"] == {"name_or_path": "a/b", "dtype": "float32"}
    assert tree.items["model"].items["name_or_path"].place.file.endswith("bottom.yaml")
    assert tree.items["model"].items["dtype"].place.file.endswith("middle.yaml")


def test_stages_are_merged_by_name_in_the_parents_order(tmp_path):
    tree, _, problems = layers(
        tmp_path,
        top="extends: base.yaml\nstages:\n  - {name: c}\n  - {name: a, args: {x: 2}}\n",
        base="stages:\n  - {name: a, type: sft, args: {x: 1, y: 1}}\n  - {name: b}\n",
    )
    assert not problems
    stages = tree.items["stages"].data()
    assert list(stages) == ["a", "b", "c"]
    assert stages["a"] == {"name": "a", "type": "sft", "args": {"x": 2, "y": 1}}


def test_a_nearer_choice_between_exclusive_keys_removes_the_other(tmp_path):
    tree, _, _ = layers(
        tmp_path,
        top="extends: base.yaml\nmodel: {init: {tokenizer: t}}\ndata: {a: {path: x.jsonl}}\n",
        base="model: {name_or_path: a/b, revision: r}\n"
        "data: {a: {hub: h/s, split: test, rows: 5, columns: {problem: p}}}\n",
    )
    assert tree.items["model"].data() == {"init": {"tokenizer": "t"}}
    assert tree.items["data"].data() == {"a": {"path": "x.jsonl", "columns": {"problem": "p"}}}


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"top": "extends: other.yaml\n", "other": "extends: top.yaml\n"}, "a cycle"),
        ({"top": "extends: tinny\n"}, "Did you mean tiny?"),
        ({"top": "extends: [a]\n"}, "is no file name"),
        ({"top": "- a\n"}, "a recipe is a mapping"),
        ({"top": "stages: {a: 1}\n"}, "is not a list"),
        ({"top": "stages: [{type: sft}]\n"}, "name is missing"),
        ({"top": "stages: [{name: 'a b'}]\n"}, "is no stage name"),
        ({"top": "stages: [{name: model}]\n"}, "cannot be the name of a stage"),
        ({"top": "stages: [{name: a}, {name: a}]\n"}, "a second stage called a"),
    ],
)
def test_faults_of_files_are_said_with_their_line(tmp_path, files, says):
    _, _, problems = layers(tmp_path, **files)
    assert any(says in problem and ".yaml:1: " in problem for problem in problems), problems


def test_recipes_are_found_by_path_or_shipped_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_recipe("tiny") == shipped_recipes() / "tiny.yaml"
    assert find_recipe("tiny.yaml") == shipped_recipes() / "tiny.yaml"
    (tmp_path / "tiny.yaml").write_text("name: mine\n")
    assert find_recipe("tiny.yaml") == Path("tiny.yaml")
    assert not find_recipe("sub/tiny.yaml").exists()


def tree():
    text = (
        "seed: 1\nmodel: {name_or_path: a/b}\nevaluate: {n: 1}\n"
        "stages: {dpo: {args: {beta: 1}, steps: [{n: 1}]}, evaluate: {args: {}}}\n"
    )
    root, _ = parse_yaml(text, "r.yaml")
    root.label("")
    return root


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("dpo.args.beta=0.3", ("stages", "dpo", "args", "beta"), 0.3),
        ("dpo.args.loss_type=[a, b]", ("stages", "dpo", "args", "loss_type"), ["a", "b"]),
        ("dpo.steps.0.n=5", ("stages", "dpo", "steps", 0, "n"), 5),
        ("dpo.model.lora.r=8", ("stages", "dpo", "model", "lora", "r"), 8),
        ("seed=7", ("seed",), 7),
        ("evaluate.n=4", ("evaluate", "n"), 4),
        ("evaluate.args.n=4", ("stages", "evaluate", "args", "n"), 4),
        ("model.lora={r: 4}", ("model", "lora"), {"r": 4}),
    ],
)
def test_overrides_set_values_by_stage_name_or_key(text, path, value):
    root, faults = tree(), Faults()
    apply_override(root, text, faults)
    assert not faults.problems
    found = root.data()
    for part in path:
        found = found[part]
    assert found == value


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("dpo.args.beta", "is no assignment"),
        ("dpoo.args.beta=1", "Did you mean dpo?"),
        ("dpo.args.beta.x=1", "is a single value"),
        ("dpo.steps.4.n=1", "has no item 4"),
        ("dpo.args.beta=[1", "not valid YAML"),
    ],
)
def test_overrides_that_fit_nothing_are_said_with_their_text(text, says):
    root, faults = tree(), Faults()
    apply_override(root, text, faults)
    assert [problem.where for problem in faults.problems] == [f"--set {text}"]
    assert says in str(faults.problems[0])


def test_an_override_removes_what_it_excludes():
    root = tree()
    apply_override(root, "model.init={tokenizer: t}", Faults())
    assert root.data()["model"] == {"init": {"tokenizer": "t"}}
