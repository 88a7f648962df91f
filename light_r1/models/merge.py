"""Merge model folders over safetensors, one tensor at a time.

Memory is that of a few copies of one tensor in fp32, whatever the model's size (docs/merge.md). An adapter is merged
into its base first, which does load that model. No embedding is resized: names and shapes have to match, and
it is said where they do not.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from light_r1.errors import LightR1Error
from light_r1.models.merge_methods import check_options, dare_ties, linear, slerp, ties
from light_r1.models.merge_output import INDEX, Entry, write_model
from light_r1.ranks import Ranks

log = logging.getLogger(__name__)

SHARD_BYTES = 5_000_000_000
_NOT_COPIED = ("*.safetensors", "*.safetensors.index.json", "*.bin", "training_args.bin", "README.md", "optimizer.pt")


class _Weights:
    """The tensors of one model folder by name, read when asked for."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.files: dict[str, Any] = {}
        paths = sorted(folder.glob("*.safetensors"))
        if not paths:
            raise LightR1Error(f"merge: no safetensors files in {folder}")
        for path in paths:
            handle = stack.enter_context(safe_open(path, framework="pt"))
            self.files.update(dict.fromkeys(handle.keys(), handle))

    def entry(self, name: str) -> Entry:
        tensor = self.files[name].get_slice(name)
        return Entry(tensor.get_dtype(), tuple(tensor.get_shape()))

    def tensor(self, name: str) -> torch.Tensor:
        return self.files[name].get_tensor(name)


def merge_models(
    models: Sequence[str | Path],
    out: str | Path,
    *,
    method: str,
    base: str | Path | None = None,
    weights: Sequence[float] | None = None,
    densities: Sequence[float] | None = None,
    scale: float = 1.0,
    normalize: bool = True,
    seed: int = 0,
    shard_bytes: int = SHARD_BYTES,
) -> Path:
    """Merge models into a new folder; configuration and tokenizer are those of the first.

    Args:
        models: Model or adapter folders.
        out: Folder to write.
        method: `linear`, `slerp`, `ties` or `dare_ties`.
        base: What task vectors are taken against; needed by `ties` and `dare_ties`.
        weights: One per model; equal ones if `None`. For `slerp` the second over the sum is the fraction of the way.
        densities: Share of each task vector that is kept.
        scale: Factor on the merged task vector.
        normalize: Divide by the weights.
        seed: Seed of the entries that DARE drops.
        shard_bytes: Largest size of an output file.

    Returns:
        The folder.

    Raises:
        LightR1Error: Something is missing, names or shapes of the tensors differ, or `out` is one of the models.

    Example:
        >>> merge_models(["sft", "dpo"], "merged", method="linear", weights=[0.3, 0.7])
    """
    check_options(method, len(models), weights, densities, base is not None)
    weights = list(weights) if weights is not None else [1.0] * len(models)
    out = Path(out)
    if any(out.resolve() == Path(source).resolve() for source in (*models, *([base] if base is not None else []))):
        raise LightR1Error(f"{out} is one of the models that are merged; write to another folder.")
    with ExitStack() as stack:
        folders = [_plain_folder(Path(m), out.parent / f".{out.name}-{i}", stack) for i, m in enumerate(models)]
        opened = [_Weights(folder, stack) for folder in folders]
        origin = None
        if base is not None:
            origin = _Weights(_plain_folder(Path(base), out.parent / f".{out.name}-base", stack), stack)
        names = _checked_names([*opened, *([origin] if origin else [])])
        out.mkdir(parents=True, exist_ok=True)
        for marker in ("config.json", INDEX):  # a folder without them is no model, whatever weights lie in it
            (out / marker).unlink(missing_ok=True)

        def merged() -> Iterator[tuple[str, torch.Tensor]]:
            for name in names:
                tensors = [weight.tensor(name) for weight in opened]
                against = origin.tensor(name) if origin else None
                result = _merge_one(
                    method, tensors, against, weights, densities, scale, normalize, key=f"{seed}:{name}"
                )
                yield name, result.to(tensors[0].dtype)
                bar.update(1)

        with Ranks().bar(total=len(names), desc=f"{method} merge", unit="tensor") as bar:
            write_model(out, {name: opened[0].entry(name) for name in names}, merged(), shard_bytes=shard_bytes)
        _copy_rest(folders[0], out)
    return out


def _merge_one(
    method: str,
    tensors: Sequence[torch.Tensor],
    base: torch.Tensor | None,
    weights: Sequence[float],
    densities: Sequence[float] | None,
    scale: float,
    normalize: bool,
    *,
    key: str,
) -> torch.Tensor:
    if not tensors[0].is_floating_point():
        return tensors[0]
    if method == "slerp":
        return slerp(tensors[0], tensors[1], weights[1] / sum(weights))
    if method == "linear":
        return linear(tensors, weights, normalize=normalize)
    assert base is not None
    assert densities is not None
    if method == "ties":
        return ties(base, tensors, weights, densities, scale=scale, normalize=normalize)
    return dare_ties(base, tensors, weights, densities, scale=scale, normalize=normalize, key=key)


def _plain_folder(model: Path, temporary: Path, stack: ExitStack) -> Path:
    """Return a folder with whole weights: the model's own, or the temporary one with its adapter merged."""
    if not model.is_dir():
        raise LightR1Error(f"merge: {model} is not a folder")
    if not (model / "adapter_config.json").exists():
        return model
    from light_r1.models.load import load_model, load_tokenizer

    log.info("merging the adapter %s into its base first", model)
    adapter = json.loads((model / "adapter_config.json").read_text(encoding="utf-8"))
    whole = load_model(model, dtype=_dtype_of(Path(adapter["base_model_name_or_path"])), attn_implementation="sdpa")
    stack.callback(shutil.rmtree, temporary, ignore_errors=True)
    whole.save_pretrained(temporary)
    load_tokenizer(model).save_pretrained(temporary)
    return temporary


def _dtype_of(base: Path) -> str:
    config = base / "config.json"
    if not config.exists():
        return "bfloat16"
    return str(json.loads(config.read_text(encoding="utf-8")).get("dtype") or "float32")


def _checked_names(weights: Sequence[_Weights]) -> list[str]:
    """Return the tensor names, which all models must share with their shapes."""
    first = weights[0]
    for other in weights[1:]:
        missing = sorted(first.files.keys() - other.files.keys())
        extra = sorted(other.files.keys() - first.files.keys())
        if missing or extra:
            raise LightR1Error(
                f"merge: {other.folder} and {first.folder} hold other tensors: "
                f"{len(missing)} only in the second ({', '.join(missing[:3])}), "
                f"{len(extra)} only in the first ({', '.join(extra[:3])})"
            )
        for name in first.files:
            here, there = first.entry(name).shape, other.entry(name).shape
            if here != there:
                raise LightR1Error(
                    f"merge: {name} is {list(here)} in {first.folder} and {list(there)} in "
                    f"{other.folder}. Models of other sizes, or with other vocabularies, cannot be merged."
                )
    return sorted(first.files)


def _copy_rest(source: Path, out: Path) -> None:
    for path in sorted(source.iterdir(), key=lambda path: path.name == "config.json"):  # last: it makes a model
        if path.is_file() and not any(path.match(pattern) for pattern in _NOT_COPIED):
            shutil.copy2(path, out / path.name)
