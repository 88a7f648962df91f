"""Cast the weights of a saved model, one tensor at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import PreTrainedModel

from data_tools.rows.files import written_whole
from light_r1.models.load import DTYPES
from light_r1.models.merge_output import INDEX, Entry, note_dtype, write_file

_NAMES = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}
_FLOATS = {"BF16", "F16", "F32", "F64"}


def kept_in_fp32(model: PreTrainedModel, dtype: str) -> list[str]:
    """Return patterns of the tensors that transformers loads in fp32 where `dtype` is asked for."""
    of_float16 = model._keep_in_fp32_modules if dtype == "float16" else None
    return [*(of_float16 or ()), *(model._keep_in_fp32_modules_strict or ())]


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
    size = 0
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
            size += sum(entry.size for entry in entries.values())
    if (index := folder / INDEX).exists():
        content = json.loads(index.read_text(encoding="utf-8"))
        content["metadata"]["total_size"] = size
        with written_whole(index) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    if (folder / "config.json").exists():
        note_dtype(folder, dtype)


def _cast(weights: Any, entries: Mapping[str, Entry], dtype: str) -> Iterator[tuple[str, torch.Tensor]]:
    for name, entry in entries.items():
        tensor = weights.get_tensor(name)
        yield name, tensor.to(DTYPES[dtype]) if entry.dtype == _NAMES[dtype] else tensor
