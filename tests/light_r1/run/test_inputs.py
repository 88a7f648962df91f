from __future__ import annotations

import json
from dataclasses import replace

import pytest

from data_tools.engine.source_file import source_file
from light_r1.recipe.options.source import read_module
from light_r1.recipe.read import load_recipe
from light_r1.recipe.sources import stages_needed
from light_r1.recipe.spec import MixPart, SourceSpec
from light_r1.run.inputs import input_hashes
from light_r1.run_dir.decision import decide
from light_r1.run_dir.folder import RunDir
from light_r1.stages import load_stage

RECIPE = """
name: own
model: {name_or_path: FOLDER/start}
data:
  rows: {path: rows.jsonl}
  held: {path: held.jsonl}
stages:
  - {name: first, type: sft, data: rows, eval_data: held}
  - {name: second, type: sft, from: first, data: rows}
  - {name: both, type: merge, from: [first, second], base: model, args: {method: ties, densities: [1, 1]}}
  - {name: rl, type: grpo, from: both, data: rows, rewards: [accuracy, "own_rewards:short"]}
"""


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    (tmp_path / "start").mkdir()
    (tmp_path / "start/config.json").write_text("{}")
    (tmp_path / "start/model.safetensors").write_bytes(b"weights")
    for name in ("rows", "held"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"problem": name, "solution": "x"}) + "\n")
    (tmp_path / "own_rewards.py").write_text(
        "from own_lengths import LIMIT\ndef short(completions, **kwargs): return [0.0 for _ in completions]\n"
    )
    (tmp_path / "own_lengths.py").write_text("LIMIT = 10\n")
    (tmp_path / "own.yaml").write_text(RECIPE.replace("FOLDER", str(tmp_path)))
    monkeypatch.syspath_prepend(tmp_path)
    return load_recipe(tmp_path / "own.yaml")


def hashes(recipe, name):
    read_module.cache_clear()
    source_file.cache_clear()
    spec = recipe.stage(name)
    made = {stage: f"made-by-{stage}" for stage in stages_needed(spec, recipe)}
    return input_hashes(spec, load_stage(spec.type), recipe, made, cache=recipe.path.with_name("hashes.json"))


def test_a_stage_needs_those_it_names(recipe):
    assert stages_needed(recipe.stage("first"), recipe) == []
    assert stages_needed(recipe.stage("both"), recipe) == ["first", "second"]
    assert hashes(recipe, "second").keys() == {"first", "rows"}


def test_a_stage_needs_those_whose_rows_its_data_mix_in(recipe):
    mixed = SourceSpec(mix=(MixPart("hard"), MixPart("held")))
    hard = replace(recipe.stage("first"), name="hard", type="data", eval_data=None)
    after = replace(recipe.stage("second"), data="mixed")
    recipe = replace(recipe, data={**recipe.data, "mixed": mixed}, stages=(hard, recipe.stage("first"), after))
    assert stages_needed(after, recipe) == ["first", "hard"]
    assert hashes(recipe, "second").keys() == {"first", "hard", "mixed"}


def test_other_weights_at_the_same_path_are_another_input(recipe, tmp_path):
    before = {name: hashes(recipe, name) for name in ("first", "second", "both")}
    (tmp_path / "start/model.safetensors").write_bytes(b"changed")
    after = {name: hashes(recipe, name) for name in before}
    assert before["first"]["model"] != after["first"]["model"]
    assert before["both"]["model"] != after["both"]["model"], "task vectors are taken against it"
    assert before["second"] == after["second"], "its weights come from an earlier stage"


def test_changed_data_change_only_their_own_hash(recipe, tmp_path):
    before = hashes(recipe, "first")
    (tmp_path / "held.jsonl").write_text(json.dumps({"problem": "other", "solution": "x"}) + "\n")
    after = hashes(recipe, "first")
    assert {name for name in before if before[name] != after[name]} == {"held"}


@pytest.mark.parametrize("file", ["own_rewards.py", "own_lengths.py"])
def test_changed_code_of_a_reward_is_another_input(recipe, tmp_path, file):
    before = hashes(recipe, "rl")
    assert "code of own_rewards" in before
    with (tmp_path / file).open("a") as code:
        code.write("# changed\n")
    after = hashes(recipe, "rl")
    assert {name for name in before if before[name] != after[name]} == {"code of own_rewards"}


