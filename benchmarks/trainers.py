"""Our trainers and sampler beside plain TRL and transformers: the same rows, model, batch and threads, in one run.

    python benchmarks/trainers.py [sft] [sampling] [overhead] --rounds 5

Each comparison alternates both sides in every round and reports the median of the rounds' ratios with its range. What
scoring gains is measured by `benchmarks/scoring.py`.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PrinterCallback, Qwen2Config, Qwen2ForCausalLM
from trl import SFTConfig, SFTTrainer

from light_r1 import ChatFormat, CurriculumSFTConfig, CurriculumSFTTrainer
from light_r1.models import load_tokenizer
from light_r1.samplers import Request, SamplingParams
from light_r1.samplers.hf import HFSampler

ROOT = Path(__file__).parent.parent
SHIPPED = ROOT / "recipes" / "data" / "gsm8k_traces.jsonl"


def traces(path: Path) -> list[dict[str, str]]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [row for row in rows if "</think>" in row["response"]]


def model(tokenizer: Any, hidden: int, layers: int) -> Qwen2ForCausalLM:
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=3 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    return Qwen2ForCausalLM(config)


def sft(options: argparse.Namespace) -> str:
    """Train one epoch on real traces: ours against TRL's default padded batches of random rows."""
    tokenizer = load_tokenizer(ROOT / "recipes" / "data" / "gsm8k_tokenizer")
    chat = ChatFormat(tokenizer)
    rng = random.Random(0)
    rows = []
    for row in rng.sample(traces(options.traces), k=options.rows):
        rendered = chat.render(row["problem"], "<think>\n" + row["response"].removeprefix("<think>"))
        rows.append({"input_ids": rendered.input_ids[:4096], "labels": rendered.labels[:4096]})
    tokens = sum(len(row["input_ids"]) for row in rows)
    common = {
        "max_length": 4096,
        "per_device_train_batch_size": 8,
        "num_train_epochs": 1,
        "bf16": False,
        "activation_checkpointing": False,
        "report_to": "none",
        "save_strategy": "no",
        "logging_steps": 1000,
        "use_cpu": not torch.cuda.is_available(),
        "disable_tqdm": True,
    }

    def run(ours: bool) -> float:
        with tempfile.TemporaryDirectory() as folder:
            kind, config = (CurriculumSFTTrainer, CurriculumSFTConfig) if ours else (SFTTrainer, SFTConfig)
            trainer = kind(
                model(tokenizer, options.hidden, options.layers),
                args=config(folder, **common),
                train_dataset=Dataset.from_list(rows),
                processing_class=tokenizer,
            )
            trainer.remove_callback(PrinterCallback)
            start = time.perf_counter()
            trainer.train()
            return time.perf_counter() - start

    return compare("SFT, real tokens/s", run, tokens, options.rounds)


def sampling(options: argparse.Namespace) -> str:
    """Sample n = 8 completions of geometric length, as an untrained model of 200 tokens writes them."""
    tokenizer = load_tokenizer(ROOT / "recipes" / "data" / "gsm8k_tokenizer")
    torch.manual_seed(0)
    network = model(tokenizer, options.hidden, options.layers)
    network.resize_token_embeddings(200)
    network.eval()
    end, longest = 3, 1024
    rng = random.Random(0)
    prompts = [[rng.randrange(4, 200) for _ in range(rng.randrange(40, 160))] for _ in range(options.prompts)]
    batch = 64
    made: list[int] = []

    def ours() -> int:
        sampler = HFSampler(network, eos_token_ids=[end], pad_token_id=0, batch_size=batch)
        requests = [Request(str(p), i, tuple(ids)) for p, ids in enumerate(prompts) for i in range(8)]
        return sum(len(c.completion_ids) for c in sampler.sample(requests, SamplingParams(longest)))

    def theirs() -> int:
        total = 0
        ordered = sorted(prompts, key=len)
        for start in range(0, len(ordered), batch // 8):
            part = ordered[start : start + batch // 8]
            width = max(map(len, part))
            ids = torch.tensor([[0] * (width - len(p)) + p for p in part])
            mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in part])
            with torch.no_grad():
                out = network.generate(
                    ids, attention_mask=mask, do_sample=True, num_return_sequences=8, max_new_tokens=longest,
                    eos_token_id=end, pad_token_id=0, top_k=0,
                )  # fmt: skip
            for row in out[:, width:].tolist():
                total += row.index(end) + 1 if end in row else longest
        return total

    rates: dict[bool, list[float]] = {True: [], False: []}
    for round_ in range(options.rounds + 1):
        torch.manual_seed(round_)
        for side, function in ((False, theirs), (True, ours)):
            start = time.perf_counter()
            count = function()
            if round_:  # the first round warms up
                rates[side].append(count / (time.perf_counter() - start))
                made.append(count)
    return line("Sampling n=8, tokens/s", rates[False], rates[True])


