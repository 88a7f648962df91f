"""Which type a stage computes in, and which type its weights are held in.

`model.dtype` is computed in. Weights that train are held in fp32 and cast for each matrix product (autocast), since a
bfloat16 weight of 0.02 takes no step below 6e-5: at a learning rate of 1e-6 AdamW's steps vanish nearly all. Adapters
are always fp32, frozen weights beside them are not. DeepSpeed and FSDP keep fp32 weights of their own. A stage whose
args set `bf16` or `fp16` computes as they say.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from light_r1.models.load import DTYPES
from light_r1.recipe.spec import StageSpec

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Precision:
    """Types of a stage.

    Args:
        computed: Type of the matrix products.
        held: Type that whole weights are loaded in.
        saved: Type that whole weights are saved in.
        mixed: Whether the forward passes of the stage run under autocast, as those of its trainer do.
    """

    computed: str
    held: str
    saved: str
    mixed: bool

    def computing(self, device: torch.device) -> AbstractContextManager[Any]:
        """Return the context in which the model is called outside its trainer, as the trainer calls it."""
        return torch.autocast(device.type, DTYPES[self.computed]) if self.mixed else nullcontext()


def precision_of(spec: StageSpec, *, trains: bool) -> Precision:
    """Return the types of a stage.

    Args:
        spec: The stage.
        trains: Whether it updates weights; otherwise they are held as they are computed.
    """
    model = spec.model
    saved = model.save_dtype or model.dtype
    if not trains:
        return Precision(model.dtype, model.dtype, saved, mixed=False)
    wanted = mixed_precision(spec)
    held = "float32" if model.keeps_masters(sharded=is_sharded(spec.args)) else model.dtype
    computed = {"bf16": "bfloat16", "fp16": "float16"}.get(wanted, held)
    return Precision(computed, held, saved, mixed=wanted != "no")


def mixed_precision(spec: StageSpec) -> str:
    """Return the autocast of a stage that trains (`bf16`, `fp16`, `no`): that of its args, else that of its dtype."""
    args = spec.args
    if "bf16" in args or "fp16" in args:
        return "bf16" if args.get("bf16") else "fp16" if args.get("fp16") else "no"
    return {"bfloat16": "bf16", "float16": "fp16", "float32": "no"}[spec.model.dtype]


def is_sharded(args: Mapping[str, Any]) -> bool:
    """Whether DeepSpeed or FSDP train, by the stage's args or by the environment that `accelerate launch` sets."""
    asked = any(os.environ.get(f"ACCELERATE_USE_{engine}", "false") == "true" for engine in ("DEEPSPEED", "FSDP"))
    return asked or bool(args.get("deepspeed") or args.get("fsdp"))
