"""GRPO to a fixed score: ours with window, dynamic sampling and shared prefixes against plain TRL, on the tiny task.

    OMP_NUM_THREADS=1 python -m benchmarks.grpo --seeds 3

Both sides start from the same checkpoint, made here: a short SFT on worked problems, then on ones whose products are
often wrong, so that the policy errs at random, more on some problems than on others. They have the same training
problems, completions a step, loss, learning rate, longest completion and in-process verifier; the text that is judged
is the same. Every few steps the policy answers held-out problems, by the same sampler on both sides and with the clock
stopped; the run ends when the score has reached the target twice in a row. What counts is the training time until the
first of the two: the seconds of the clock, and the CPU seconds of this process, which other work on the machine hardly
changes. Sides take turns within each seed, and their order within the seeds. `ours-plain` is our trainer with neither
window nor dynamic sampling, to tell what its sampler and scoring gain from what choosing groups gains.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PrinterCallback, Qwen2Config, Qwen2ForCausalLM, Trainer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from benchmarks.sections import write_section
from light_r1 import ChatFormat, CurriculumSFTConfig, CurriculumSFTTrainer, StagedGRPOConfig, StagedGRPOTrainer
from light_r1.models.load import load_model, load_tokenizer, save_model
from light_r1.rollouts.hf import HFSampler
from light_r1.rollouts.judge import judge
from light_r1.rollouts.sampler import Request, SamplingParams
from light_r1.tiny import build_tokenizer, drills, problems

SIDES = ("trl", "ours-plain", "ours")


@dataclass(slots=True)
class Clock:
    """Seconds that run only while the policy is trained."""

    wall: float = 0.0
    cpu: float = 0.0
    _since: tuple[float, float] = (0.0, 0.0)

    def start(self) -> None:
        """Go on."""
        self._since = time.perf_counter(), time.process_time()

    def stop(self) -> None:
        """Stand still."""
        self.wall += time.perf_counter() - self._since[0]
        self.cpu += time.process_time() - self._since[1]


@dataclass(slots=True)
class Run:
    """One run: the scores with the time at which each was reached."""

    side: str
    seed: int
    evaluations: list[dict[str, float]] = field(default_factory=list)
    gradient_share: float | None = None

    def reached(self, target: float) -> dict[str, float] | None:
        """Return the first of two evaluations in a row that reach the target."""
        for one, next_ in zip(self.evaluations, self.evaluations[1:], strict=False):
            if min(one["score"], next_["score"]) >= target:
                return one
        return None


class Examiner(TrainerCallback):
    """Scores the policy every few steps with the clock stopped, and ends the run at the target."""

    def __init__(self, run: Run, score: Callable[[torch.nn.Module], float], every: int, target: float) -> None:
        self.run, self.score, self.every, self.target = run, score, every, target
        self.clock = Clock()

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Score the start."""
        self._note(0, model)
        self.clock.start()

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Score, and stop at the target."""
        if state.global_step % self.every:
            return
        self.clock.stop()
        self._note(state.global_step, model)
        control.should_training_stop = self.run.reached(self.target) is not None
        self.clock.start()

    def _note(self, step: int, model: torch.nn.Module) -> None:
        training, random_state = model.training, torch.get_rng_state()
        model.eval()
        found = {"step": float(step), "wall": self.clock.wall, "cpu": self.clock.cpu, "score": self.score(model)}
        model.train(training)
        torch.set_rng_state(random_state)
        self.run.evaluations.append(found)
        print(json.dumps({"side": self.run.side, "seed": self.run.seed, **found}), flush=True)


def start_checkpoint(folder: Path, options: argparse.Namespace) -> None:
    """Train a model from nothing on plain sums and worked problems of few steps."""
    tokenizer = build_tokenizer()
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=96,
            intermediate_size=384,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=512,
            initializer_range=0.12,
            tie_word_embeddings=True,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
        )
    )
    rng = random.Random(104)
    worked = problems(n=options.sft_rows, seed=103, max_steps=options.max_steps)
    last = problems(n=3200, seed=104, max_steps=options.max_steps)
    phases: dict[str, list[dict[str, Any]]] = {
        "drills": [{"text": row["text"]} for row in drills(n=4000, seed=101)],
        "short": list(problems(n=4000, seed=102, max_steps=3, style="short")),
        "worked": list(worked),
        "erring": [erring(row, rng, options.errors) for row in last],
    }
    for name, rows in phases.items():
        args = CurriculumSFTConfig(
            str(folder / "work"), max_length=256, learning_rate=1e-3 if name == "erring" else 3e-3,
            per_device_train_batch_size=32, num_train_epochs=1, warmup_steps=20, adam_beta2=0.98, weight_decay=0.01,
            batch_by_length=False, missing_think="keep", lr_scheduler_type="cosine_with_min_lr",
            lr_scheduler_kwargs={"min_lr_rate": 0.1}, **quiet(),
        )  # fmt: skip
        trainer = CurriculumSFTTrainer(model, args, train_dataset=rows, processing_class=tokenizer)
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        losses = [event["loss"] for event in trainer.state.log_history if "loss" in event]
        print(f"start: {name}, {len(rows)} rows, loss {losses[0]:.3f} -> {losses[-1]:.3f}", flush=True)
    save_model(model, tokenizer, folder)


def erring(row: dict[str, Any], rng: random.Random, share: float) -> dict[str, Any]:
    """Return a solved problem in which a share of the products is wrong, with what follows from them."""
    lines, value = [], None
    for letter, before, operation, operand in re.findall(r"(\w):(\d)([+*])(\d)=_\d", row["solution"]):
        value = int(before) if value is None else value
        after = value + int(operand) if operation == "+" else value * int(operand)
        if operation == "*" and rng.random() < share:
            after = rng.randrange(10)
        lines.append(f"{letter}:{value}{operation}{operand}=_{after % 10}")
        value = after % 10
    thought = "\n".join(lines)
    return {
        "problem": row["problem"],
        "solution": f"<think>\n{thought}\n</think>\n\nThe last digit is \\boxed{{{value}}}.",
    }


def quiet() -> dict[str, Any]:
    return {
        "bf16": False,
        "activation_checkpointing": False,
        "report_to": "none",
        "save_strategy": "no",
        "logging_steps": 10,
        "use_cpu": not torch.cuda.is_available(),
        "disable_tqdm": True,
    }


def scorer(chat: ChatFormat, rows: Sequence[dict[str, Any]], samples: int, longest: int) -> Callable[..., float]:
    """Return what scores a model: the share of right samples on held-out problems."""
    prompts = [chat.prompt_text(row["problem"]) for row in rows]
    encoded = [tuple(chat.encode(prompt)) for prompt in prompts]
    requests = [
        Request(prompt, index, ids) for prompt, ids in zip(prompts, encoded, strict=True) for index in range(samples)
    ]
    golds = [row["answer"] for row in rows for _ in range(samples)]

    def score(model: torch.nn.Module) -> float:
        sampler = HFSampler(
            model,
            eos_token_ids=[chat.end_token_id],
            pad_token_id=chat.tokenizer.pad_token_id,
            batch_size=512,
        )
        found = sampler.sample(requests, SamplingParams(longest, seed=1))
        right = [
            judge(chat.response_text(one.completion_ids), gold, chat.think_tokens).correct
            for one, gold in zip(found, golds, strict=True)
        ]
        return sum(right) / len(right)

    return score


def trainer_of(side: str, folder: str, start: Path, seed: int, options: argparse.Namespace) -> Trainer:
    """Return the trainer of a side; both get the same rows and settings."""
    tokenizer = load_tokenizer(start)
    chat = ChatFormat(tokenizer)
    rows = list(problems(n=options.prompts, seed=200 + seed, max_steps=options.max_steps))
    for row in rows:
        row["prompt"] = chat.prompt_text(row["problem"])
    dataset = Dataset.from_list(rows).select_columns(["prompt", "answer"])

    def accuracy(completion_ids: list[list[int]], answer: list[str], **_: Any) -> list[float | None]:
        return [
            float(judge(chat.response_text(ids), gold).correct)
            for ids, gold in zip(completion_ids, answer, strict=True)
        ]

    common: dict[str, Any] = {
        **quiet(),
        "seed": seed,
        "max_steps": options.steps,
        "max_completion_length": options.longest,
        "per_device_train_batch_size": options.batch,
        "num_generations": 8,
        "learning_rate": options.learning_rate,
        "lr_scheduler_type": "constant",
        "loss_type": "dapo",
        "beta": 0.0,
        "adam_beta2": 0.98,
    }
    model = load_model(str(start), dtype="float32")
    if side == "trl":
        return GRPOTrainer(model, [accuracy], GRPOConfig(folder, **common), dataset, processing_class=tokenizer)
    chosen = {"pass_rate_window": options.window, "dynamic_sampling": options.rounds} if side == "ours" else {}
    args = StagedGRPOConfig(folder, **common, **chosen)
    return StagedGRPOTrainer(model, [accuracy], args, dataset, processing_class=tokenizer, chat=chat)


def train(side: str, start: Path, seed: int, options: argparse.Namespace) -> Run:
    """Train one side until it reaches the target or runs out of steps."""
    run = Run(side, seed)
    chat = ChatFormat(load_tokenizer(start))
    heldout = list(problems(n=options.heldout, seed=7, min_steps=2, max_steps=options.max_steps, split="heldout"))
    with tempfile.TemporaryDirectory() as folder:
        trainer = trainer_of(side, folder, start, seed, options)
        trainer.remove_callback(PrinterCallback)
        examiner = Examiner(
            run, scorer(chat, heldout, options.samples, options.longest), options.every, options.target
        )
        trainer.add_callback(examiner)
        trainer.train()
        history = trainer.state.log_history
    name = "frac_reward_zero_std" if side == "trl" else "gradient_share"
    shares = [event[name] for event in history if name in event]
    run.gradient_share = statistics.mean(1 - share if side == "trl" else share for share in shares)
    return run


def table(runs: Sequence[Run], target: float) -> str:
    """Return the result of each side, and what each seed gained over TRL."""
    lines = [
        f"Target: score {target:g} on held-out problems.",
        "| Side | seeds | seconds to the target, median (range) | CPU seconds | steps | completions with gradient |",
        "|---|---|---|---|---|---|",
    ]
    sides: dict[str, dict[int, dict[str, float]]] = {}
    for side in SIDES:
        mine = [run for run in runs if run.side == side]
        if not mine:
            continue
        found = {run.seed: hit for run in mine if (hit := run.reached(target)) is not None}
        sides[side] = found
        cells = [spread([hit[key] for hit in found.values()]) for key in ("wall", "cpu", "step")]
        share = statistics.mean(run.gradient_share for run in mine if run.gradient_share is not None)
        lines.append(f"| {side} | {len(found)} of {len(mine)} | {' | '.join(cells)} | {share:.0%} |")
    for side in SIDES[1:]:
        pairs = [seed for seed in sides.get(side, {}) if seed in sides.get("trl", {})]
        for key, name in (("wall", "seconds"), ("cpu", "CPU seconds")):
            if pairs:
                ratios = [sides["trl"][seed][key] / sides[side][seed][key] for seed in pairs]
                lines.append(f"{side}, {name}: {spread(ratios, 2)} times fewer than TRL, n={len(pairs)}")
    return "\n".join(lines)


def spread(values: Sequence[float], digits: int = 0) -> str:
    if not values:
        return "not reached"
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--start", type=Path, help="Folder of the start checkpoint; made where there is none.")
    parser.add_argument("--out", type=Path, help="JSONL of all evaluations.")
    parser.add_argument("--target", type=float, default=0.75)
    parser.add_argument("--sft-rows", type=int, default=24_000)
    parser.add_argument("--errors", type=float, default=0.6, help="Share of the products that the start gets wrong.")
    parser.add_argument("--max-steps", type=int, default=4, help="Most steps of a problem.")
    parser.add_argument("--prompts", type=int, default=256)
    parser.add_argument("--heldout", type=int, default=100)
    parser.add_argument("--samples", type=int, default=4, help="Of each held-out problem.")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--longest", type=int, default=64)
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--every", type=int, default=5)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--window", type=float, nargs=2, default=[0.1, 0.9])
    parser.add_argument("--rounds", type=int, default=2, help="Extra rounds of dynamic sampling.")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    start = options.start or Path(tempfile.mkdtemp())
    if not (start / "config.json").exists():
        start_checkpoint(start, options)
    runs = []
    for seed in range(options.seeds):
        for side in options.sides if seed % 2 == 0 else options.sides[::-1]:
            runs.append(train(side, start, seed, options))
            if options.out:
                with options.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(runs[-1])) + "\n")
    printed = table(runs, options.target)
    print(printed)
    write_section("grpo", printed)


if __name__ == "__main__":
    main()