def overhead(options: argparse.Namespace) -> str:
    """Milliseconds a step of short rows of one length, where grouping by length gains nothing."""
    tokenizer = load_tokenizer(ROOT / "recipes" / "data" / "gsm8k_tokenizer")
    rows = [{"input_ids": list(range(10, 42)), "labels": list(range(10, 42))} for _ in range(800)]
    times: dict[bool, list[float]] = {True: [], False: []}
    for round_ in range(options.rounds + 1):
        for ours in (False, True):
            with tempfile.TemporaryDirectory() as folder:
                kind, config = (CurriculumSFTTrainer, CurriculumSFTConfig) if ours else (SFTTrainer, SFTConfig)
                args = config(
                    folder, per_device_train_batch_size=8, num_train_epochs=1, bf16=False, report_to="none",
                    activation_checkpointing=False, save_strategy="no", logging_steps=1000, disable_tqdm=True,
                    use_cpu=not torch.cuda.is_available(), max_length=64,
                )  # fmt: skip
                network = model(tokenizer, 32, 1)
                trainer = kind(network, args=args, train_dataset=Dataset.from_list(rows), processing_class=tokenizer)
                trainer.remove_callback(PrinterCallback)
                start = time.perf_counter()
                trainer.train()
                if round_:
                    times[ours].append(1000 * (time.perf_counter() - start) / trainer.state.global_step)
    extra = [ours - theirs for ours, theirs in zip(times[True], times[False], strict=True)]
    return (
        f"| Overhead, ms/step | {statistics.median(times[False]):.2f} | {statistics.median(times[True]):.2f} | "
        f"{statistics.median(extra):+.2f} ({min(extra):+.2f} to {max(extra):+.2f}, n={len(extra)}) |"
    )


def compare(title: str, run: Callable[[bool], float], work: int, rounds: int) -> str:
    rates: dict[bool, list[float]] = {True: [], False: []}
    for round_ in range(rounds + 1):
        for ours in (False, True):
            seconds = run(ours)
            if round_:  # the first round warms up
                rates[ours].append(work / seconds)
    return line(title, rates[False], rates[True])


def line(title: str, theirs: list[float], ours: list[float]) -> str:
    ratios = sorted(b / a for a, b in zip(theirs, ours, strict=True))
    return (
        f"| {title} | {statistics.median(theirs):,.0f} | {statistics.median(ours):,.0f} | "
        f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}, n={len(ratios)}) |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["sft", "sampling", "overhead"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--traces", type=Path, default=SHIPPED)
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    options = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, hidden {options.hidden}, {options.layers} layers")
    print("| What | TRL / transformers | light_r1 | ratio, median (range) |\n|---|---|---|---|")
    for part in options.parts:
        print({"sft": sft, "sampling": sampling, "overhead": overhead}[part](options), flush=True)


if __name__ == "__main__":
    main()
