from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from data_tools.rows.files import read_rows, write_rows
from light_r1.errors import DataError, LightR1Error, StageError
from light_r1.models.chat import ChatFormat
from light_r1.models.load import load_model, save_model
from light_r1.ranks import Ranks
from light_r1.recipe.read import load_recipe
from light_r1.recipe.spec import ModelSpec, SourceSpec
from light_r1.run_dir.folder import StageDir
from light_r1.stages import STAGE_TYPES, load_stage
from light_r1.stages.base import Artifact, StageJob
from light_r1.stages.training import final_metrics
from tests.conftest import make_model

TRAIN = {
    "per_device_train_batch_size": 4,
    "max_steps": 2,
    "bf16": False,
    "report_to": "none",
    "save_strategy": "no",
    "logging_steps": 1,
    "activation_checkpointing": False,
}
SOLUTION = "<think>\n{0}+1={1}\n</think>\n\n\\boxed{{{1}}}"
ROWS = [
    {"problem": f"{a}+1?", "answer": str(a + 1), "solution": SOLUTION.format(a, a + 1), "difficulty": a}
    for a in range(8)
]


@pytest.fixture
def start(tokenizer, tmp_path) -> Artifact:
    save_model(make_model(tokenizer), tokenizer, tmp_path / "start")
    return Artifact(tmp_path / "start", "model", "0" * 16)


def job_for(folder: Path, start: Artifact, rows, *, args=None, options=None, lora=None, inputs=("start",)) -> StageJob:
    """A stage's job as `run_recipe` would make it, on rows of its own."""
    write_rows(folder / "rows.jsonl", rows)
    recipe = load_recipe("smoke")
    recipe = replace(recipe, data={"rows": SourceSpec(path=("rows.jsonl",))}, path=folder / "r.yaml", files=())
    spec = replace(
        recipe.stage("sft-stage1"),
        name="stage",
        inputs=inputs,
        data="rows",
        args={**TRAIN, **(args or {})},
        options=options or {},
        model=ModelSpec(name_or_path="unused", dtype="float32", attn_implementation="sdpa", lora=lora),
    )
    directory = StageDir(folder / "stage")
    directory.output.mkdir(parents=True)
    return StageJob(spec, recipe, {"start": start}, directory, Ranks())


def test_every_stage_type_loads_and_an_unknown_one_names_the_nearest():
    for name in STAGE_TYPES:
        stage = load_stage(name)
        assert stage.makes in ("model", "rows", "scores")
    with pytest.raises(LightR1Error, match="Did you mean grpo"):
        load_stage("grop")


def test_sft_writes_a_model_that_loads_and_what_it_dropped(start, tmp_path):
    bad = {"problem": "x?", "solution": "<think>never closed", "answer": "1", "difficulty": 0}
    job = job_for(tmp_path, start, [*ROWS, bad], args={"max_length": 256, "max_drop_rate": 0.5})
    result = load_stage("sft").run(job)
    assert (result.rows.seen, result.rows.kept, result.steps) == (9, 8, 2)
    assert result.metrics["train_loss"] > 0
    (dropped,) = read_rows(job.dir.dropped)
    assert dropped["row"]["problem"] == "x?"
    assert load_model(job.dir.output / "model", dtype="float32").config.use_cache
    assert [json.loads(line)["step"] for line in job.dir.metrics.read_text().splitlines()][:2] == [1, 2]


def test_a_lora_stage_writes_an_adapter_whose_base_is_on_disk(start, tmp_path):
    job = job_for(
        tmp_path,
        start,
        ROWS,
        args={"max_length": 256, "learning_rate": 0.1},
        lora={"r": 2, "target_modules": ["q_proj"]},
    )
    load_stage("sft").run(job)
    adapter = json.loads((job.dir.output / "model" / "adapter_config.json").read_text())
    assert Path(adapter["base_model_name_or_path"]) == start.path.resolve()
    merged = load_model(job.dir.output / "model", dtype="float32").state_dict()
    base = load_model(start.path, dtype="float32").state_dict()
    changed = {name for name in base if not merged[name].equal(base[name])}
    assert changed
    assert all("q_proj" in name for name in changed)


@pytest.mark.parametrize("rounds", [1, 2])
def test_dpo_samples_judges_pairs_and_trains_round_by_round(start, tmp_path, rounds):
    options = {"sample": {"n": 2, "max_tokens": 12, "temperature": 1.0, "batch_size": 8}, "rounds": rounds}
    job = job_for(tmp_path, start, ROWS, args={"max_length": 256, "loss_type": ["nca_pair"]}, options=options)
    result = load_stage("dpo").run(job)
    assert result.steps == 2 * rounds
    pairs = list(read_rows(job.dir.output / "pairs.jsonl"))
    assert 0 < len(pairs) <= len(ROWS)
    assert json.loads((job.dir.output / "pairs.summary.json").read_text())["pairs"] == len(pairs)
    load_model(job.dir.output / "model", dtype="float32")
    if rounds == 2:
        stores = [list(read_rows(job.dir.path / "rounds" / str(r) / "rollouts-0.jsonl")) for r in (0, 1)]
        assert stores[0][0]["completion_ids"] != stores[1][0]["completion_ids"]
        assert result.metrics["round-0/loss"] != result.metrics["round-1/loss"]
        again = load_stage("dpo").run(job)
        assert again == result, "rounds that are done were done again"


def test_processes_that_did_not_find_each_other_stop_the_stage(start, tmp_path, monkeypatch):
    monkeypatch.setattr(Ranks, "barrier", lambda self: None)
    monkeypatch.setattr(Ranks, "from_main", lambda self, make: make())
    job = replace(job_for(tmp_path, start, ROWS, args={"max_length": 256}), ranks=Ranks(0, 2))
    with pytest.raises(StageError, match="2 processes were launched, the trainer has 1"):
        load_stage("sft").run(job)


