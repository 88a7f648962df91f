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
from light_r1.models.merge_output import Entry, write_file

_NAMES = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}
_FLOATS = {"BF16", "F16", "F32", "F64"}


def kept_in_fp32(model: PreTrainedModel) -> list[str]:
    """Return patterns of the tensors that transformers loads in fp32 whatever type is asked for."""
    return [*(model._keep_in_fp32_modules or ()), *(model._keep_in_fp32_modules_strict or ())]


def cast_weights(folder: Path, dtype: str, *, keep: Sequence[str] = ()) -> None:
    """Rewrite the floating-point weights of a folder in another type, file by file, and note it in its config.

    Args:
        folder: A model or adapter folder.
        dtype: `bfloat16`, `float16` or `float32`.
        keep: Patterns of names that keep their type.
    """
    kept = re.compile("|".join(re.escape(name) for name in keep)) if keep else None
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as weights:
            entries = {}
            for name in weights.keys():  # noqa: SIM118  a handle of safetensors, no mapping
                tensor = weights.get_slice(name)
                casts = tensor.get_dtype() in _FLOATS and not (kept and kept.search(name))
                entries[name] = Entry(_NAMES[dtype] if casts else tensor.get_dtype(), tuple(tensor.get_shape()))

            with written_whole(file) as temporary:
                write_file(temporary, entries, _cast(weights, entries, dtype))
    config = folder / "config.json"
    if config.exists():
        content = json.loads(config.read_text(encoding="utf-8"))
        with written_whole(config) as temporary:
            temporary.write_text(json.dumps({**content, "dtype": dtype}, indent=2) + "\n", encoding="utf-8")


def _cast(weights: Any, entries: Mapping[str, Entry], dtype: str) -> Iterator[tuple[str, torch.Tensor]]:
    for name, entry in entries.items():
        tensor = weights.get_tensor(name)
        yield name, tensor.to(DTYPES[dtype]) if entry.dtype == _NAMES[dtype] else tensor
