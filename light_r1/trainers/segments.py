"""Attention segment by segment: a completion of a packed row sees its prompt's keys and its own, nothing else.

The segments of a row (`light_r1.trainers.packing`) travel to the attention layers as a 4-D int64 "mask", which
transformers hands through untouched, also to a recomputation under gradient checkpointing. The entry of a name in
transformers' attention table is wrapped to read it, and behaves as before otherwise: `sdpa` is computed by PyTorch's
SDPA, every name of a FlashAttention (2, 3, 4, kernels of the hub) by that kernel, one call for each segment.

Left out: soft-capped attention, attention sinks, position biases, which `SegmentReader` refuses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch.nn.attention.bias import causal_lower_right
from transformers.integrations.flash_attention import flash_attention_forward
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_flash_attention_utils import flash_attn_supports_top_left_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, AttentionInterface

from light_r1.errors import LightR1Error

Attention = Callable[..., tuple[torch.Tensor, Any]]


def reads_segments(name: str) -> bool:
    """Whether attention of this name can be computed segment by segment, once `read_segments` was called.

    So it is where the table leads to transformers' own functions, which say what a mask of `None` means; a kernel of
    the hub that brings a function of its own, or a function that a user registered, may mean anything.
    """
    if name not in ALL_ATTENTION_FUNCTIONS:
        return False
    usual = _usual(name)
    # Kernels that align a causal mask to the first key would hide a part of the prompt.
    return usual is sdpa_attention_forward or (
        usual is flash_attention_forward and not flash_attn_supports_top_left_mask()
    )


def _usual(name: str) -> Attention:
    entry: Attention = ALL_ATTENTION_FUNCTIONS[name]
    return entry.usual if isinstance(entry, SegmentReader) else entry


def read_segments(name: str) -> None:
    """Wrap an entry of transformers' attention table, once."""
    if not isinstance(ALL_ATTENTION_FUNCTIONS[name], SegmentReader):
        reader = SegmentReader(_usual(name))
        AttentionInterface.register(name, reader)
        if ALL_ATTENTION_FUNCTIONS[name] is not reader:  # an entry of the table itself was set, which goes first
            ALL_ATTENTION_FUNCTIONS[name] = reader


class SegmentReader:
    """An attention function that computes segments where it gets segments, and otherwise what it wraps.

    Args:
        usual: What it wraps, a function of transformers' attention table. FlashAttention computes each segment by
            itself, its causal mask aligned to the last key; for another, PyTorch's SDPA does.
    """

    def __init__(self, usual: Attention) -> None:
        self.usual = usual

    def __call__(
        self,
        module: torch.nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, Any]:
        """Return the attention of `(1, heads, L, size)` states as `(1, L, heads, size)`, and no weights."""
        if attention_mask is None or attention_mask.dtype != torch.int64 or attention_mask.dim() != 4:
            return self.usual(module, query, key, value, attention_mask, **kwargs)
        return self._by_segment(module, query, key, value, attention_mask, **kwargs), None

    @torch.compiler.disable(reason="every row has segments of its own, which would be compiled anew")
    def _by_segment(
        self,
        module: torch.nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        segments: torch.Tensor,
        dropout: float = 0.0,
        scaling: float | None = None,
        sliding_window: int | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        for unknown in ("softcap", "s_aux", "position_bias"):
            if kwargs.get(unknown) is not None:
                raise LightR1Error(f"{type(module).__name__}: attention with {unknown} cannot share prefixes")
        kind = query.device.type
        if torch.is_autocast_enabled(kind):  # as PyTorch does for attention, but not where its mask is a `CausalBias`
            query, key, value = (states.to(torch.get_autocast_dtype(kind)) for states in (query, key, value))
        bounds = [tuple(segment) for segment in segments[0, 0].tolist()]
        lengths = [end - start for start, end, _, _ in bounds]
        # Split, not sliced: the gradient of every slice would be as long as the whole row.
        queries, keys, values = (states.split(lengths, dim=2) for states in (query, key, value))
        places = {segment[:2]: place for place, segment in enumerate(bounds)}
        parts = []
        for place, (_, _, *prefix) in enumerate(bounds):
            seen = [places[tuple(prefix)], place] if prefix[1] > prefix[0] else [place]
            states = (
                queries[place],
                torch.cat([keys[one] for one in seen], dim=2) if len(seen) > 1 else keys[place],
                torch.cat([values[one] for one in seen], dim=2) if len(seen) > 1 else values[place],
            )
            options: dict[str, Any] = {"dropout": dropout, "scaling": scaling, "sliding_window": sliding_window}
            if self.usual is flash_attention_forward:
                parts.append(self.usual(module, *states, None, is_causal=True, **options)[0])
            else:
                parts.append(_attend(*states, **options))
        return torch.cat(parts, dim=1)


def _attend(
    queries: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    *,
    dropout: float,
    scaling: float | None,
    sliding_window: int | None,
) -> torch.Tensor:
    """Return the attention of one segment to itself and its prefix, `(1, tokens, heads, size)`."""
    options: dict[str, Any] = {
        "dropout_p": dropout,
        "scale": scaling,
        "enable_gqa": queries.size(1) != keys.size(1),
    }
    new, seen = queries.size(2), keys.size(2)
    if sliding_window is not None and seen > sliding_window:
        ones = torch.ones(new, seen, dtype=torch.bool, device=queries.device)
        mask = ones.tril(seen - new) & ones.triu(seen - new - sliding_window + 1)
    else:
        # Aligned to the end: the segment's first token sees the whole prompt. Flash kernels do this without a mask.
        mask = causal_lower_right(new, seen)
    return F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, **options).transpose(1, 2)