def test_dpo_without_any_pair_says_why(start, tmp_path):
    rows = [{**row, "responses": [{"text": row["solution"], "correct": True, "finished": True}]} for row in ROWS]
    job = job_for(tmp_path, start, rows, args={"loss_type": ["nca_pair"]})
    with pytest.raises(StageError, match="no_wrong_sample"):
        load_stage("dpo").run(job)


def test_grpo_trains_on_named_rewards(start, tmp_path):
    options = {"rewards": ["accuracy", {"name": "tag_count", "weight": 0.5}]}
    args = {
        "context_schedule": [{"steps": 2, "max_completion_length": 8}],
        "num_generations": 4,
        "max_steps": -1,
        "per_device_train_batch_size": 8,
    }
    result = load_stage("grpo").run(job_for(tmp_path, start, ROWS, args=args, options=options))
    assert result.steps == 2
    assert {"rewards/accuracy/mean", "rewards/tag_count/mean"} <= result.metrics.keys()


def get_seen_reward(*, think_tokens=("<think>", "</think>")):
    """A factory of a user's own: its reward is the length of the opening tag."""

    def seen(completions, **_):
        return [float(len(think_tokens[0]) * text.startswith(think_tokens[0])) for text in completions]

    return seen


def test_grpo_tells_its_rewards_the_tags_of_the_recipe(start, tmp_path):
    rewards = ["tag_count", "accuracy", {"name": "tests.light_r1.stages.test_stages:get_seen_reward"}]
    args = {"context_schedule": [{"steps": 1, "max_completion_length": 4}], "num_generations": 4, "max_steps": 1}
    args["per_device_train_batch_size"] = 4
    job = job_for(tmp_path, start, ROWS, args=args, options={"rewards": rewards})
    chat = replace(job.recipe.chat, think_tokens=("<thought>", "</thought>"))
    result = load_stage("grpo").run(replace(job, recipe=replace(job.recipe, chat=chat)))
    # The forced tag opens each thought, and four characters do not close it.
    assert result.metrics["rewards/tag_count/mean"] == 0.5
    assert result.metrics["rewards/seen/mean"] == len("<thought>")


def test_a_data_stage_folds_tools_and_samples_pass_rates(start, tmp_path):
    steps = [
        {"tool": "filter_length", "max_length": 10_000},
        {"tool": "sample", "n": 2, "max_tokens": 8, "temperature": 1.0},
        {"tool": "difficulty", "max_pass_rate": 0.5},
    ]
    job = job_for(tmp_path, start, ROWS, options={"steps": steps})
    result = load_stage("data").run(job)
    rows = list(read_rows(job.dir.output / "rows.jsonl"))
    assert len(rows) == result.rows.kept
    assert all(row["n"] == 2 and row["pass_rate"] <= 0.5 for row in rows)
    assert result.rows.seen == 8
    assert [entry["step"] for entry in json.loads((job.dir.output / "steps.json").read_text())] == [
        "filter_length",
        "difficulty",
    ]


def test_a_file_that_a_step_writes_lies_in_the_output_and_is_no_input(start, tmp_path):
    steps = [{"tool": "dedup", "clusters": "groups.jsonl"}, {"tool": "decontaminate", "benchmarks": ["bench.jsonl"]}]
    write_rows(tmp_path / "bench.jsonl", [{"problem": "Prove that there are infinitely many primes."}])
    job = job_for(tmp_path, start, ROWS + ROWS[:1], options={"steps": steps})
    stage = load_stage("data")
    assert stage.files(job.spec, job.recipe) == {"decontaminate.benchmarks.bench.jsonl": tmp_path / "bench.jsonl"}
    stage.run(job)
    (group,) = read_rows(job.dir.output / "groups.jsonl")
    assert len(group["rows"]) == 2


def test_evaluate_scores_each_benchmark_and_keeps_the_samples(start, tmp_path):
    job = job_for(tmp_path, start, ROWS, args={"n": 2, "max_tokens": 8})
    spec = replace(job.spec, args={"n": 2, "max_tokens": 8})
    evaluate = replace(job.recipe.evaluate, benchmarks={"b": job.recipe.data["rows"]})
    job = replace(job, spec=spec, recipe=replace(job.recipe, evaluate=evaluate))
    result = load_stage("evaluate").run(job)
    scores = json.loads((job.dir.output / "scores.json").read_text())["b"]
    assert scores["questions"] == 8
    assert len(scores["by_question"]) == 8
    assert len(list(read_rows(job.dir.output / "samples.jsonl"))) == 16
    assert result.metrics["b/avg@2"] == scores["avg@2"]


def test_empty_data_is_told(start, tmp_path):
    with pytest.raises(DataError, match="'rows' has no rows"):
        load_stage("sft").run(job_for(tmp_path, start, []))


def test_train_loss_is_the_mean_over_all_steps():
    history = [{"step": 2, "loss": 3.0}, {"step": 3, "loss": 6.0, "num_tokens": 9.0}, {"step": 3, "train_loss": 99.0}]
    assert final_metrics(history) == {"loss": 6.0, "num_tokens": 9.0, "train_loss": 4.0}


def test_the_saved_template_prompts_as_trained(start, tmp_path, tokenizer):
    job = job_for(tmp_path, start, ROWS, args={"max_length": 256})
    load_stage("sft").run(job)
    from light_r1.models.load import load_tokenizer

    saved = load_tokenizer(job.dir.output / "model")
    text = saved.apply_chat_template([{"role": "user", "content": "2+1?"}], add_generation_prompt=True, tokenize=False)
    assert text == ChatFormat(tokenizer).prompt_text("2+1?")
