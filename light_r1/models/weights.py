"""Cast the weights of a saved model, one tensor at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import PreTrainedModel

from data_tools.rows.files import written_whole
from light_r1.models.load import DTYPES
from light_r1.models.merge_output import Entry, note_dtype, write_file

_NAMES = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}
_FLOATS = {"BF16", "F16", "F32", "F64"}


def kept_in_fp32(model: PreTrainedModel) -> list[str]:
    """Return patterns of the tensors that transformers loads in fp32 whatever type is asked for."""
    return [*(model._keep_in_fp32_modules or ()), *(model._keep_in_fp32_modules_strict or ())]


def cast_entries(entries: Mapping[str, Entry], dtype: str, *, keep: Sequence[str]) -> dict[str, Entry]:
    """Return tensors to come with those of floating point, of 16 bits or more, in another type.

    Args:
        entries: The tensors by name.
        dtype: `bfloat16`, `float16` or `float32`.
        keep: Patterns of names that keep their type.
    """
    kept = re.compile("|".join(map(re.escape, keep)) or r"(?!)")
    return {
        name: Entry(_NAMES[dtype], entry.shape) if entry.dtype in _FLOATS and not kept.search(name) else entry
        for name, entry in entries.items()
    }


def cast_weights(folder: Path, dtype: str, *, keep: Sequence[str] = ()) -> None:
    """Rewrite the floating-point weights of a folder in another type, file by file, and note it in its config.

    Args:
        folder: A model or adapter folder.
        dtype: `bfloat16`, `float16` or `float32`.
        keep: Patterns of names that keep their type.
    """
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as weights:
            slices = {name: weights.get_slice(name) for name in weights.keys()}  # noqa: SIM118  a handle, no mapping
            entries = cast_entries(
                {name: Entry(part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()},
                dtype,
                keep=keep,
            )
            with written_whole(file) as temporary:
                write_file(temporary, entries, _cast(weights, entries, dtype))
    if (folder / "config.json").exists():
        note_dtype(folder, dtype)


def _cast(weights: Any, entries: Mapping[str, Entry], dtype: str) -> Iterator[tuple[str, torch.Tensor]]:
    for name, entry in entries.items():
        tensor = weights.get_tensor(name)
        yield name, tensor.to(DTYPES[dtype]) if entry.dtype == _NAMES[dtype] else tensor
