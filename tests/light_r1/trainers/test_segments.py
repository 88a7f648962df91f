"""Attention by segments is that of each segment and its prompt, by SDPA and by every FlashAttention."""

from __future__ import annotations

import pytest
import torch
from transformers import MistralConfig, MistralForCausalLM, modeling_flash_attention_utils
from transformers.integrations.flash_attention import flash_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, AttentionInterface
from trl.trainer.utils import add_fused_lm_head

from light_r1.trainers.packing import pack_rows
from light_r1.trainers.scoring import SharedPrefixModel
from light_r1.trainers.segments import reads_segments
from tests.light_r1.trainers.test_scoring import SIZES, batch, row_by_row

HUB = "kernels-community/flash-attn2"
FLASH = ("flash_attention_2", "flash_attention_3", "flash_attention_4", HUB)


class Kernel:
    """Functions with the arguments and meaning of those of FlashAttention, and a note of each call."""

    def __init__(self):
        self.calls = []

    def flash_attn_func(self, q, k, v, dropout_p=0.0, softmax_scale=None, causal=False, window_size=(-1, -1)):
        """Causal masks align to the last key; a window of (n, _) sees n tokens to the left."""
        new, seen = q.size(1), k.size(1)
        self.calls.append((new, seen, causal, window_size[0]))
        mask = torch.ones(new, seen, dtype=torch.bool)
        if causal:
            mask = mask.tril(seen - new)
        if window_size[0] >= 0:
            mask = mask.triu(seen - new - window_size[0])
        states = (states.transpose(1, 2) for states in (q, k, v))
        out = torch.nn.functional.scaled_dot_product_attention(
            *states, attn_mask=mask, scale=softmax_scale, enable_gqa=True
        )
        return out.transpose(1, 2)

    def flash_attn_varlen_func(
        self, q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, dropout_p=0.0, softmax_scale=None,
        causal=False, window_size=(-1, -1),
    ):  # fmt: skip
        raise AssertionError("a segment is one call of its own")


@pytest.fixture
def kernel(monkeypatch):
    """A stand-in for the kernel packages, which need a GPU; what transformers does above them is its own."""
    kernel = Kernel()
    functions = (kernel.flash_attn_func, kernel.flash_attn_varlen_func, None, None, None)
    monkeypatch.setattr(modeling_flash_attention_utils, "_loaded_implementation", None)
    monkeypatch.setattr(modeling_flash_attention_utils, "_lazy_imports", lambda *args, **kwargs: functions)
    # As `load_and_register_attn_kernel` does with a kernel that has `flash_attn_varlen_func`.
    AttentionInterface.register(HUB, flash_attention_forward)
    ALL_MASK_ATTENTION_FUNCTIONS.register(HUB, ALL_MASK_ATTENTION_FUNCTIONS["flash_attention_2"])
    yield kernel
    modeling_flash_attention_utils._loaded_implementation = None
    del AttentionInterface._global_mapping[HUB]


def windowed(window, attention):
    torch.manual_seed(0)
    model = MistralForCausalLM(MistralConfig(**SIZES, sliding_window=window)).eval()
    model.config._attn_implementation = attention  # past the check that its package is there
    add_fused_lm_head(model, temperature=0.7)
    return model


@pytest.mark.parametrize("name", FLASH)
@pytest.mark.parametrize("window", [None, 5])
def test_every_flash_attention_is_given_each_segment_behind_its_prompt(kernel, name, window):
    model, inputs = windowed(window, name), batch()
    scorer = SharedPrefixModel(model)
    assert scorer.padded is None
    kernel.calls.clear()
    with torch.no_grad():
        found = scorer(**inputs, fused_lm_head=True).log_probs
    expected = []
    for start, end, prefix_start, prefix_end in pack_rows(**inputs).segments[0, 0].tolist():
        seen = end - start + prefix_end - prefix_start
        expected.append((end - start, seen, True, window - 1 if window and seen > window else -1))
    assert kernel.calls == expected * SIZES["num_hidden_layers"]
    assert len({seen for _, seen, _, _ in expected}) > 3
    with torch.no_grad():
        alone, _ = row_by_row(windowed(window, "sdpa"), inputs)
    torch.testing.assert_close(found, alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", FLASH)
def test_other_calls_of_a_flash_attention_are_its_own(kernel, name):
    model = windowed(None, name)
    SharedPrefixModel(model)
    ids = batch()["input_ids"]
    kernel.calls.clear()
    torch.testing.assert_close(model(input_ids=ids).logits, windowed(None, "sdpa")(input_ids=ids).logits)
    assert kernel.calls == [(ids.size(1), ids.size(1), True, -1)] * SIZES["num_hidden_layers"]


def test_what_a_function_of_the_table_means_must_be_known(kernel):
    def own(module, query, key, value, attention_mask, **kwargs):
        raise AssertionError

    AttentionInterface.register("kernels-someone/flash-own", own)
    try:
        assert {name for name in ALL_ATTENTION_FUNCTIONS if reads_segments(name)} == {*FLASH, "sdpa"}
        assert not reads_segments("kernels-someone/flash-own")
        assert not reads_segments("no_such_attention")
        model = windowed(None, "kernels-someone/flash-own")
        assert SharedPrefixModel(model).padded == "kernels-someone/flash-own attention is not computed by segments"
    finally:
        del AttentionInterface._global_mapping["kernels-someone/flash-own"]
