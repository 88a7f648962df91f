"""Sixty and more faults, planted one at a time in copies of the shipped recipes and their data: each must be named.

A fault counts as named if a problem says what is wrong (the words given here) at the file and line where it stands;
for rows of data that is the line of the source in the recipe, and the file and row in the text.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from light_r1.errors import RecipeError
from light_r1.recipe.shipped import shipped_recipes
from light_r1.run.check import inspect


@dataclass(frozen=True)
class Fault:
    """One fault.

    Args:
        recipe: The recipe it is planted in.
        old: What is replaced, once: the first match of this pattern.
        new: What it becomes.
        says: Words of the message.
        line: Pattern of the line where it is reported, if that is not the line that was changed.
    """

    recipe: str
    old: str
    new: str
    says: tuple[str, ...]
    line: str = ""


def fault(recipe: str, old: str, new: str, *says: str, line: str = "") -> Fault:
    return Fault(recipe, old, new, says, line)


R32, R14, RS, SKY, TINY = "light_r1_32b", "light_r1_14b_ds", "open_rs_1.5b", "sky_t1_lora", "tiny"
DSR = "deepscaler_1.5b"

IN_RECIPES = [
    # unknown keys, at every level
    fault(R32, r"seed: 42", "sead: 42", "sead", "Did you mean seed?"),
    fault(R32, r"attn_implementation:", "attn_implementaton:", "Did you mean attn_implementation?"),
    fault(R32, r"force_think:", "forced_think:", "Did you mean force_think?"),
    fault(R32, r"data_files:", "data_file:", "data.stage1.data_file", "Did you mean data_files?"),
    fault(R32, r"  top_p:", "  topp:", "evaluate.topp", "Did you mean top_p?"),
    fault(R32, r"adam_beta2:", "adam_betta2:", "Did you mean adam_beta2?"),
    fault(R32, r"    sample:", "    samples:", "dpo", "samples", "Did you mean sample?"),
    fault(
        R32, r"      max_tokens: 32000", "      max_token: 32000", "dpo.sample.max_token", "Did you mean max_tokens?"
    ),
    fault(
        R32, r"stop_after_epochs: 4", "stop_after_epoch: 4", "sft-stage1.args.stop_after_epoch", "stop_after_epochs?"
    ),
    fault(R32, r"    from: model\n", "    learning_rate: 1.0e-5\n    from: model\n", "sft-stage1.args.learning_rate"),
    fault(R32, r"densities:", "density:", "merge.args.density", "Did you mean densities?"),
    fault(R32, r"per_question: 1, strip", "per_questions: 1, strip", "Did you mean per_question?"),
    fault(R14, r"min_pass_rate:", "min_passrate:", "Did you mean min_pass_rate?"),
    fault(R14, r"        max_len:", "        maxlen:", "Did you mean max_len?"),
    fault(SKY, r"lora_alpha:", "lora_alfa:", "model.lora.lora_alfa", "Did you mean lora_alpha?"),
    fault(TINY, r"    tokenizer:", "    tokeniser:", "init.tokeniser", "Did you mean tokenizer?"),
    fault(TINY, r"seed: 1\}", "sed: 1}", "Did you mean seed?"),
    fault(TINY, r"\{steps: \d+, max_comp", "{step: 30, max_comp", "context_schedule", "step"),
    # types
    fault(R32, r"num_train_epochs: 3", "num_train_epochs: three", "num_train_epochs", "'three'", "a number"),
    fault(R32, r"global_batch_size: 96", "global_batch_size: 96.5", "96.5", "an integer"),
    fault(R32, r"global_batch_size: 96", "global_batch: 96", "Did you mean global_batch_size?"),
    fault(R32, r"global_batch_size: 96", "global_batch_size: 0", "at least 1"),
    fault(
        SKY,
        r"global_batch_size: 96",
        "global_batch_size: 96\n      gradient_accumulation_steps: 12",
        "global_batch_size is set too",
        line="gradient_accumulation_steps",
    ),
    fault(
        SKY,
        r"batch_size: 1\n",
        "batch_size: 36\n",
        "96 is no multiple of 36",
        "per_device_train_batch_size 12, 16, 24 or 32",
        line="global_batch_size",
    ),
    fault(DSR, r"generation_batch_size: 1024 ", "steps_per_generation: 64 ", "Expected generation_batch_size"),
    fault(R32, r"packing: false", "packing: flase", "packing", "'flase'"),
    fault(R32, r"bf16: true", 'bf16: "true"', "bf16", "true or false"),
    fault(R32, r"weights: \[1.0, 1.0", "weights: [1.0, one", "merge.args.weights", "'one'"),
    fault(R32, r"seed: 42", 'seed: "42"', "seed", "an integer"),
    fault(R32, r"add_think_tokens: true", "add_think_tokens: always", "add_think_tokens", "true or false"),
    fault(R32, r"rows: 76000", "rows: many", "data.stage1.rows", "'many'"),
    fault(R32, r"    from: \[sft-stage2, dpo, dpo-untagged\]", "    from: {a: dpo}", "merge.from", "a mapping"),
    fault(R32, r"max_grad_norm: 1.0", "max_grad_norm: [1.0]", "max_grad_norm", "a list"),
    # choices
    fault(R32, r"nca_pair", "nca_piar", "loss_type", "Did you mean nca_pair?"),
    fault(R32, r"dtype: bfloat16", "dtype: bf16", "model.dtype", "bfloat16, float16, float32"),
    fault(R32, r"method: ties", "method: tie", "merge.args.method", "Did you mean ties?"),
    fault(R32, r"lr_scheduler_type: constant", "lr_scheduler_type: konstant", "Did you mean constant?"),
    fault(R32, r"template: chatml", "template: chatlm", "chat.template", "Did you mean chatml?"),
    fault(R32, r"chosen: teacher", "chosen: teachers", "pairs.chosen", "Did you mean teacher?"),
    fault(R32, r"    type: merge", "    type: merg", "merge.type", "Did you mean merge?"),
    fault(R32, r"rewards: \[accuracy\]", "rewards: [acuracy]", "Did you mean accuracy?"),
    fault(R14, r"tool: difficulty", "tool: dificulty", "Did you mean difficulty?"),
    fault(R14, r"scale_rewards: group", "scale_rewards: groups", "Did you mean group?"),
    fault(R32, r"\Z", "\nsampler: {backend: hff}\n", "no sampler hff", "Did you mean hf?", line=r"^sampler:"),
    fault(
        R14,
        r"(      - )tool: diff",
        r"\1interval: pont\n        tool: diff",
        "steps.1.interval",
        "Did you mean point?",
    ),
    fault(
        R14, r"      - tool: diff", r"      - {tool: dedup, keep: [answr]}\n\g<0>", "keep.0", "Did you mean answer?"
    ),
    # bounds
    fault(R32, r"learning_rate: 5.0e-5", "learning_rate: -5.0e-5", "sft-stage1.args.learning_rate", "out of range"),
    fault(R32, r"max_length: 20000", "max_length: -20000", "max_length", "out of range"),
    fault(R32, r"adam_beta2: 0.95", "adam_beta2: 1.95", "adam_beta2", "below 1"),
    fault(R32, r"  top_p: 0.95", "  top_p: 95", "evaluate.top_p", "at most 1"),
    fault(R32, r"densities: \[0.2", "densities: [2.0", "merge.args.densities", "at most 1"),
    fault(R32, r"num_generations: 8", "num_generations: 1", "grpo.args.num_generations", "at least 2"),
    fault(
        R32,
        r"num_generations: 8",
        "chat_template_kwargs: {enable_thinking: false}",
        "grpo.args.chat_template_kwargs",
        "by chat",
    ),
    fault(R32, r"k: \[1, 64\]", "k: [1, 128]", "pass@128 needs 128 samples"),
    # graph
    fault(R32, r"    from: sft-stage1\n", "    from: sft-stage3\n", "no stage called sft-stage3", "sft-stage1?"),
    fault(R32, r"    from: sft-stage1\n", "    from: sft-stage2\n", "sft-stage2.from", "cycle"),
    fault(R32, r"    from: model\n", "    from: dpo\n", "sft-stage1.from", "cycle"),
    fault(
        R32, r"from: \[sft-stage2, dpo, dpo-untagged\]", "from: [dpo]", "3 weights for 1 model", line=r"weights: \[1"
    ),
    fault(R32, r"dpo, dpo-untagged\]", "dpo, dpo-tagless]", "merge.from", "no stage called dpo-tagless"),
    fault(R32, r"    data: stage1\n", "    data: stage11\n", "no source or data stage called stage11", "stage1?"),
    fault(
        R32,
        r"(type: evaluate\n    from:) merge",
        r"\1 questions",
        "questions makes rows, no model",
        line=r"from: questions",
    ),
    fault(R32, r"after: \[sft-stage1", "after: [sft-stage9", "no stage called sft-stage9"),
    fault(R32, r"- name: dpo-untagged", "- name: dpo", "a second stage called dpo"),
    fault(R32, r"    data: stage1\n", "", "sft-stage1: data is missing", line=r"- name: sft-stage1"),
    fault(R14, r"extends: light_r1_7b_ds", "extends: light_r1_8b_ds", "no recipe light_r1_8b_ds", "light_r1_7b_ds?"),
    fault(R14, r"source: bigmath", "source: bigmat", "no source or data stage called bigmat", "Did you mean bigmath?"),
    # combinations
    fault(
        R14,
        r"num_generations: 8",
        "num_generations: 7",
        "1024 is of no whole groups of 7",
        "1022 or 1029",
        line="global_batch_size",
    ),
    fault(R14, r"delta: 3.0", "delta: 1.1", "trust region of 1 + epsilon"),
    fault(R14, r"max_pass_rate: 0.625", "max_pass_rate: 0.125", "0.25 is above", line=r"min_pass_rate"),
    fault(R32, r"bf16: true", "bf16: true\n    fp16: true", "bf16 and fp16 exclude each other", line=r"fp16"),
    fault(R32, r"schedule_epochs: 100", "schedule_epochs: 2", "the schedule ends after 2 of the 4 epochs"),
    fault(R32, r"max_length: 32768", "max_length: 8192", "less than sample.max_tokens 32000"),
    fault(R32, r"weights: \[1.0, 1.0, 1.0\]", "weights: [1.0, 1.0]", "2 weights for 3 models"),
    fault(R32, r"    base: model[^\n]*\n", "", "ties needs a base", line=r"- name: merge"),
    fault(
        R32,
        r"  temperature: 0.6",
        "  temperature: 0.0",
        "at temperature 0 all 64 samples are the same",
        line=r"  n: 64",
    ),
    fault(
        SKY, r"  lora:(\n    [^\n]*)+", "  quantization: {load_in_4bit: true}", "quantised weights cannot be trained"
    ),
    fault(
        R32,
        r"think: true\n",
        'think: true\n  think_tokens: ["<think>"]\n',
        "an opening and a closing",
        line="think_tok.*<th",
    ),
    fault(TINY, r"hidden_size: \d+", "hidden_size: 97", "97 does not split into"),
    fault(TINY, r"num_key_value_heads: \d+", "num_key_value_heads: 3", "3 does not divide"),
    fault(TINY, r"hidden_size: \d+", "hiden_size: 96", "Did you mean hidden_size?"),
    fault(TINY, r"model_type: qwen2", "model_type: qwen99", "no model type qwen99"),
    fault(R32, r"name: light_r1_32b", "name: ../elsewhere", "cannot name the run folder"),
    fault(R32, r"attn_implementation: auto", "attn_implementation: flash", "flash is unknown"),
    fault(R32, r"rewards: \[accuracy\]", "rewards: [cosine]", "cosine needs max_len"),
    fault(R32, r"rewards: \[accuracy\]", "rewards: [accuracy, accuracy]", "names a reward twice"),
    fault(R32, r"stop_after_epochs: 4", "output_dir: out", "cannot be set for a stage"),
    fault(R32, r"stop_after_epochs: 4", "eval_strategy: steps", "there is no held-out data"),
    fault(R32, r"stop_after_epochs: 4", "report_to: wandbb", "Did you mean wandb?"),
    fault(R32, r"stop_after_epochs: 4", "deepspeed: zero9.json", "no file zero9.json"),
    fault(RS, r"use_reentrant:", "use_reentrent:", "Did you mean use_reentrant?"),
    fault(RS, r"min_lr_rate:", "min_lr_rat:", "Did you mean min_lr_rate?"),
    fault(SKY, r"target_modules: all-linear", "target_modules: [q_proj, lm_head]", "lm_head cannot have an adapter"),
    fault(SKY, r"lora:", "quantization: {bnb_4bit_quant_type: nf5}\n  lora:", "bnb_4bit_quant_type", "fp4, nf4"),
    # what only the trainer or the first step would find out
    fault(R32, r"lr_scheduler_type: cosine", "lr_scheduler_type: cosine_with_min_lr", "needs min_lr or min_lr_rate"),
    fault(R32, r"dtype: bfloat16", "dtype: float16", "float16 weights cannot be trained"),
    fault(DSR, r"max_steps: 2080", "max_steps: 0", "0 would mean all epochs", "at least 1"),
    fault(TINY, r"num_hidden_layers: \d+", "num_hidden_layers: 0", "num_hidden_layers", "at least 1"),
    fault(
        TINY, r"max_position_embeddings: \d+", "max_position_embeddings: 64", "256 is beyond", line=r"max_length: 256"
    ),
    fault(
        "gsm8k_traces", r"data/gsm8k_tokenizer", "data/gsm8k_tokeniser", "no folder", "Did you mean gsm8k_tokenizer?"
    ),
    fault(
        R32, r"method: ties", "method: slerp", "slerp goes between two models, here are 3", line=r"from: \[sft-stage2"
    ),
    fault(
        R32,
        r"loss_type: nca_pair",
        "loss_type: [nca_pair, sft]\n      loss_weights: [1.0]",
        "1 weights for 2",
        line="loss_w",
    ),
    fault(
        DSR,
        r"generation_batch_size: 1024 ",
        "generation_batch_size: 12 ",
        "no multiple of num_generations 8",
        line="num_generations: 8",
    ),
    # the shape of values
    fault(R32, r"  stage2: \{.*", "  stage2: stage2.jsonl", "data.stage2", "a mapping"),
    fault(R32, r"after: \[.*\]", "after: sft-stage1", "evaluate.after", "all, none or a list"),
    fault(R32, r"rewards: \[accuracy\]", "rewards: []", "grpo.rewards", "a list"),
    fault(R32, r"\{tool: extract\}", "extract", "names no tool"),
    fault(R14, r"max_len: 24000", "max_len: 24k", "'24k'", "an integer"),
    fault(SKY, r"lora:(\n    [^\n]*)+", "lora: true", "model.lora", "a mapping"),
    fault(R32, r"k: \[1, 64\]", "k: [0, 64]", "at least 1"),
    fault(R32, r"stop_after_epochs: 4", "report_to: [wandb, mlflw]", "Did you mean mlflow?"),
    fault(R32, r"stop_after_epochs: 4", "optim: adamw_torhc", "Did you mean adamw_torch?"),
    fault(R32, r"\Z", "\nsampler: {backend: vllm, tensor_parallel: 2}\n", "tensor_parallel_size?", line=r"^sampler:"),
    fault(R32, r"  sft:\n    args", "  sfft:\n    args", "Did you mean sft?"),
    fault(R14, r"extends: .*", "extends: light_r1_14b_ds.yaml", "a cycle"),
    # the file itself
    fault(R32, r"  dtype: bf", "\tdtype: bf", "a tab"),
    fault(
        R32, r"  dtype: bfloat16\n", "  dtype: bfloat16\n  dtype: float32\n", "duplicate key", line=r"dtype: float32"
    ),
    fault(R32, r"k: \[1, 64\]", "k: [1, 64", "not valid YAML", line=r"after:"),
    fault(RS, r"\{min_lr_rate: 0.1\}", "[0.1]", "lr_scheduler_kwargs", "a mapping"),
]


def plant(folder: Path, one: Fault) -> tuple[Path, int]:
    """Change a copy of the recipe; return it and the line where the fault should be reported."""
    path = folder / f"{one.recipe}.yaml"
    text = path.read_text(encoding="utf-8")
    match = re.search(one.old, text)
    assert match is not None, f"{one.old} does not occur in {one.recipe}: plant it elsewhere"
    changed = text[: match.start()] + match.expand(one.new.replace("\\n", "\n")) + text[match.end() :]
    assert changed != text
    path.write_text(changed, encoding="utf-8")
    at = match.start()
    if one.line:
        found = re.search(one.line, changed, re.MULTILINE)
        assert found is not None
        at = found.start()
    while changed[at : at + 1] == "\n":
        at += 1
    return path, changed.count("\n", 0, at) + 1


def problems_of(path: Path) -> list[str]:
    try:
        return [str(problem) for problem in inspect(path).problems]
    except RecipeError as error:
        return [str(problem) for problem in error.problems]


@pytest.fixture
def recipes(tmp_path, monkeypatch):
    folder = tmp_path / "recipes"
    shutil.copytree(shipped_recipes(), folder)
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.mark.parametrize("one", IN_RECIPES, ids=lambda one: f"{one.recipe}: {one.says[0]}")
def test_fault_in_a_recipe_is_named_with_file_and_line(one, recipes):
    path, line = plant(recipes, one)
    problems = problems_of(path)
    place = f"{path.relative_to(recipes.parent)}:{line}: "
    here = [text for text in problems if text.startswith(place)]
    assert any(all(word in text for word in one.says) for text in here), "\n".join([place, *problems])
    assert len(problems) <= 4, "one fault makes a heap of problems:\n" + "\n".join(problems)


Rows = list[dict]


def each(**changes: object) -> Callable[[Rows], Rows]:
    return lambda rows: [{**row, **changes} for row in rows]


def at_row(number: int, **changes: object) -> Callable[[Rows], Rows]:
    return lambda rows: [{**row, **(changes if n == number else {})} for n, row in enumerate(rows, start=1)]


def without(column: str) -> Callable[[Rows], Rows]:
    return lambda rows: [{name: value for name, value in row.items() if name != column} for row in rows]


def conversations(role: str) -> Callable[[Rows], Rows]:
    def change(rows: Rows) -> Rows:
        turn = {"from": role, "value": "x"}
        return [{"conversations": [{"from": "human", "value": row["problem"]}, turn]} for row in rows]

    return change


FREE_TEXT = "because the sum of the two numbers is always larger than each of them"
TRACES, HELDOUT, ROLLOUTS = "gsm8k_traces.jsonl", "gsm8k_heldout.jsonl", "gsm8k_rollouts.jsonl"

IN_DATA: list[tuple[str, Callable[[Rows], Rows] | bytes, tuple[str, ...]]] = [
    (HELDOUT, each(answer=""), ("row 1", "answer")),
    (HELDOUT, each(answer=None), ("answer",)),
    (HELDOUT, each(answer=FREE_TEXT), ("row 1", "free text")),
    (HELDOUT, each(answer="\\frac{1}{2"), ("row 1", "braces")),
    (HELDOUT, at_row(3, answer=" "), ("row 3", "answer")),
    (HELDOUT, at_row(5, problem=""), ("row 5", "problem is empty")),
    (HELDOUT, without("problem"), ("no column problem",)),
    (HELDOUT, each(answer={"value": 3}), ("answer",)),
    (HELDOUT, b'{"problem": "1 + 1?", "answer": "2", "response": "2"}\n{"problem": \n', ("2",)),
    (HELDOUT, b"\xff\xfe\x00\x01\n", ("gsm8k_heldout.jsonl",)),
    (HELDOUT, b"", ("has no rows",)),
    (TRACES, without("response"), ("response",)),
    (HELDOUT, each(answer=float("nan")), ("row 1", "'nan'", "missing value")),
    (HELDOUT, each(answer=[]), ("row 1", "empty list")),
    (HELDOUT, each(answer=True), ("row 1", "True, not a text")),
    (HELDOUT, at_row(2, problem=7), ("row 2", "problem")),
    (HELDOUT, b'["a"]\n{"problem": "1"}\n', ("row 1", "expected an object")),
    (TRACES, each(problem=None), ("no column problem",)),
    (TRACES, each(response=["a", "b"]), ("row 1", "solution is empty or no text")),
    (TRACES, each(response="just 3"), ("50 of the first 50 rows have no <think> thought",)),
    (ROLLOUTS, each(responses="x"), ("row 1", "responses must be a list")),
    (ROLLOUTS, each(responses=[]), ("row 1", "no response is there")),
    (ROLLOUTS, each(responses=[{"text": "a", "correct": "yes"}]), ("row 1", "true, false or null")),
    (ROLLOUTS, conversations("robot"), ("row 1", "robot")),
    (TRACES, b'["not", "a", "row"]\n', ("gsm8k_traces.jsonl",)),
    (ROLLOUTS, without("problem"), ("problem",)),
    (ROLLOUTS, without("solution"), ("no column solution",)),
]


@pytest.mark.parametrize(
    ("name", "change", "says"), IN_DATA, ids=[f"{n}: {s[-1]}-{i}" for i, (n, _, s) in enumerate(IN_DATA)]
)
def test_fault_in_data_is_named_with_its_row(name, change, says, recipes):
    file = recipes / "data" / name
    if isinstance(change, bytes):
        file.write_bytes(change)
    else:
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        file.write_text("".join(json.dumps(row) + "\n" for row in change(rows)), encoding="utf-8")
    problems = problems_of(recipes / "gsm8k_traces.yaml")
    named = [text for text in problems if all(word in text for word in says) and re.match(r"recipes/\S+:\d+: ", text)]
    assert named, "\n".join(["not named", *problems])


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("data/gsm8k_traces.jsonl", "data/gsm8k_trace.jsonl", "no file data/gsm8k_trace.jsonl"),
        ("{solution: response}", "{solution: respons}", "Did you mean `response`"),
        ("{solution: response}", "{solutions: response}", "no canonical column"),
    ],
)
def test_fault_in_a_source_is_named(old, new, says, recipes):
    path, line = plant(recipes, fault("gsm8k_traces", re.escape(old), new, says, line=re.escape(new)))
    assert any(f".yaml:{line}: " in text and says in text for text in problems_of(path)), "\n".join(problems_of(path))


def test_there_are_sixty_faults():
    assert len(set(IN_RECIPES)) == len(IN_RECIPES)
    assert len(IN_RECIPES) + len(IN_DATA) >= 60


@pytest.mark.parametrize("path", sorted(shipped_recipes().glob("*.yaml")), ids=lambda path: path.stem)
def test_no_false_alarm(path):
    assert problems_of(path) == []


def test_twenty_faults_are_all_named_at_once(recipes):
    """The first fault must not hide the next: plant many in one file, on lines that do not touch."""
    chosen = [one for one in IN_RECIPES if one.recipe == R32 and not one.line and "\n" not in one.new]
    planted: dict[str, Fault] = {}
    path = recipes / f"{R32}.yaml"
    for one in chosen:
        text = path.read_text(encoding="utf-8")
        match = re.search(one.old, text)
        if match is None:
            continue
        line = text.count("\n", 0, match.start()) + 1
        changed = text[: match.start()] + one.new + text[match.end() :]
        # A fault that keeps the graph or a whole block from being read would hide others by right.
        if str(line) in planted or any(word in one.old for word in ("type:", "from", "name:", "data:", "sample:")):
            continue
        path.write_text(changed, encoding="utf-8")
        planted[str(line)] = one
    assert len(planted) >= 20
    problems = problems_of(path)
    told = {text.split(":", 2)[1] for text in problems}
    # `max_tokens` is misspelled, so there is nothing to hold `max_length` against.
    missed = [one.says for line, one in planted.items() if line not in told and "max_length: 8192" not in one.new]
    assert not missed, "\n".join(map(str, [missed, *problems]))