def test_the_code_of_a_tokenizer_counts_where_it_is_built(recipe):
    smoke = load_recipe("smoke")
    assert "code of light_r1.tiny" in hashes(replace(smoke, path=recipe.path), "base")
    assert "code of light_r1.tiny" not in hashes(replace(smoke, path=recipe.path), "merge")


DATA_ONLY = """
name: own
{head}
data:
  rows: {{path: rows.jsonl}}
stages:
  - {{name: clean, type: data, data: rows, steps: [{{tool: dedup}}]}}
  - {{name: tried, type: data, data: rows, steps: [{{tool: sample, n: 2, temperature: 1.0, max_tokens: 9}}]}}
"""


def test_data_tools_depend_on_no_model_chat_or_sampler_but_sampling_does(tmp_path):
    def settings(head: str) -> list[dict]:
        (tmp_path / "own.yaml").write_text(DATA_ONLY.format(head=head))
        recipe = load_recipe(tmp_path / "own.yaml")
        stages = [(spec, load_stage(spec.type)) for spec in recipe.stages]
        inputs = [input_hashes(spec, stage, recipe, {}, cache=tmp_path / "c.json") for spec, stage in stages]
        return [stage.resolved(spec, recipe, inputs[n]) for n, (spec, stage) in enumerate(stages)]

    start = tmp_path / "start"
    start.mkdir()
    (start / "config.json").write_text("{}")
    (tmp_path / "rows.jsonl").write_text('{"problem": "1 + 1?"}\n')
    clean, tried = settings(f"model: {{name_or_path: {start}}}")
    for head in (
        f"model: {{name_or_path: {start}, dtype: float32}}",
        f"model: {{name_or_path: {start}}}\nchat: {{suffix: Think.}}",
        f"model: {{name_or_path: {start}}}\nsampler: {{backend: vllm}}",
    ):
        changed = settings(head)
        assert changed[0] == clean
        assert changed[1] != tried
    (start / "config.json").write_text('{"a": 1}')
    changed = settings(f"model: {{name_or_path: {start}}}")
    assert changed[0] == clean
    assert changed[1] != tried


def test_a_stage_that_reruns_says_what_changed_in_its_data(tmp_path):
    def decided(source: str) -> str:
        (tmp_path / "own.yaml").write_text(
            f"data:\n  all: {{mix: [{{source: rows}}], fraction: 0.5}}\n  rows: {{path: rows.jsonl{source}}}\n"
            "stages: [{name: clean, type: data, data: all, steps: [{tool: dedup}]}]\n"
        )
        recipe = load_recipe(tmp_path / "own.yaml")
        spec, stage = recipe.stages[0], load_stage("data")
        settings = stage.resolved(spec, recipe, input_hashes(spec, stage, recipe, {}, cache=tmp_path / "c.json"))
        folder = RunDir(tmp_path / "run").stage("clean")
        reason = decide(folder, settings).reason
        folder.begin(settings)
        return reason

    (tmp_path / "rows.jsonl").write_text('{"problem": "1 + 1?"}\n')
    assert decided("") == "not run yet"
    assert decided("") == "cut off before its first checkpoint"
    assert decided(", limit: 7") == "changed: clean.inputs.all.parts.rows.limit: (not set) -> 7"
    (tmp_path / "rows.jsonl").write_text('{"problem": "2 + 2?"}\n')
    assert decided("").startswith('changed: clean.inputs.all.parts.rows.content: ["')


def test_the_files_of_a_tokenizer_beside_the_recipe_count_wherever_the_recipe_that_extends_it_lies(tmp_path):
    (tmp_path / "shelf/letters").mkdir(parents=True)
    (tmp_path / "shelf/letters/tokenizer.json").write_text("{}")
    (tmp_path / "rows.jsonl").write_text('{"problem": "1 + 1?", "solution": "2"}\n')
    (tmp_path / "shelf/parent.yaml").write_text(
        "model: {init: {tokenizer: letters, config: {model_type: qwen2}}}\ndata: {x: {path: rows.jsonl}}\n"
        "stages: [{name: a, type: sft, data: x, args: {max_length: 9}}]\n"
    )
    (tmp_path / "own.yaml").write_text("extends: shelf/parent.yaml\n")
    recipe = load_recipe(tmp_path / "own.yaml")

    def hashes() -> dict:
        return input_hashes(recipe.stages[0], load_stage("sft"), recipe, {}, cache=tmp_path / "c.json")

    first = hashes()
    (tmp_path / "shelf/letters/tokenizer.json").write_text('{"a": 1}')
    assert {name for name, value in hashes().items() if first[name] != value} == {"tokenizer"}
