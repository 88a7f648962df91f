"""Long contexts on one CUDA GPU: a random bf16 model of the shape of Qwen2.5-0.5B, ours beside plain TRL.

    python -m benchmarks.gpu                      # SFT and DPO at 8k, 16k, 32k; the longest DPO context
    python -m benchmarks.gpu sft --tokens 8192
    python -m benchmarks.gpu --tiny               # rehearses everything on a CPU; its numbers say nothing

Rows have log-uniform lengths from a sixteenth of the context to all of it. SFT: TRL's padded batches, TRL's packing
where FlashAttention is in use, and ours. DPO: TRL with its reference model, and ours with all that it scores before
it trains. Reported are real tokens a second, the share of the GPU's peak (`mfu`; none for a GPU that is not in the
table and without `--peak-tflops`) and the peak of allocated memory. Each side has a warm-up of its own. The longest
DPO context is that of the longest pair, both sides as long as can be, of which a step fits. Results go to
`benchmarks/results/gpu.json`; this script has been run on a CPU with `--tiny` only.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PrinterCallback, Qwen2Config, Qwen2ForCausalLM
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from benchmarks.measure import RESULTS, machine
from light_r1 import CurriculumSFTConfig, CurriculumSFTTrainer, SemiOnPolicyDPOConfig, SemiOnPolicyDPOTrainer
from light_r1.models.load import load_tokenizer, resolve_attention

TOKENIZER = Path(__file__).parent.parent / "recipes" / "data" / "gsm8k_tokenizer"
# Dense bf16 TFLOP/s without sparsity, from NVIDIA's data sheets.
PEAK_TFLOPS = {"H200": 989.0, "H100": 989.0, "A100": 312.0, "L40S": 362.0, "B200": 2250.0, "RTX 4090": 165.2}
QWEN_05B = {
    "vocab_size": 151_936,
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
}
TINY = {
    "vocab_size": 4096,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
PROMPT = 512
Row = dict[str, list[int]]


class Bench:
    """The model's shape, where it runs, and how its numbers are taken.

    Args:
        options: The command line.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.tiny: bool = options.tiny
        self.shape = TINY if options.tiny else QWEN_05B
        self.device = "cpu" if options.tiny else "cuda"
        self.prompt = 8 if options.tiny else PROMPT
        self.rows: int = options.rows
        self.attention = resolve_attention("auto") if self.device == "cuda" else "sdpa"
        self.tokenizer = load_tokenizer(TOKENIZER)
        name = "" if options.tiny else torch.cuda.get_device_name()
        known = next((peak for part, peak in PEAK_TFLOPS.items() if part in name), None)
        self.peak_tflops: float | None = options.peak_tflops or known

    def model(self) -> Qwen2ForCausalLM:
        """Return the same random model each time."""
        torch.manual_seed(0)
        config = Qwen2Config(
            **self.shape,
            max_position_embeddings=1 << 20,
            tie_word_embeddings=True,
            attn_implementation=self.attention,
            bos_token_id=None,
            eos_token_id=self.tokenizer.eos_token_id,
            pad_token_id=self.tokenizer.pad_token_id,
        )
        with torch.device(self.device):
            return Qwen2ForCausalLM(config).to(torch.float32 if self.tiny else torch.bfloat16)

    def args(self, folder: str, batch: int, **fields: Any) -> dict[str, Any]:
        """Return what all configs have in common."""
        common = {
            "output_dir": folder,
            "per_device_train_batch_size": batch,
            "num_train_epochs": 1,
            "bf16": not self.tiny,
            "report_to": "none",
            "save_strategy": "no",
            "logging_steps": 1000,
            "use_cpu": self.tiny,
            "disable_tqdm": True,
        }
        return common | fields

    def measured(self, train: Callable[[list[Row]], None], rows: list[Row]) -> dict[str, Any]:
        """Train on two rows to warm up, then on all of them with the clock running."""
        train(rows[:2])
        free()
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
            torch.cuda.synchronize()
        start = time.perf_counter()
        train(rows)
        if self.device == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
        lengths = sequence_lengths(rows)
        flops = sum(self.flops(length) for length in lengths)
        return {
            "seconds": seconds,
            "tokens": sum(lengths),
            "tokens_per_s": sum(lengths) / seconds,
            "mfu": flops / seconds / (1e12 * self.peak_tflops) if self.peak_tflops else None,
            "peak_gib": torch.cuda.max_memory_allocated() / 2**30 if self.device == "cuda" else None,
        }

    def flops(self, length: int) -> float:
        """FLOPs of forward and backward of one sequence: 6 per weight and token, and causal attention.

        Recomputation, the reference's forward and padding are not useful work and do not count.
        """
        hidden, layers = self.shape["hidden_size"], self.shape["num_hidden_layers"]
        heads = 2 + 2 * self.shape["num_key_value_heads"] / self.shape["num_attention_heads"]
        weights = layers * (heads * hidden**2 + 3 * hidden * self.shape["intermediate_size"])
        weights += hidden * self.shape["vocab_size"]
        return 6.0 * weights * length + 6.0 * layers * hidden * length**2


