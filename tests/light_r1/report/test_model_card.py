from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import asdict

import pytest
import yaml
from peft import LoraConfig, get_peft_model

from light_r1.models.chat import FAMILIES, ChatFormat
from light_r1.models.load import load_tokenizer, save_model
from light_r1.recipe.spec import ChatSpec
from light_r1.report.model_card import lineage, write_cards
from light_r1.report.summary import read_run
from tests.conftest import character_tokenizer, make_model
from tests.light_r1.run_folders import evaluate, finish, spec, whole_run, write_run
from tests.shared import ROOT


def cards(root):
    write_cards(read_run(root))
    return {path.parts[-4]: path.read_text() for path in root.glob("*/output/model/README.md")}


def head(text):
    return yaml.safe_load(text.split("---\n")[1])


def test_every_finished_model_has_a_card_with_scores_and_recipe(tmp_path):
    found = cards(whole_run(tmp_path / "toy"))
    assert sorted(found) == ["dpo", "grpo", "merge", "sft"]
    assert "from `sft` and `dpo`" in found["merge"]
    assert "a model with random weights" in found["sft"]
    assert "avg@2 50.0 ± 28.9 (3 questions)" in found["sft"]
    assert "```yaml\nname: toy\n```" in found["grpo"]
    assert '"beta": 0.3' in found["grpo"], "settings of a stage it goes back to are missing"


def test_metadata_is_what_the_hub_reads(tmp_path):
    from huggingface_hub import ModelCardData
    from huggingface_hub.repocard_data import model_index_to_eval_results

    found = head(cards(whole_run(tmp_path / "toy"))["dpo"])
    name, results = model_index_to_eval_results(found["model-index"])
    assert name == "toy-dpo"
    assert [(r.dataset_name, r.metric_name, r.metric_value) for r in results] == [("hard", "avg@2", 83.33)]
    assert ModelCardData(**found).library_name == "transformers"


def test_scores_come_into_the_card_once_they_are_there(tmp_path):
    root = whole_run(tmp_path / "toy")
    (root / "grpo.evaluate/manifest.json").unlink()
    before = cards(root)["grpo"]
    assert "## Scores" not in before
    assert "model-index" not in head(before)
    evaluate(root, "grpo.evaluate", {"a": 1.0, "b": 1.0, "c": 1.0})
    assert "avg@2 100.0" in cards(root)["grpo"]


def test_an_unfinished_model_has_no_card(tmp_path):
    root = whole_run(tmp_path / "toy")
    (root / "grpo/manifest.json").unlink()
    assert "grpo" not in cards(root)


def test_lineage_follows_models_and_data_but_not_siblings(tmp_path):
    run = read_run(whole_run(tmp_path / "toy"))
    stages = {stage.name: stage for stage in run.stages}
    assert [spec["name"] for spec in lineage(run, stages["sft"])] == ["sft"]
    assert [spec["name"] for spec in lineage(run, stages["dpo"])] == ["sft", "filter", "dpo"]
    assert [spec["name"] for spec in lineage(run, stages["grpo"])] == ["sft", "filter", "dpo", "merge", "grpo"]


