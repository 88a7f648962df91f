"""Write a model as safetensors files, tensor by tensor.

The `safetensors` package writes a file from a dict that holds all of its tensors. Here names, shapes and types are
known before the first tensor is, so the header goes first and each tensor is written as it comes: none is held.
Format: https://huggingface.co/docs/safetensors, "Format".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch

from data_tools.rows.files import written_whole
from light_r1.errors import LightR1Error

INDEX = "model.safetensors.index.json"
_WIDTHS = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "I16": 2,
    "F16": 2,
    "BF16": 2,
    "I32": 4,
    "F32": 4,
    "I64": 8,
    "F64": 8,
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A tensor to come.

    Args:
        dtype: Its type in safetensors' words, e.g. `BF16`.
        shape: Its shape.
    """

    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Its size in bytes."""
        if self.dtype not in _WIDTHS:
            raise LightR1Error(f"merge: tensors of type {self.dtype} cannot be merged; the types are {list(_WIDTHS)}")
        return _WIDTHS[self.dtype] * prod(self.shape)


def write_model(
    out: Path, entries: Mapping[str, Entry], tensors: Iterable[tuple[str, torch.Tensor]], *, shard_bytes: int
) -> None:
    """Write tensors to one file, or to several with an index.

    Args:
        out: Folder of the files.
        entries: What will come, by name, in its order.
        tensors: Names and tensors, as announced.
        shard_bytes: Largest size of a file; a single larger tensor has a file of its own.

    Raises:
        LightR1Error: A type is not known, or the tensors are not those that were announced.
    """
    shards = _shards(entries, shard_bytes)
    coming = iter(tensors)
    where = {}
    for number, names in enumerate(shards, start=1):
        several = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        file = several if len(shards) > 1 else "model.safetensors"
        write_file(out / file, {name: entries[name] for name in names}, coming)
        where.update(dict.fromkeys(names, file))
    if len(shards) > 1:
        index = {"metadata": {"total_size": sum(e.size for e in entries.values())}, "weight_map": where}
        with written_whole(out / INDEX) as temporary:
            temporary.write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _shards(entries: Mapping[str, Entry], shard_bytes: int) -> list[Sequence[str]]:
    shards: list[list[str]] = [[]]
    size = 0
    for name, entry in entries.items():
        if shards[-1] and size + entry.size > shard_bytes:
            shards.append([])
            size = 0
        shards[-1].append(name)
        size += entry.size
    return list(shards)


def write_file(path: Path, entries: Mapping[str, Entry], coming: Iterator[tuple[str, torch.Tensor]]) -> None:
    """Write one file; tensors come by name, in the order of the entries."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, entry in entries.items():
        start, end = end, end + entry.size
        header[name] = {"dtype": entry.dtype, "shape": list(entry.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, entry in entries.items():
            came, tensor = next(coming, ("nothing", torch.empty(0)))
            data = tensor.contiguous().flatten().view(torch.uint8)
            if name != came or data.numel() != entry.size:
                raise LightR1Error(f"merge: {came} ({data.numel()} bytes) came where {name} ({entry.size}) was due")
            file.write(data.numpy().data)
