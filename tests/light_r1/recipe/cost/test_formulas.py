from __future__ import annotations

import pytest

from light_r1.recipe.cost.formulas import (
    CPU_CORE,
    H100,
    checkpoint_bytes,
    device_for,
    forward_flops,
    kv_bytes,
    sampling_seconds,
    training_flops,
    training_memory,
)
from light_r1.recipe.cost.shapes import SHAPES, shape_of

SMALL = shape_of(
    {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 100,
        "tie_word_embeddings": True,
    }
)


def test_forward_flops_count_each_matrix_product():
    h, i, q, kv, length = 32, 64, 32, 16, 10
    layer = 2 * (h * q + 2 * h * kv + q * h + 3 * h * i)
    # Of `length` positions a token sees half on average; scores and values are one product each.
    attention = 2 * 2 * q * length / 2
    by_hand = 2 * (layer + attention) + 2 * h * 100
    small_change = 2 * (2 * (q + 2 * kv + 2 * h) + h)  # biases and norms are counted as weights
    assert forward_flops(SMALL, length) == by_hand + small_change


def test_training_costs_three_forwards_one_more_with_recomputation_one_less_with_lora():
    forward = forward_flops(SMALL, 10)
    assert training_flops(SMALL, 7, 10, recompute=False, lora=False) == 3 * 7 * forward
    assert training_flops(SMALL, 7, 10, recompute=True, lora=False) == 4 * 7 * forward
    assert training_flops(SMALL, 7, 10, recompute=False, lora=True) == 2 * 7 * forward


def test_memory_of_training_is_counted_by_where_the_fp32_weights_are_and_lora_holds_frozen_ones_once():
    shape = SHAPES["Qwen/Qwen2.5-7B-Instruct"]
    common = {"dtype": "bfloat16", "tokens": 1000, "recompute": True, "sharded": True, "masters": False}
    full = training_memory(shape, **common, lora_rank=None, four_bit=False)
    assert full.states == 16 * shape.parameters
    for kept, each in (({"masters": True}, 18), ({"masters": False}, 8), ({"dtype": "float32", "masters": False}, 16)):
        alone = training_memory(shape, **{**common, "sharded": False, **kept}, lora_rank=None, four_bit=False)
        assert alone.states == each * shape.parameters
    assert full.per_process(8, sharded=True) == full.states / 8 + full.activations
    lora = training_memory(shape, **common, lora_rank=64, four_bit=False)
    assert lora.states == 2 * shape.parameters + 16 * shape.lora_parameters(64)
    assert lora.activations == full.activations == 1000 * 3584 * (2 * 28 + 34)
    q4 = training_memory(shape, **common, lora_rank=64, four_bit=True)
    assert q4.states == 0.5 * shape.parameters + 16 * shape.lora_parameters(64)


def test_sampling_is_bound_by_reading_weights_and_does_not_depend_on_how_they_are_spread():
    shape = SHAPES["Qwen/Qwen2.5-7B-Instruct"]
    short = sampling_seconds(shape, 1e6, 1000, dtype="bfloat16", device=H100)
    long = sampling_seconds(shape, 1e6, 30000, dtype="bfloat16", device=H100)
    assert 10 < short < long
    # 256 sequences share one reading of the weights and of their caches.
    weights, cache = 2 * shape.parameters, 256 * kv_bytes(shape, "bfloat16") * 500
    assert short == pytest.approx((weights + cache) / H100.bandwidth / 256 * 1e6)


def test_devices_and_checkpoints():
    assert device_for(SMALL) is CPU_CORE
    assert device_for(SHAPES["Qwen/Qwen2.5-7B-Instruct"]) is H100
    whole = {"dtype": "bfloat16", "lora_rank": None}
    for masters, sharded, weights, optimizer in ((False, False, 2, 4), (True, False, 4, 8), (False, True, 2, 12)):
        found = checkpoint_bytes(SMALL, **whole, masters=masters, sharded=sharded)
        assert found == (weights * SMALL.parameters, optimizer * SMALL.parameters)
    adapter = checkpoint_bytes(SMALL, dtype="bfloat16", masters=False, lora_rank=8, sharded=False)
    assert adapter == (4 * SMALL.lora_parameters(8), 8 * SMALL.lora_parameters(8))