def snippet(text):
    """The example under "Use"."""
    (code,) = re.findall(r"^## Use\n\n```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return code


def chat_run(root, tokenizer, chat, *, adapter=False, evaluate=None):
    """A run whose stage `sft` has trained a tiny model with a chat format; the format, and the model's card."""
    trained = ChatFormat(tokenizer, **chat)
    folder = finish(write_run(root, [spec("sft", "sft")]), "sft", "sft") / "output/model"
    file = root / "recipe.resolved.json"
    recipe = {**json.loads(file.read_text()), "chat": asdict(ChatSpec(**chat)), "evaluate": evaluate}
    file.write_text(json.dumps(recipe))
    model = make_model(tokenizer)
    tokenizer.chat_template = trained.jinja()
    if adapter:
        save_model(model, tokenizer, root / "base")
        model.name_or_path = str(root / "base")
        model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj"]))
    save_model(model, tokenizer, folder)
    return trained, folder, cards(root)["sft"]


CHATS = [
    {},
    {"suffix": '\nReason "step by step",\nand put {it} in \\boxed{}.'},
    {"system": "You're a helper.", "suffix": " Think."},
    {"force_think": False},
    {"think_tokens": ()},
    {"think_tokens": ("<reason>", "</reason>"), "suffix": "!"},
]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("chat", CHATS)
def test_the_example_of_a_card_prompts_as_the_model_was_trained(tmp_path, monkeypatch, capsys, family, chat):
    tokenizer = character_tokenizer(family, think_special=True)
    evaluate = {"temperature": 0.6, "top_p": 0.95, "top_k": None, "max_tokens": 8}
    trained, folder, text = chat_run(tmp_path / "toy", tokenizer, chat, evaluate=evaluate)
    monkeypatch.chdir(folder)
    names = {}
    exec(snippet(text), names)
    assert names["prompt"]["input_ids"][0].tolist() == trained.prompt_ids("What is 17 + 25?")
    assert names["output"].shape[1] - names["prompt"]["input_ids"].shape[1] <= 8
    printed = capsys.readouterr().out
    assert ("Thought:" in printed) == bool(chat.get("think_tokens", True))


@pytest.mark.parametrize("adapter", [False, True])
@pytest.mark.parametrize("tags", [("<think>", "</think>"), ("<reason>", "</reason>")])
def test_the_example_prompts_as_trained_with_byte_pairs_that_could_join_its_pieces(
    tmp_path, monkeypatch, tags, adapter
):
    tokenizer = load_tokenizer(ROOT / "recipes/data/gsm8k_tokenizer")
    chat = {"template": "chatml", "think_tokens": tags, "suffix": " Reason step by step: 123,456  "}
    trained, folder, text = chat_run(tmp_path / "toy", tokenizer, chat, adapter=adapter)
    monkeypatch.chdir(folder)
    names = {}
    exec(snippet(text).replace("=1024", "=2"), names)
    assert names["prompt"]["input_ids"][0].tolist() == trained.prompt_ids("What is 17 + 25?")


@pytest.mark.slow
@pytest.mark.parametrize("adapter", [False, True])
def test_the_example_of_a_card_runs_as_it_is_pasted_into_a_new_process(tmp_path, adapter):
    tokenizer = character_tokenizer("chatml", think_special=False)
    chat = {"suffix": " Think.", "system": "Add."}
    evaluate = {"temperature": 0.0, "top_p": 1.0, "top_k": None, "max_tokens": 4}
    trained, folder, text = chat_run(tmp_path / "toy", tokenizer, chat, adapter=adapter, evaluate=evaluate)
    (folder / "example.py").write_text(
        snippet(text) + "print(prompt['input_ids'][0].tolist(), type(model).__name__)\n"
    )
    done = subprocess.run(
        [sys.executable, "example.py"], cwd=folder, check=True, capture_output=True, text=True, env=os.environ
    )
    expected = "PeftModelForCausalLM" if adapter else "Qwen2ForCausalLM"
    assert done.stdout.splitlines()[-1] == f"{trained.prompt_ids('What is 17 + 25?')} {expected}"
    assert done.stdout.startswith("Thought: ")
    assert head(text)["library_name"] == ("peft" if adapter else "transformers")


@pytest.mark.parametrize("written", ["a <|im_end|> b</think>\n\n42<|im_end|>", "never closed"])
def test_the_example_prints_thought_and_answer_apart(tmp_path, written, capsys):
    text = chat_run(tmp_path / "toy", character_tokenizer("chatml", think_special=True), {})[2]
    parts = snippet(text).partition("text = tokenizer.decode")[2].partition("\n")[2]
    tokenizer = character_tokenizer("chatml", think_special=True)
    exec(parts, {"tokenizer": tokenizer, "text": written})
    thought, answer = capsys.readouterr().out.splitlines()
    assert thought == ("Thought: never closed" if written == "never closed" else "Thought: a <|im_end|> b")
    assert answer == ("Answer: " if written == "never closed" else "Answer: 42")


def test_without_an_evaluation_the_example_is_greedy(tmp_path):
    text = chat_run(tmp_path / "toy", character_tokenizer("chatml", think_special=True), {})[2]
    assert "do_sample=False, max_new_tokens=1024" in snippet(text)
