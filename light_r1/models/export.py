"""Export a model or adapter folder as one whole model, for whoever serves it, tensor by tensor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from light_r1.errors import LightR1Error, did_you_mean
from light_r1.models.handover import read_handover, write_handover
from light_r1.models.load import DTYPES, is_adapter
from light_r1.models.merge_inputs import Weights, check_apart, check_finite, refuse_quantized, whole_model
from light_r1.models.merge_output import SHARD_BYTES, TYPES, Entry, copy_rest, note_dtype, replaced_model, write_model
from light_r1.models.weights import cast_entries, kept_in_fp32
from light_r1.ranks import Ranks


def export_model(model: str | Path, to: str | Path, *, dtype: str | None = None) -> Path:
    """Write a whole model: weights, configuration, generation settings, tokenizer and chat template.

    Args:
        model: Model folder, or adapter folder, which is merged into its base.
        to: Folder to write; not there yet, or empty.
        dtype: `bfloat16`, `float16` or `float32`; the types of the model, or of the adapter's base, if `None`.

    Returns:
        The folder.

    Raises:
        LightR1Error: `to` is not empty or is what is read, the type is unknown, the model is quantised, or a tensor
            holds NaN or infinity, in the type asked for too.
    """
    model, to = Path(model), Path(to)
    if dtype is not None and dtype not in DTYPES:
        raise LightR1Error(f"dtype: {dtype!r} is not one of {', '.join(DTYPES)}. {did_you_mean(dtype, DTYPES)}")
    check_apart(to, [model])
    if to.exists() and not (to.is_dir() and not any(to.iterdir())):
        raise LightR1Error(f"{to} is there already; name a folder that is not, or an empty one")
    with whole_model(model, to) as weights, replaced_model(to) as folder:
        entries = {name: weights.entry(name) for name in weights.files}
        if dtype is not None:
            refuse_quantized(weights)
            with torch.device("meta"):  # its class says what it keeps in fp32
                keep = kept_in_fp32(
                    AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(weights.folder)), dtype
                )
            entries = cast_entries(entries, dtype, keep=keep)
        write_model(folder, entries, _tensors(weights, entries), shard_bytes=SHARD_BYTES)
        copy_rest(weights.folder, folder)
        if dtype is not None:
            note_dtype(folder, dtype)
        handover = read_handover(model)
        if handover is not None:
            changed = dtype is not None or is_adapter(model)  # rounding: whoever loads it first scores it anew
            logprobs, vocabulary = (None, 0) if changed else (handover.logprobs, handover.vocabulary)
            alone = replace(handover, lora=None, base=None, base_hash=None)
            write_handover(folder, replace(alone, logprobs=logprobs, vocabulary=vocabulary))
    return to


def _tensors(weights: Weights, entries: dict[str, Entry]) -> Iterator[tuple[str, torch.Tensor]]:
    with Ranks().bar(total=len(entries), desc="export", unit="tensor") as bar:
        for name, entry in entries.items():
            tensor = weights.tensor(name)
            written = tensor.to(TYPES[entry.dtype])
            check_finite(written, f"{name} of {weights.model} in {entry.dtype}")
            bar.update(1)
            yield name, written
