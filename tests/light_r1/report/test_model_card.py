from __future__ import annotations

import json

import yaml

from light_r1.report.model_card import card, lineage, write_cards
from light_r1.report.summary import read_run
from tests.light_r1.run_folders import evaluate, whole_run


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


def test_an_adapter_is_loaded_by_peft(tmp_path):
    root = whole_run(tmp_path / "toy")
    (root / "sft/output/model/adapter_config.json").write_text(json.dumps({}))
    run = read_run(root)
    text = card(run, run.stages[0])
    assert head(text)["library_name"] == "peft"
    assert "AutoPeftModelForCausalLM.from_pretrained" in text
