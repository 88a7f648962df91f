"""Log-probs of completions without padding, the prompt encoded once for all completions of a group.

The rows of a batch become one packed row (`light_r1.trainers.packing`). Attention is computed segment by segment: a
completion sees the prompt's keys and its own, nothing else. This is the maths of the padded batch, without its padding
and repeated prompts, in one call of the (wrapped) model, hence safe under DDP, LoRA and gradient checkpointing.

The segments travel to the attention layers as a 4-D int64 "mask", which transformers hands through untouched; the
entries `sdpa` and `flash_attention_2` of its attention table are wrapped to read it, and behave as before otherwise.
With `eager` attention an ordinary 4-D mask is used. The model needs TRL's log-prob head (`add_fused_lm_head`), which
every TRL trainer adds.

Left out: models whose layers carry state along the row (Mamba, linear attention), soft-capped attention and attention
sinks; `shares_prefixes` says so, and `SharedPrefixModel` then calls the model as it is. On CUDA, attention runs one
kernel for each segment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from peft import PeftModel, PeftType
from torch.nn.attention.bias import causal_lower_right
from transformers import PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, AttentionInterface
from trl.trainer.utils import FusedCausalLMOutput

from light_r1.errors import LightR1Error
from light_r1.trainers.packing import dense_mask, pack_rows

_SHARED = ("sdpa", "flash_attention_2")
_PER_TOKEN = ("log_probs", "entropy", "log_sum_sq_probs", "mean_logits", "is_top1")
_LAYERS = {"full_attention", "sliding_attention"}


class SharedPrefixModel:
    """Stands in for a model in TRL's scoring calls and does the same work on a packed row.

    Called as TRL calls its models, `model(input_ids=..., attention_mask=..., labels=..., fused_lm_head=True)`, it
    returns the output that the padded call would, zero where the label is -100. Any other call (images, router
    logits, no fused head) goes to the model unchanged, as do all calls to a model that cannot share prefixes.

    Args:
        model: A model with TRL's log-prob head, possibly wrapped by PEFT and DDP. It is called once for each call.
        unwrapped: The model without DDP, DeepSpeed or FSDP around it, where `model` has more than DDP.

    Attributes:
        output: What the last call on a packed row returned.

    Example:
        >>> class MyDPOTrainer(DPOTrainer):
        ...     def _compute_loss(self, model, inputs, return_outputs):
        ...         return super()._compute_loss(SharedPrefixModel(model), inputs, return_outputs)
    """

    def __init__(self, model: torch.nn.Module, unwrapped: torch.nn.Module | None = None) -> None:
        self.model = model
        self.base = _causal_lm(model if unwrapped is None else unwrapped)
        self.dense = self.base.config._attn_implementation == "eager"
        self.shares = shares_prefixes(model if unwrapped is None else unwrapped)
        self.output: FusedCausalLMOutput | None = None
        if self.shares:
            _read_segments_in_attention()

    def __call__(self, **inputs: Any) -> Any:
        """Return the model's output for the padded batch."""
        plain = {"input_ids", "attention_mask", "labels", "fused_lm_head", "use_cache"}
        if not self.shares or not inputs.get("fused_lm_head") or not set(inputs) <= plain:
            return self.model(**inputs)
        input_ids = inputs["input_ids"]
        row = pack_rows(input_ids, inputs["attention_mask"], inputs["labels"])
        compact = input_ids.device.type == "cpu" and len(row.slots) > 0
        with _head_sees(row.slots, self.base) if compact else nullcontext():
            output = self.model(
                input_ids=row.input_ids,
                position_ids=row.position_ids,
                attention_mask=dense_mask(row, self.base.dtype) if self.dense else row.segments,
                shift_labels=row.shift_labels[:, row.slots] if compact else row.shift_labels,
                fused_lm_head=True,
                use_cache=False,
            )
        size = (input_ids.size(0), input_ids.size(1) - 1)
        slots = slice(None) if compact else row.slots
        fields = {name: _unpack(getattr(output, name), slots, row.cells, size) for name in _PER_TOKEN}
        mask = torch.zeros(size, dtype=torch.bool, device=input_ids.device)
        mask.view(-1)[row.cells] = True
        self.output = FusedCausalLMOutput(loss=output.loss, label_mask=mask, **fields)
        return self.output


@contextmanager
def _head_sees(slots: torch.Tensor, model: PreTrainedModel) -> Iterator[None]:
    """Let the head see the scored positions alone.

    TRL leaves the others out by itself where Triton runs; on CPU it scores prompts too, and a small model spends a
    third of its time in the head.
    """

    def select(module: torch.nn.Module, inputs: Any, output: Any) -> Any:
        output.last_hidden_state = output.last_hidden_state[:, slots]
        return output

    hook = model.base_model.register_forward_hook(select)
    try:
        yield
    finally:
        hook.remove()


