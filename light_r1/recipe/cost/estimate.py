"""Estimates of one stage: steps, tokens, device time, memory and disk, by the formulas of `formulas.py`.

Lengths of sampled completions are not known before they are sampled, so these count as their limits: such numbers are
upper bounds and marked so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from light_r1.recipe.check.args import Args
from light_r1.recipe.cost.formulas import (
    Device,
    TrainingMemory,
    checkpoint_bytes,
    device_for,
    forward_flops,
    model_bytes,
    sampling_seconds,
    training_flops,
    training_memory,
)
from light_r1.recipe.cost.rows import Amount, RowsOf
from light_r1.recipe.cost.shapes import ModelShape, model_shape
from light_r1.recipe.spec import Recipe, StageSpec


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a stage takes; None is not known or does not apply.

    Args:
        rows: Rows it reads, or questions.
        steps: Optimizer steps.
        batch: Sequences (or pairs) per optimizer step.
        trained: Tokens trained on.
        sampled: Tokens sampled.
        seconds: Time on one device; divide by their number.
        memory: Memory of training.
        disk_peak: Bytes on disk while it runs.
        disk_kept: Bytes on disk afterwards.
    """

    rows: Amount | None = None
    steps: Amount | None = None
    batch: int | None = None
    trained: Amount | None = None
    sampled: Amount | None = None
    seconds: Amount | None = None
    memory: TrainingMemory | None = None
    disk_peak: float = 0.0
    disk_kept: float = 0.0


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be estimated.

    Args:
        stage: The stage.
        recipe: Its recipe.
        rows: The rows it reads; for an evaluation, the questions.
        processes: Number of processes.
    """

    stage: StageSpec
    recipe: Recipe
    rows: RowsOf
    processes: int

    @property
    def args(self) -> Args:
        """The stage's args with the defaults of their class."""
        return Args(self.stage)

    @property
    def shape(self) -> ModelShape | None:
        """The shape of the model."""
        return model_shape(self.stage.model)

    @property
    def batch(self) -> int:
        """Sequences per optimizer step."""
        return self.args.global_batch_size or self.args.batch(self.processes).size

    @property
    def lora_rank(self) -> int | None:
        """Rank of the adapters; None without LoRA (8 is peft's own default)."""
        return None if self.stage.model.lora is None else int(self.stage.model.lora.get("r", 8))


def epochs_steps(work: Work, rows: Amount, epochs: float) -> Amount:
    """Count steps as transformers does: an epoch's last step takes what is left."""
    if work.args["max_steps"] > 0:
        return Amount(work.args["max_steps"])
    per_epoch = max(1, math.ceil(rows.value / work.batch))
    return Amount(math.ceil(epochs * per_epoch), rows.sign)


def mean_length(work: Work) -> Amount | None:
    """Mean tokens of a row: as measured, at most `max_length`; that bound if nothing is measured."""
    longest, measured = work.args["max_length"], work.rows.tokens
    if measured is None:
        return None if longest is None else Amount(longest, "≤")
    return measured if longest is None or measured.value <= longest else Amount(longest, "≤")


def add_sampling(work: Work, estimate: Estimate, length: float) -> Estimate:
    """Add the time of sampling to what is known about tokens, for completions of this length."""
    shape = work.shape
    if shape is None or estimate.sampled is None:
        return estimate
    device = device_for(shape)
    seconds = sampling_seconds(shape, estimate.sampled.value, length, dtype=work.stage.model.dtype, device=device)
    return replace(estimate, seconds=_plus(estimate.seconds, Amount(seconds, estimate.sampled.sign)))


def add_training(work: Work, estimate: Estimate, length: Amount | None, *, sequences: int = 1) -> Estimate:
    """Add time, memory and disk of training to what is known about steps and tokens."""
    shape, args = work.shape, work.args
    if shape is None:
        return estimate
    device, dtype = device_for(shape), work.stage.model.dtype
    if estimate.trained is not None and length is not None:
        recompute, lora = args.recomputes, work.lora_rank is not None
        flops = training_flops(shape, estimate.trained.value, length.value, recompute=recompute, lora=lora)
        estimate = replace(
            estimate, seconds=_plus(estimate.seconds, Amount(flops / device.flops, _about(estimate.trained)))
        )
        estimate = add_sampling(work, estimate, length.value)
    longest = args["max_length"] if args.has("max_length") else (length.value if length else None)
    sharded = is_sharded(device, work.processes)
    masters = work.stage.model.keeps_masters(sharded=sharded)
    if longest:
        memory = training_memory(
            shape,
            dtype=dtype,
            masters=masters,
            sharded=sharded,
            tokens=args["per_device_train_batch_size"] * sequences * longest,
            recompute=args.recomputes,
            lora_rank=work.lora_rank,
            four_bit=bool((work.stage.model.quantization or {}).get("load_in_4bit")),
        )
        estimate = replace(estimate, memory=memory)
    return _disk(work, estimate, shape, sharded=sharded, masters=masters)


def is_sharded(device: Device, processes: int) -> bool:
    """Whether states are taken to be split over the processes: on GPUs, with more than one."""
    return processes > 1 and device.name.startswith("H100")


def _disk(work: Work, estimate: Estimate, shape: ModelShape, *, sharded: bool, masters: bool) -> Estimate:
    """Add the budget of checkpoints: all that are kept at once while training, then output, last and best."""
    model = work.stage.model
    weights, optimizer = checkpoint_bytes(
        shape, dtype=model.dtype, masters=masters, lora_rank=work.lora_rank, sharded=sharded
    )
    output = weights if model.lora is not None else model_bytes(shape, model.save_dtype or model.dtype)
    written = _checkpoints_written(work, estimate)
    limit = work.args["save_total_limit"]
    at_once = written if limit is None else min(written, limit)
    best = 1 if work.args["load_best_model_at_end"] else 0
    kept = output + weights * min(written, 1 + best)
    return replace(estimate, disk_peak=at_once * (weights + optimizer) + output, disk_kept=kept)


def _checkpoints_written(work: Work, estimate: Estimate) -> int:
    args = work.args
    strategy, steps = args["save_strategy"], estimate.steps
    if strategy == "no":
        return 0
    if strategy == "epoch":
        epochs = (args["stop_after_epochs"] if args.has("stop_after_epochs") else None) or args["num_train_epochs"]
        return math.ceil(epochs)
    if strategy == "best" or steps is None:
        return 1
    every = args["save_steps"] if args["save_steps"] >= 1 else args["save_steps"] * steps.value
    return math.ceil(steps.value / max(1, every))


def add_forward(work: Work, estimate: Estimate, tokens: float, length: float) -> Estimate:
    """Add the time of scoring tokens in rows of this length, without gradients."""
    shape = work.shape
    if shape is None:
        return estimate
    seconds = forward_flops(shape, length) * tokens / device_for(shape).flops
    return replace(estimate, seconds=_plus(estimate.seconds, Amount(seconds, "~")))


def _about(amount: Amount) -> str:
    return amount.sign or "~"


def _plus(one: Amount | None, other: Amount) -> Amount:
    return other if one is None else one.plus(other)
