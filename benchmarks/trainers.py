"""Our trainers and sampler beside plain TRL and transformers: the same rows, model, batch and threads, in one run.

    python -m benchmarks.trainers [sft] [dpo] [sampling] [overhead] --rounds 5

Both sides alternate in every round; the table shows the median of the rounds' ratios with its range. What both sides
compute is compared in the same run. Scoring alone is measured by `benchmarks/scoring.py`. The result goes to
`benchmarks/results/trainers.json`.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import tempfile
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PrinterCallback, Qwen2Config, Qwen2ForCausalLM
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from benchmarks.measure import HEAD, Comparison, alternate, seconds, write
from light_r1 import (
    ChatFormat,
    CurriculumSFTConfig,
    CurriculumSFTTrainer,
    SemiOnPolicyDPOConfig,
    SemiOnPolicyDPOTrainer,
)
from light_r1.models.load import load_tokenizer
from light_r1.rollouts.hf import HFSampler
from light_r1.rollouts.sampler import Request, SamplingParams

ROOT = Path(__file__).parent.parent
SHIPPED = ROOT / "recipes" / "data" / "gsm8k_traces.jsonl"
TOKENIZER = ROOT / "recipes" / "data" / "gsm8k_tokenizer"


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


def common(batch: int) -> dict[str, Any]:
    return {
        "per_device_train_batch_size": batch,
        "num_train_epochs": 1,
        "bf16": False,
        "activation_checkpointing": False,
        "report_to": "none",
        "save_strategy": "no",
        "use_cpu": not torch.cuda.is_available(),
        "disable_tqdm": True,
    }


def trace_rows(options: argparse.Namespace) -> list[dict[str, list[int]]]:
    """Real traces as token ids; those longer than 4,096 are left out of both sides, as ours would drop them."""
    chat = ChatFormat(load_tokenizer(TOKENIZER))
    found = traces(options.traces)
    rows = []
    for row in random.Random(0).sample(found, k=len(found)):
        rendered = chat.render(row["problem"], "<think>\n" + row["response"].removeprefix("<think>"))
        if len(rendered.input_ids) <= 4096:
            rows.append({"input_ids": rendered.input_ids, "labels": rendered.labels})
    return rows[: options.rows]


def sft(options: argparse.Namespace) -> Comparison:
    """Train one epoch on real traces: ours against TRL's default padded batches of random rows."""
    tokenizer = load_tokenizer(TOKENIZER)
    rows = trace_rows(options)
    tokens = sum(len(row["input_ids"]) for row in rows)
    means: dict[bool, float] = {}

    def run(ours: bool, round_: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            kind, config = (CurriculumSFTTrainer, CurriculumSFTConfig) if ours else (SFTTrainer, SFTConfig)
            trainer = kind(
                model(tokenizer, options.hidden, options.layers),
                args=config(folder, max_length=4096, logging_steps=1000, seed=round_, **common(8)),
                train_dataset=Dataset.from_list(rows),
                processing_class=tokenizer,
            )
            trainer.remove_callback(PrinterCallback)
            if not round_:
                means[ours] = mean_loss(trainer)
            return tokens / seconds(trainer.train)

    theirs, ours = alternate(run, options.rounds)
    lengths = sorted(len(row["input_ids"]) for row in rows)
    settings = {
        "rows": len(rows),
        "tokens": tokens,
        "median_length": lengths[len(lengths) // 2],
        "longest": lengths[-1],
        "batch": 8,
        "traces": options.traces.name,
        "hidden": options.hidden,
        "layers": options.layers,
    }
    return Comparison(
        "SFT on traces", "real tokens/s", theirs, ours, "more", abs(means[True] - means[False]), settings
    )


def mean_loss(trainer: Any) -> float:
    """Mean loss a token of the untrained model over the trainer's own batches."""
    total = count = 0.0
    for batch in trainer.get_train_dataloader():
        with torch.no_grad():
            out = trainer.model(**batch, fused_lm_head=True)
        total += float((out.log_probs.double() * out.label_mask).sum())
        count += float(out.label_mask.sum())
    return -total / count


class IdsDPOTrainer(DPOTrainer):
    """Plain TRL on pairs of token ids: what it computes from them is unchanged."""

    def _prepare_dataset(self, dataset: Dataset, *args: Any, **kwargs: Any) -> Dataset:
        return dataset


def pairs(rng: random.Random, count: int, vocab: int) -> list[dict[str, list[int]]]:
    """Pairs as reasoning models write them: prompts of 256 tokens, responses of 40 to 768, most of them short."""

    def ids(length: int) -> list[int]:
        return [rng.randrange(5, vocab) for _ in range(length)]

    def skewed() -> int:
        return round(40 * (768 / 40) ** rng.random())

    return [{"prompt_ids": ids(256), "chosen_ids": ids(skewed()), "rejected_ids": ids(skewed())} for _ in range(count)]


def dpo(options: argparse.Namespace) -> Comparison:
    """Train one epoch on pairs with NCA: TRL with its reference model, ours with all that it does before as well."""
    tokenizer = load_tokenizer(TOKENIZER)
    losses: dict[bool, list[float]] = {}

    def run(ours: bool, round_: int) -> float:
        rows = Dataset.from_list(pairs(random.Random(round_), options.pairs, len(tokenizer)))
        policy, reference = (model(tokenizer, options.hidden, options.layers) for _ in range(2))
        made: list[Any] = []

        def train() -> None:  # the reference is scored when our trainer is made
            fields = {"loss_type": "nca_pair", "beta": 0.3, "max_length": 2048, "logging_steps": 1, **common(4)}
            if ours:
                args = SemiOnPolicyDPOConfig(folder, **fields)
                made.append(SemiOnPolicyDPOTrainer(policy, args, rows, processing_class=tokenizer))
            else:
                args = DPOConfig(folder, **fields)
                made.append(IdsDPOTrainer(policy, reference, args, train_dataset=rows, processing_class=tokenizer))
            made[0].remove_callback(PrinterCallback)
            made[0].train()

        with tempfile.TemporaryDirectory() as folder:
            taken = seconds(train)
            losses[ours] = [entry["loss"] for entry in made[0].state.log_history if "loss" in entry]
            return options.pairs / taken

    theirs, ours = alternate(run, options.rounds)
    difference = max(abs(a - b) for a, b in zip(losses[True], losses[False], strict=True))
    settings = {
        "pairs": options.pairs,
        "batch": 4,
        "prompt": 256,
        "responses": "40 to 768, log-uniform",
        "steps": len(losses[True]),
        "hidden": options.hidden,
        "layers": options.layers,
    }
    return Comparison("DPO with its reference", "pairs/s", theirs, ours, "more", difference, settings)


def sampling(options: argparse.Namespace) -> Comparison:
    """Sample n = 8 completions of geometric length, as an untrained model of 200 tokens writes them."""
    network = model(load_tokenizer(TOKENIZER), options.hidden, options.layers)
    network.resize_token_embeddings(200)
    network.eval()
    end, longest, batch, n = 3, 1024, 64, 8
    rng = random.Random(0)
    prompts = [[rng.randrange(4, 200) for _ in range(rng.randrange(40, 160))] for _ in range(options.prompts)]
    sampler = HFSampler(network, eos_token_ids=[end], pad_token_id=0, batch_size=batch)

    def ours(params: SamplingParams, each: int) -> dict[int, list[list[int]]]:
        requests = [Request(str(p), i, tuple(ids)) for p, ids in enumerate(prompts) for i in range(each)]
        made: dict[int, list[list[int]]] = {}
        for completion in sampler.sample(requests, params):
            made.setdefault(int(completion.request.prompt_id), []).append(completion.completion_ids)
        return made

    def theirs(params: SamplingParams, each: int) -> dict[int, list[list[int]]]:
        made: dict[int, list[list[int]]] = {}
        ordered = sorted(range(len(prompts)), key=lambda p: len(prompts[p]))
        for start in range(0, len(ordered), batch // each):
            part = ordered[start : start + batch // each]
            width = max(len(prompts[p]) for p in part)
            ids = torch.tensor([[0] * (width - len(prompts[p])) + prompts[p] for p in part])
            mask = torch.tensor([[0] * (width - len(prompts[p])) + [1] * len(prompts[p]) for p in part])
            with torch.no_grad():
                out = network.generate(
                    ids, attention_mask=mask, do_sample=params.temperature > 0, num_return_sequences=each,
                    max_new_tokens=params.max_tokens, eos_token_id=end, pad_token_id=0, top_k=0,
                )  # fmt: skip
            for row, tail in enumerate(out[:, width:].tolist()):
                cut = tail.index(end) + 1 if end in tail else params.max_tokens
                made.setdefault(part[row // each], []).append(tail[:cut])
        return made

    greedy = SamplingParams(96, temperature=0)
    found, expected = ours(greedy, 1), theirs(greedy, 1)
    different = sum(found[p] != expected[p] for p in range(len(prompts)))

    def run(is_ours: bool, round_: int) -> float:
        torch.manual_seed(round_)
        made: list[dict[int, list[list[int]]]] = []
        params = SamplingParams(longest, seed=round_)
        taken = seconds(lambda: made.append((ours if is_ours else theirs)(params, n)))
        return sum(len(ids) for each in made[0].values() for ids in each) / taken

    settings = {
        "prompts": len(prompts),
        "n": n,
        "batch": batch,
        "lengths": "geometric, mean 200, at most 1024",
        "greedy_completions_that_differ": different,
        "hidden": options.hidden,
        "layers": options.layers,
    }
    return Comparison("Sampling n=8", "tokens/s", *alternate(run, options.rounds), "more", float(different), settings)


def overhead(options: argparse.Namespace) -> Comparison:
    """Milliseconds a step of short rows of one length, where grouping by length gains nothing."""
    tokenizer = load_tokenizer(TOKENIZER)
    rows = [{"input_ids": list(range(10, 42)), "labels": list(range(10, 42))} for _ in range(800)]
    losses: dict[bool, float] = {}

    def run(ours: bool, round_: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            kind, config = (CurriculumSFTTrainer, CurriculumSFTConfig) if ours else (SFTTrainer, SFTConfig)
            args = config(folder, max_length=64, logging_steps=1000, **common(8))
            trainer = kind(
                model(tokenizer, 32, 1), args=args, train_dataset=Dataset.from_list(rows), processing_class=tokenizer
            )
            trainer.remove_callback(PrinterCallback)
            taken = seconds(trainer.train)
            losses[ours] = trainer.state.log_history[-1]["train_loss"]
            return 1000 * taken / trainer.state.global_step

    theirs, ours = alternate(run, options.rounds)
    settings = {"steps": 100, "batch": 8, "tokens_a_row": 32, "hidden": 32, "layers": 1}
    return Comparison("Overhead", "ms/step", theirs, ours, "less", abs(losses[True] - losses[False]), settings)


PARTS = {"sft": sft, "dpo": dpo, "sampling": sampling, "overhead": overhead}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)}; all if none is named")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--traces", type=Path, default=SHIPPED)
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--pairs", type=int, default=16)
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1, help="more than one wait for each other on a busy machine")
    options = parser.parse_args(argv)
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    torch.set_num_threads(options.threads)
    print(f"{torch.get_num_threads()} threads, hidden {options.hidden}, {options.layers} layers\n{HEAD}")
    for part in options.parts or PARTS:
        comparison = PARTS[part](options)
        print(comparison.line(), flush=True)
        write("trainers", [comparison])


if __name__ == "__main__":
    main()