def sequence_lengths(rows: Sequence[Row]) -> list[int]:
    """Lengths of what is learnt from: rows, or both sides of pairs."""
    return [
        len(row["input_ids"]) if "input_ids" in row else len(row["prompt_ids"]) + len(row[side])
        for row in rows
        for side in (("input_ids",) if "input_ids" in row else ("chosen_ids", "rejected_ids"))
    ]


def free() -> None:
    """Give memory back between sides."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def ids(rng: random.Random, length: int) -> list[int]:
    """Return random tokens that no template uses."""
    return [rng.randrange(100, 4000) for _ in range(length)]


def skewed(rng: random.Random, longest: int) -> int:
    """Return a log-uniform length from a sixteenth of the longest on."""
    return round(longest / 16 * 16 ** rng.random())


def sft(bench: Bench, tokens: int) -> Iterator[dict[str, Any]]:
    """Yield one record for each side."""
    rng = random.Random(0)
    rows = [{"input_ids": ids(rng, skewed(rng, tokens))} for _ in range(bench.rows)]
    rows = [{**row, "labels": row["input_ids"]} for row in rows]
    flash = "flash" in bench.attention
    # A packed row is as long as the context; four padded rows of these lengths hold 1.4 contexts.
    sides: dict[str, tuple[Any, Any, dict[str, Any]]] = {"TRL, padded": (SFTTrainer, SFTConfig, {"batch": 4})}
    if flash:
        sides["TRL, packed"] = (SFTTrainer, SFTConfig, {"batch": 1, "packing": True})
    sides["light_r1"] = (CurriculumSFTTrainer, CurriculumSFTConfig, {"batch": 1 if flash else 4})
    for side, (trainer, config, fields) in sides.items():

        def train(part: list[Row], trainer: Any = trainer, config: Any = config, fields: Any = fields) -> None:
            with tempfile.TemporaryDirectory() as folder:
                args = config(**bench.args(folder, **fields), max_length=tokens)
                made = trainer(
                    bench.model(),
                    args=args,
                    train_dataset=Dataset.from_list(part),
                    processing_class=bench.tokenizer,
                )
                made.remove_callback(PrinterCallback)
                made.train()

        yield {"what": "sft", "context": tokens, "side": side, **bench.measured(train, rows)}
        free()


class IdsDPOTrainer(DPOTrainer):
    """Plain TRL on pairs of token ids: what it computes from them is unchanged."""

    def _prepare_dataset(self, dataset: Dataset, *args: Any, **kwargs: Any) -> Dataset:
        return dataset


def train_pairs(bench: Bench, ours: bool, part: list[Row], tokens: int) -> None:
    """Train on pairs, from making the trainer to its last step."""
    with tempfile.TemporaryDirectory() as folder:
        fields = bench.args(folder, 1, loss_type="nca_pair", beta=0.3, max_length=tokens)
        rows = Dataset.from_list(part)
        made: Any
        if ours:
            args = SemiOnPolicyDPOConfig(**fields, precompute_ref_batch_size=1)
            made = SemiOnPolicyDPOTrainer(bench.model(), args, rows, processing_class=bench.tokenizer)
        else:
            made = IdsDPOTrainer(
                bench.model(),
                bench.model(),
                DPOConfig(**fields),
                train_dataset=rows,
                processing_class=bench.tokenizer,
            )
        made.remove_callback(PrinterCallback)
        made.train()


def dpo(bench: Bench, tokens: int) -> Iterator[dict[str, Any]]:
    """Yield one record for each side."""
    rng = random.Random(0)
    longest = tokens - bench.prompt
    rows = [
        {
            "prompt_ids": ids(rng, bench.prompt),
            "chosen_ids": ids(rng, skewed(rng, longest)),
            "rejected_ids": ids(rng, skewed(rng, longest)),
        }
        for _ in range(bench.rows // 2)
    ]
    for side, ours in (("TRL", False), ("light_r1", True)):
        found = bench.measured(lambda part, ours=ours: train_pairs(bench, ours, part, tokens), rows)  # type: ignore[misc]
        yield {"what": "dpo", "context": tokens, "side": side, **found}
        free()


def longest_dpo(bench: Bench, first: int, last: int) -> Iterator[dict[str, Any]]:
    """Yield for each side the longest context of which a step fits, to an eighth of it."""
    rng = random.Random(0)
    for side, ours in (("TRL", False), ("light_r1", True)):
        fits, tokens, step = 0, first, first
        while tokens <= last:
            length = tokens - bench.prompt
            row = {
                "prompt_ids": ids(rng, bench.prompt),
                "chosen_ids": ids(rng, length),
                "rejected_ids": ids(rng, length),
            }
            try:
                train_pairs(bench, ours, [row], tokens)
                fits = tokens
                step = max(step, tokens // 4)
            except torch.OutOfMemoryError:
                if step <= max(1, tokens // 8):
                    break
                step //= 2
                tokens = fits
            free()
            tokens += step
        yield {"what": "longest dpo", "context": fits, "side": side, "at_most": last}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help="sft, dpo, longest; all of them by default")
    parser.add_argument("--tokens", type=int, nargs="+")
    parser.add_argument("--rows", type=int, help="rows of SFT; half as many pairs")
    parser.add_argument("--longest", type=int, help="where the search for the longest context ends")
    parser.add_argument("--peak-tflops", type=float, help="dense bf16 peak of a GPU that is not in the table")
    parser.add_argument("--tiny", action="store_true", help="rehearse on a CPU with a tiny model")
    parser.add_argument("--out", type=Path, default=RESULTS / "gpu.json")
    options = parser.parse_args(argv)
    unknown = set(options.parts) - {"sft", "dpo", "longest"}
    if unknown:
        parser.error(f"no part {', '.join(sorted(unknown))}; expected sft, dpo or longest")
    if not options.tiny and not torch.cuda.is_available():
        parser.error("this needs a CUDA GPU and there is none here; --tiny rehearses it on a CPU")
    options.rows = options.rows or (8 if options.tiny else 48)
    contexts = options.tokens or ([64, 128] if options.tiny else [8192, 16_384, 32_768])
    last = options.longest or (256 if options.tiny else 1 << 19)
    bench = Bench(options)
    parts = options.parts or ["sft", "dpo", "longest"]
    records: list[dict[str, Any]] = []
    for kind in (sft, dpo):
        if kind.__name__ in parts:
            for tokens in contexts:
                records += report(kind(bench, tokens))
    if "longest" in parts:
        records += report(longest_dpo(bench, contexts[0], last))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    found = {
        "tiny": options.tiny,
        "attention": bench.attention,
        "machine": machine(),
        "flash_attn": bool(find_spec("flash_attn")),
    }
    options.out.write_text(json.dumps({**found, "records": records}, indent=1) + "\n", encoding="utf-8")


def report(records: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    """Print records as they come and return them."""
    kept = []
    for record in records:
        kept.append(record)
        print(json.dumps(record), flush=True)
    return kept


if __name__ == "__main__":
    main()
