"""Merge model folders over safetensors, one tensor at a time.

Memory is that of a few copies of one tensor in fp32, whatever the model's size (docs/merge.md). An adapter is merged
into its base first, which does load that model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import torch

from light_r1.errors import LightR1Error
from light_r1.models.merge_inputs import Weights, check_apart, check_finite, is_number, refuse_quantized, whole_model
from light_r1.models.merge_methods import dare_ties, linear, slerp, ties
from light_r1.models.merge_options import option_faults
from light_r1.models.merge_output import SHARD_BYTES, TYPES, copy_rest, replaced_model, write_model
from light_r1.ranks import Ranks


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
    """Merge models into a folder; one that is there is replaced once the new one is whole.

    Types, configuration and tokenizer are those of the first model, or of the first with the longest vocabulary.

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
        LightR1Error: Something is missing, the models do not fit each other, a tensor holds NaN or infinity, or `out`
            is what is read or holds more than a model. Whatever was in `out` is still there.

    Example:
        >>> merge_models(["sft", "dpo"], "merged", method="linear", weights=[0.3, 0.7])
    """
    fault = next(
        option_faults(
            method,
            len(models),
            weights=weights,
            densities=densities,
            normalize=normalize,
            scale=scale,
            has_base=base is not None,
        ),
        None,
    )
    if fault is not None:
        raise LightR1Error(f"merge: {fault.option}: {fault.what}; expected {fault.expected}")
    factors = [1.0] * len(models) if weights is None else list(weights)
    out, sources = Path(out), [Path(model) for model in (*models, *([base] if base is not None else []))]
    check_apart(out, sources)
    with ExitStack() as stack:
        opened = [stack.enter_context(whole_model(source, out)) for source in sources]
        merging, origin = opened[: len(models)], opened[-1] if base is not None else None
        lead = max(merging, key=lambda model: model.vocabulary or 0)
        for model in opened:
            refuse_quantized(model)
            if model is not lead:
                model.fit(lead)
        names = sorted(lead.files)
        tied = _tied(names, opened)

        def merged() -> Iterator[tuple[str, torch.Tensor]]:
            for name in names:
                tensors = [model.tensor(name) for model in merging]
                against = origin.tensor(name) if origin else None
                if is_number(lead.entry(name).dtype):
                    result = _merge_one(
                        method,
                        tensors,
                        against,
                        factors,
                        densities,
                        scale,
                        normalize,
                        key=f"{seed}:{tied.get(name, name)}",
                    ).to(TYPES[lead.entry(name).dtype])
                    check_finite(result, f"the merged {name}")
                else:
                    result = _equal(name, tensors, merging)
                bar.update(1)
                yield name, result

        folder = stack.enter_context(replaced_model(out))
        with Ranks().bar(total=len(names), desc=f"{method} merge", unit="tensor") as bar:
            write_model(folder, {name: lead.entry(name) for name in names}, merged(), shard_bytes=shard_bytes)
        copy_rest(lead.folder, folder)
    return out


def _tied(names: Sequence[str], models: Sequence[Weights]) -> dict[str, str]:
    """Return which tensors are a copy of which in every model: DARE has to drop the same entries of both."""
    wide = [name for name in names if models[0].spans_vocabulary(name)]
    return {
        name: other
        for place, name in enumerate(wide)
        for other in wide[place + 1 :]
        if all(model.repeats(name, other) for model in models)
    }


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
    if method == "slerp":
        return slerp(tensors[0], tensors[1], weights[1] / sum(weights))
    if method == "linear":
        return linear(tensors, weights, normalize=normalize)
    assert base is not None
    assert densities is not None
    if method == "ties":
        return ties(base, tensors, weights, densities, scale=scale, normalize=normalize)
    return dare_ties(base, tensors, weights, densities, scale=scale, normalize=normalize, key=key)


def _equal(name: str, tensors: Sequence[torch.Tensor], models: Sequence[Weights]) -> torch.Tensor:
    """Return a tensor that is no number to average (integers, truth values, 8-bit floats), the same in all models."""
    for tensor, model in zip(tensors, models, strict=True):
        if tensor.dtype != tensors[0].dtype or not torch.equal(_bytes(tensor), _bytes(tensors[0])):
            raise LightR1Error(
                f"{name} ({tensor.dtype}) differs in {models[0].model} and {model.model}, and only floating-point "
                "tensors of 16 bits or more can be averaged"
            )
    return tensors[0]


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.flatten().view(torch.uint8)
