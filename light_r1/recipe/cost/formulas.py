"""FLOPs, memory and seconds of training and sampling: formulas, each with its source.

Estimates for planning, not promises: good to a factor of about two. N is the number of weights, L the layers, h the
width, s the sequence length. Left out: communication, pipeline bubbles, offloading to the CPU (slower, less memory)
and the time of rewards.
"""

from __future__ import annotations

from dataclasses import dataclass

from light_r1.recipe.cost.shapes import ModelShape

_BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}


@dataclass(frozen=True, slots=True)
class Device:
    """What a process computes on.

    Args:
        name: What it is called in the plan.
        flops: Operations per second reached in training: the peak times the share that is reached.
        sampling_flops: Operations per second that sampling can use at most.
        bandwidth: Bytes per second read from memory.
        memory: Bytes.
    """

    name: str
    flops: float
    sampling_flops: float
    bandwidth: float
    memory: float


H100 = Device("H100 80GB", 0.4 * 989e12, 0.4 * 989e12, 0.6 * 3.35e12, 80e9)
"""NVIDIA's data sheet (989 TFLOP/s dense bf16, 3.35 TB/s); 40% of the peak is what Megatron-LM reports for models of
this size (arXiv 2104.04473 table 1: 44-52% on A100)."""

CPU_CORE = Device("one CPU core", 28e9, 9e9, 10e9, 8e9)
"""Measured with a Qwen2 of 2.8M weights in fp32 on one thread: 1,684 tokens/s trained, 1,500 tokens/s sampled in a
batch of 16."""

SMALL = 50_000_000
"""Models with fewer weights are taken to run on a CPU."""


def device_for(shape: ModelShape) -> Device:
    """Return what a model of this size is taken to run on."""
    return CPU_CORE if shape.parameters < SMALL else H100


def attention_flops(shape: ModelShape, length: float) -> float:
    """Operations of causal attention scores and values, forward, per token of a sequence of `length` tokens.

    Two products of width `heads * head_dim`, over half of the positions on average (arXiv 2001.08361 §2.1 counts all).
    """
    return 2 * shape.num_hidden_layers * length * shape.num_attention_heads * shape.head_dim


def forward_flops(shape: ModelShape, length: float) -> float:
    """Operations of one forward pass per token: 2 N (arXiv 2001.08361 §2.1), and attention."""
    return 2 * shape.matrix_parameters + attention_flops(shape, length)


def training_flops(shape: ModelShape, tokens: float, length: float, *, recompute: bool, lora: bool) -> float:
    """Operations of forward and backward over `tokens` tokens in sequences of `length`.

    The backward pass costs two forwards (arXiv 2001.08361 §2.1), one with LoRA, which needs no gradients of the frozen
    weights; recomputing activations costs one forward more (arXiv 2104.04473 §3.5).
    """
    passes = (2 if lora else 3) + (1 if recompute else 0)
    return passes * forward_flops(shape, length) * tokens


@dataclass(frozen=True, slots=True)
class TrainingMemory:
    """Bytes that training needs.

    Args:
        states: Weights, gradients and optimizer states, over all processes (once per process without sharding).
        activations: Per process, for the sequences of one forward pass.
    """

    states: float
    activations: float

    def per_process(self, processes: int, *, sharded: bool) -> float:
        """Return the bytes of one process, with the states split over all of them (ZeRO-3, FSDP) or not."""
        return self.states / (processes if sharded else 1) + self.activations


def training_memory(
    shape: ModelShape,
    *,
    dtype: str,
    masters: bool,
    sharded: bool,
    tokens: float,
    recompute: bool,
    lora_rank: int | None,
    four_bit: bool,
) -> TrainingMemory:
    """Estimate the memory of training with AdamW.

    States of a trained weight: 16 bytes where an engine keeps fp32 beside `dtype` (arXiv 1910.02054 §3.1: two bf16
    copies, and weight, momentum and variance in fp32) and for fp32 training; 18 for fp32 weights under autocast, whose
    cast copies live from forward to backward; four times its own size without fp32 anywhere. Frozen weights beside
    adapters in `dtype`, or half a byte in 4 bits; adapters and their states in fp32.
    Activations with recomputation: one h-wide vector per layer and token, and the largest layer's own: 34 h bytes per
    token without the attention matrix (arXiv 2205.05198 §4.1 and table 2); without recomputation 34 h for every layer.
    Logits are not held: TRL's fused head computes the loss in chunks.

    Args:
        shape: The model.
        dtype: Type that is computed in.
        masters: Whether weights are held in fp32 under autocast.
        sharded: Whether an engine trains that keeps fp32 weights of its own.
        tokens: Tokens of one forward pass of one process.
        recompute: Gradient checkpointing.
        lora_rank: Rank of the adapters; None trains all weights.
        four_bit: Whether frozen weights are held in 4 bits.
    """
    size = _BYTES[dtype]
    if lora_rank is not None:
        states = (0.5 if four_bit else size) * shape.parameters + 16.0 * shape.lora_parameters(lora_rank)
    else:
        states = shape.parameters * (18.0 if masters else 16.0 if sharded else 4.0 * size)
    h = shape.hidden_size * size / 2
    layers = shape.num_hidden_layers
    per_token = 2 * h * layers + 34 * h if recompute else 34 * h * layers
    return TrainingMemory(states, per_token * tokens)


def kv_bytes(shape: ModelShape, dtype: str) -> int:
    """Bytes of the key-value cache per token: a key and a value per layer."""
    return 2 * shape.num_hidden_layers * shape.num_key_value_heads * shape.head_dim * _BYTES[dtype]


def sampling_seconds(shape: ModelShape, tokens: float, length: float, *, dtype: str, device: Device) -> float:
    """Estimate the seconds that one device takes to sample `tokens` tokens in completions of `length`.

    Roofline: each step reads all weights, and the cache of every sequence, half full on average; as many sequences
    run together as the memory beside the weights holds (256 at most, vLLM's own limit). A model larger than one
    device is spread over several, which share the tokens: seconds per device stay the same.
    """
    weights = shape.parameters * _BYTES[dtype]
    devices = max(1.0, weights / (0.6 * device.memory))
    cache = max(1.0, kv_bytes(shape, dtype) * length / 2)
    together = min(256.0, max(1.0, (0.9 * devices * device.memory - weights) / cache))
    reading = (weights + together * cache) / (devices * device.bandwidth)
    computing = together * forward_flops(shape, length / 2) / (devices * device.sampling_flops)
    return max(reading, computing) / together * tokens * devices


def model_bytes(shape: ModelShape, dtype: str) -> float:
    """Bytes of a whole model on disk."""
    return float(shape.parameters * _BYTES[dtype])


def checkpoint_bytes(
    shape: ModelShape, *, dtype: str, masters: bool, lora_rank: int | None, sharded: bool
) -> tuple[float, float]:
    """Return the bytes of a checkpoint's weights and of its optimizer states.

    AdamW keeps two numbers per trained weight in the weights' type, which is fp32 for adapters and `masters`; sharded
    training (DeepSpeed, FSDP with mixed precision) keeps them and the weights in fp32: 12 bytes.
    """
    trained = shape.parameters if lora_rank is None else shape.lora_parameters(lora_rank)
    size = 4 if masters or lora_rank is not None else _BYTES[dtype]
    return float(trained * size), float(trained * (12 if sharded else 2 * size))
