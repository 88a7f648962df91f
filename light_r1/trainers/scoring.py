"""Log-probs of completions without padding, the prompt encoded once for all completions of a group.

The rows of a batch become one packed row (`light_r1.trainers.packing`). Attention is computed segment by segment
(`light_r1.trainers.segments`): a completion sees the prompt's keys and its own, nothing else. This is the maths of the
padded batch, without its padding and repeated prompts, in one call of the (wrapped) model, hence safe under DDP, LoRA,
gradient checkpointing and compilation. With `eager` attention an ordinary 4-D mask is used. The model needs TRL's
log-prob head (`add_fused_lm_head`), which every TRL trainer adds.

A model to which a packed row would mean something else (`light_r1.trainers.exactness`) is called as it is, and the
reason is logged once. On CUDA, attention runs one kernel for each segment.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import Any

import torch
from accelerate.utils import has_compiled_regions, is_compiled_module
from transformers import PreTrainedModel
from trl.trainer.utils import FusedCausalLMOutput

from light_r1.trainers.exactness import unwrapped, why_padded
from light_r1.trainers.packing import dense_mask, pack_rows
from light_r1.trainers.segments import read_segments

log = logging.getLogger(__name__)

_PER_TOKEN = ("log_probs", "entropy", "log_sum_sq_probs", "mean_logits", "is_top1")


class SharedPrefixModel:
    """Stands in for a model in TRL's scoring calls and does the same work on a packed row.

    Called as TRL calls its models, `model(input_ids=..., attention_mask=..., labels=..., fused_lm_head=True)`, it
    returns the output that the padded call would, zero where the label is -100. Any other call (images, router
    logits, no fused head) goes to the model unchanged, as do all calls to a model that needs padded rows.

    Args:
        model: A model with TRL's log-prob head, in whatever wrappers. It is called once for each call.

    Attributes:
        output: What the last call on a packed row returned.

    Example:
        >>> class MyDPOTrainer(DPOTrainer):
        ...     def _compute_loss(self, model, inputs, return_outputs):
        ...         return super()._compute_loss(SharedPrefixModel(model), inputs, return_outputs)
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self.model = model
        self.base, _ = unwrapped(model)
        self.attention = self.base.config.get_text_config()._attn_implementation
        self.padded = why_padded(model)
        self.output: FusedCausalLMOutput | None = None
        if self.padded:
            _tell(f"rows are padded, and prompts repeated: {self.padded}")
        elif self.attention != "eager":
            read_segments(self.attention)

    def __call__(self, **inputs: Any) -> Any:
        """Return the model's output for the padded batch."""
        plain = {"input_ids", "attention_mask", "labels", "fused_lm_head", "use_cache"}
        if self.padded or not inputs.get("fused_lm_head") or not set(inputs) <= plain:
            return self.model(**inputs)
        input_ids = inputs["input_ids"]
        row = pack_rows(input_ids, inputs["attention_mask"], inputs["labels"])
        compiled = is_compiled_module(self.model) or has_compiled_regions(self.model)
        compact = input_ids.device.type == "cpu" and len(row.slots) > 0 and not compiled
        with _head_sees(row.slots, self.base) if compact else nullcontext():
            output = self.model(
                input_ids=row.input_ids,
                position_ids=row.position_ids,
                attention_mask=dense_mask(row, self.base.dtype) if self.attention == "eager" else row.segments,
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


@cache
def _tell(line: str) -> None:
    """Log a line once in this process."""
    log.info(line)