def _unpack(
    values: torch.Tensor | None, slots: torch.Tensor | slice, cells: torch.Tensor, size: tuple[int, int]
) -> torch.Tensor | None:
    """Return packed values in the places of the padded batch; connected to the graph even if none is scored."""
    if values is None:
        return None
    flat = values[0]
    empty = flat.new_zeros(size[0] * size[1])
    if not len(cells):
        return (empty + 0 * flat.sum()).view(size) if flat.is_floating_point() else empty.view(size)
    return empty.index_put((cells,), flat[slots]).view(size)


def _causal_lm(model: torch.nn.Module) -> PreTrainedModel:
    if isinstance(model, torch.nn.parallel.DistributedDataParallel):
        model = model.module
    if isinstance(model, PeftModel):
        model = model.get_base_model()
    if not isinstance(model, PreTrainedModel):
        raise LightR1Error(f"expected a transformers model, possibly in PEFT and DDP, got {type(model).__name__}")
    return model


def shares_prefixes(model: torch.nn.Module) -> bool:
    """Whether packed rows mean the same to this model as padded ones.

    True for models whose every layer is (sliding-window) softmax attention through transformers' attention table.
    """
    peft = model.module if isinstance(model, torch.nn.parallel.DistributedDataParallel) else model
    if isinstance(peft, PeftModel) and any(
        config.is_prompt_learning or config.peft_type == PeftType.ADAPTION_PROMPT
        for config in peft.peft_config.values()
    ):
        return False
    base = _causal_lm(model)
    config = base.config.get_text_config().to_dict()
    if not base._supports_attention_backend or base.is_remote_code():
        return False
    if config.get("attn_logit_softcapping") or config.get("model_type") == "gpt_oss":
        return False
    if not set(config.get("layer_types") or ()) <= _LAYERS:
        return False
    if base.config._attn_implementation == "eager":
        return not config.get("sliding_window")
    return base.config._attn_implementation in _SHARED


def _read_segments_in_attention() -> None:
    """Wrap the entries of transformers' attention table, once."""
    for name in _SHARED:
        usual = ALL_ATTENTION_FUNCTIONS[name]
        if not isinstance(usual, _SegmentReader):
            AttentionInterface.register(name, _SegmentReader(usual))


class _SegmentReader:
    """An attention function that computes segments where it gets segments, and otherwise what it wraps."""

    def __init__(self, usual: Callable[..., tuple[torch.Tensor, Any]]) -> None:
        self.usual = usual

    def __call__(
        self,
        module: torch.nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        dropout: float = 0.0,
        scaling: float | None = None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, Any]:
        if attention_mask is None or attention_mask.dtype != torch.int64 or attention_mask.dim() != 4:
            return self.usual(module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs)
        for unknown in ("softcap", "s_aux", "position_bias"):
            if kwargs.get(unknown) is not None:
                raise LightR1Error(f"{type(module).__name__}: attention with {unknown} cannot share prefixes")
        window = kwargs.get("sliding_window")
        kind = query.device.type
        if torch.is_autocast_enabled(kind):  # as PyTorch does for attention, but not where its mask is a `CausalBias`
            query, key, value = (states.to(torch.get_autocast_dtype(kind)) for states in (query, key, value))
        segments = [tuple(segment) for segment in attention_mask[0, 0].tolist()]
        lengths = [end - start for start, end, _, _ in segments]
        # Split, not sliced: the gradient of every slice would be as long as the whole row.
        queries, keys, values = (states.split(lengths, dim=2) for states in (query, key, value))
        places = {segment[:2]: place for place, segment in enumerate(segments)}
        parts = []
        for place, (_, _, *prefix) in enumerate(segments):
            seen = [places[tuple(prefix)], place] if prefix[1] > prefix[0] else [place]
            parts.append(
                _attend(
                    queries[place],
                    torch.cat([keys[one] for one in seen], dim=2) if len(seen) > 1 else keys[place],
                    torch.cat([values[one] for one in seen], dim=2) if len(seen) > 1 else values[place],
                    dropout=dropout,
                    scaling=scaling,
                    window=window,
                )
            )
        return torch.cat(parts, dim=2).transpose(1, 2).contiguous(), None


def _attend(
    queries: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    *,
    dropout: float,
    scaling: float | None,
    window: int | None,
) -> torch.Tensor:
    """Return the attention of one segment to itself and its prefix, `(1, heads, tokens, size)`."""
    options: dict[str, Any] = {
        "dropout_p": dropout,
        "scale": scaling,
        "enable_gqa": queries.size(1) != keys.size(1),
    }
    new, seen = queries.size(2), keys.size(2)
    if window is not None and seen > window:
        ones = torch.ones(new, seen, dtype=torch.bool, device=queries.device)
        mask = ones.tril(seen - new) & ones.triu(seen - new - window + 1)
        return F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, **options)
    # Aligned to the end: the segment's first token sees the whole prompt. Flash kernels do this without a mask.
    return F.scaled_dot_product_attention(queries, keys, values, attn_mask=causal_lower_right(new, seen), **options)
