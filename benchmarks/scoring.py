"""Packed scoring with shared prompts against TRL's padded scoring: the same rows, the same model, one run.

Skewed GRPO batches: prompts of 256 tokens, 8 completions each of 40 to 768 tokens, most of them short. Both sides call
TRL's log-prob head on the same tensors that TRL's GRPO trainer makes; ours goes through `SharedPrefixModel`. Rounds
alternate between the two, each with other lengths; the largest difference is that of log-probs, or with backward of
the embedding's gradient. Times are CPU seconds of this process, which other work on the machine hardly changes.

The result goes to `benchmarks/results/scoring.json`.

    python -m benchmarks.scoring --rounds 7
    python -m benchmarks.scoring --group 2 --prompts 4     # pairs, as in DPO
"""

from __future__ import annotations

import argparse
import random
import time
from typing import Any

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM
from trl.trainer.utils import add_fused_lm_head

from benchmarks.measure import HEAD, Comparison, write
from light_r1.trainers.packing import pack_rows
from light_r1.trainers.scoring import SharedPrefixModel

PROMPT, SHORTEST, LONGEST = 256, 40, 768


def completion_lengths(rng: random.Random, group: int, skew: str) -> list[int]:
    """Lengths of one group: `long_tail` is log-uniform, as sampled reasoning is; `uniform` is what it says."""
    if skew == "uniform":
        return [rng.randint(SHORTEST, LONGEST) for _ in range(group)]
    return [round(SHORTEST * (LONGEST / SHORTEST) ** rng.random()) for _ in range(group)]


def padded_batch(rng: random.Random, prompts: int, group: int, vocab: int, skew: str) -> dict[str, torch.Tensor]:
    """Make a batch with every completion padded to the longest, as TRL pads it."""
    rows, mask = [], []
    lengths = [completion_lengths(rng, group, skew) for _ in range(prompts)]
    longest = max(max(each) for each in lengths)
    for each in lengths:
        prompt = [rng.randrange(3, vocab) for _ in range(PROMPT)]
        for length in each:
            completion = [rng.randrange(3, vocab) for _ in range(length)]
            rows.append(prompt + completion + [0] * (longest - length))
            mask.append([1] * (PROMPT + length) + [0] * (longest - length))
    input_ids, attention_mask = torch.tensor(rows), torch.tensor(mask)
    labels = input_ids.masked_fill(attention_mask == 0, -100)
    labels[:, :PROMPT] = -100
    return {"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels}


def forward(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.no_grad():
        return model(**inputs, fused_lm_head=True).log_probs


def forward_backward(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    log_probs = model(**inputs, fused_lm_head=True).log_probs
    (log_probs.sum() / 1000).backward()
    return log_probs.detach()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--prompts", type=int, default=1)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--skew", choices=["long_tail", "uniform"], default="long_tail")
    parser.add_argument("--hidden", type=int, default=192)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--vocab", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=1, help="more than one wait for each other on a busy machine")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=options.vocab,
        hidden_size=options.hidden,
        intermediate_size=4 * options.hidden,
        num_hidden_layers=options.layers,
        num_attention_heads=options.hidden // 64 * 2,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    theirs = Qwen2ForCausalLM(config)
    add_fused_lm_head(theirs, outputs=("log_probs", "entropy"))
    ours = SharedPrefixModel(theirs)
    rng = random.Random(0)
    times: dict[str, list[tuple[float, float]]] = {"forward": [], "forward+backward": []}
    differences, slots = {"forward": 0.0, "forward+backward": 0.0}, [0, 0]
    for round_ in range(options.rounds + 1):
        inputs = padded_batch(rng, options.prompts, options.group, options.vocab, options.skew)
        slots[0] += inputs["input_ids"].numel()
        slots[1] += pack_rows(**inputs).input_ids.numel()
        for name, work in (("forward", forward), ("forward+backward", forward_backward)):
            found, taken = [], []
            for model in (theirs, ours):
                theirs.zero_grad()
                start = time.process_time()
                scores = work(model, inputs)
                taken.append(time.process_time() - start)
                gradient = theirs.get_input_embeddings().weight.grad
                found.append(scores if gradient is None else gradient.clone())
            differences[name] = max(differences[name], float((found[0] - found[1]).abs().max()))
            if round_:  # the first round warms up
                times[name].append((taken[0], taken[1]))
        theirs.zero_grad()
    parameters = sum(p.numel() for p in theirs.parameters()) / 1e6
    print(f"{parameters:.2f}M parameters, {options.skew} lengths, {torch.get_num_threads()} threads")
    print(f"{options.prompts} x {options.group} rows, tokens encoded: TRL {slots[0]}, ours {slots[1]}\n{HEAD}")
    settings = {
        "prompts": options.prompts,
        "group": options.group,
        "skew": options.skew,
        "parameters_m": parameters,
        "tokens_encoded": {"theirs": slots[0], "ours": slots[1]},
    }
    for name, pairs in times.items():
        comparison = Comparison(
            f"Scoring {options.prompts} x {options.group}, {options.skew}, {name}",
            "batches/s",
            [1 / a for a, _ in pairs],
            [1 / b for _, b in pairs],
            "more",
            differences[name],
            settings,
        )
        print(comparison.line())
        write("scoring", [comparison])


if __name__ == "__main__":
    main()
