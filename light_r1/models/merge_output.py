"""Write a model folder: its weights as safetensors files, tensor by tensor, and whatever else makes it a model.

The `safetensors` package writes a file from a dict that holds all of its tensors. Here names, shapes and types are
known before the first tensor is, so the header goes first and each tensor is written as it comes: none is held.
Format: https://huggingface.co/docs/safetensors, "Format".

A folder appears whole or not at all: it is written beside its place, and what was there goes last.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch

from data_tools.rows.files import written_whole
from light_r1.errors import LightR1Error

INDEX = "model.safetensors.index.json"
SHARD_BYTES = 5_000_000_000
TYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E8M0": torch.float8_e8m0fnu,
    "I16": torch.int16,
    "U16": torch.uint16,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I32": torch.int32,
    "U32": torch.uint32,
    "F32": torch.float32,
    "I64": torch.int64,
    "U64": torch.uint64,
    "F64": torch.float64,
}
"""Torch's types by safetensors' words."""

# Weights, and what says something of one model that is not true of the next.
_NOT_COPIED = (
    "*.safetensors", "*.index.json", "*.bin", "*.pt", "*.pth", "*.gguf", "adapter_config.json", "handover.json",
    "README.md", "trainer_state.json", "training_args.bin",
)  # fmt: skip


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
        if self.dtype not in TYPES:
            raise LightR1Error(f"tensors of type {self.dtype} cannot be written; the types are {', '.join(TYPES)}")
        return TYPES[self.dtype].itemsize * prod(self.shape)


@contextmanager
def replaced_model(out: Path) -> Iterator[Path]:
    """Lend a temporary folder, which replaces the model folder `out` when the block ends without an error.

    Args:
        out: The folder to be. One that is there has to be empty or hold a model and nothing else: it goes.

    Raises:
        LightR1Error: It holds something else.
    """
    out = out.resolve()  # of a link, what it leads to
    if out.exists():
        inside = list(out.iterdir()) if out.is_dir() else []
        is_model = any(path.name == "config.json" or path.suffix == ".safetensors" for path in inside)
        if not out.is_dir() or any(path.is_dir() for path in inside) or (inside and not is_model):
            raise LightR1Error(
                f"{out} would be replaced, and is no folder of a model alone. Name one that is not there yet."
            )
    with written_whole(out) as temporary:
        temporary.mkdir()
        yield temporary


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
                raise LightR1Error(f"{came} ({data.numel()} bytes) came where {name} ({entry.size}) was due")
            file.write(data.numpy().data)


def copy_rest(source: Path, out: Path) -> None:
    """Copy what makes a model of weights: configuration, tokenizer, chat templates, code of its own."""
    for path in source.iterdir():
        if path.name == "additional_chat_templates":
            shutil.copytree(path, out / path.name)
        elif path.is_file() and not any(path.match(pattern) for pattern in _NOT_COPIED):
            shutil.copy2(path, out / path.name)


def note_dtype(folder: Path, dtype: str) -> None:
    """Note in the configuration of a model, and of the parts of a composite one, the type of its weights."""
    file = folder / "config.json"
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    parts = [value for value in content.values() if isinstance(value, dict)]
    for part in parts:
        if {"dtype", "torch_dtype"} & part.keys():
            part["dtype"] = dtype
            part.pop("torch_dtype", None)
    content["dtype"] = dtype
    content.pop("torch_dtype", None)  # the name before transformers 5
    with written_whole(file) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
