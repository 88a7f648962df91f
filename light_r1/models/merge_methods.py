"""Merging one tensor: linear, SLERP, TIES, DARE-TIES. Pure functions of tensors, computed in fp32."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch


def linear(tensors: Sequence[torch.Tensor], weights: Sequence[float], *, normalize: bool) -> torch.Tensor:
    """Return the weighted sum; divided by the sum of the weights with `normalize`."""
    total = sum(weights) if normalize else 1.0
    merged = torch.zeros_like(tensors[0], dtype=torch.float32)
    for tensor, weight in zip(tensors, weights, strict=True):
        merged += tensor.float() * (weight / total)
    return merged


def slerp(first: torch.Tensor, second: torch.Tensor, fraction: float) -> torch.Tensor:
    """Return the point that lies `fraction` of the way from first to second on the great circle through both.

    Each tensor is one vector. Where they are all but parallel the circle is not defined and the line is taken.
    """
    a, b = first.float().flatten(), second.float().flatten()
    norms = a.norm() * b.norm()
    cosine = (a @ b / norms).clamp(-1, 1) if norms > 0 else torch.tensor(1.0)
    if cosine.abs() > 0.9995:
        return torch.lerp(first.float(), second.float(), fraction)
    angle = torch.arccos(cosine)
    left, right = torch.sin((1 - fraction) * angle), torch.sin(fraction * angle)
    return ((left * a + right * b) / torch.sin(angle)).view_as(first)


def ties(
    base: torch.Tensor,
    tensors: Sequence[torch.Tensor],
    weights: Sequence[float],
    densities: Sequence[float],
    *,
    scale: float,
    normalize: bool,
) -> torch.Tensor:
    """Trim, elect signs, merge (Yadav et al. 2306.01708 §3), with weights, which the paper does not have.

    Args:
        base: What task vectors are taken against.
        tensors: One per model.
        weights: One per model.
        densities: Share of each task vector kept: its largest entries by magnitude.
        scale: Factor on the merged task vector.
        normalize: Divide each entry by the weights of the models that took part in it (the paper's disjoint mean).
    """
    trimmed = [trim(_task_vector(t, base), density) for t, density in zip(tensors, densities, strict=True)]
    return _elected(trimmed, weights, normalize=normalize).mul_(scale).add_(base)


def dare_ties(
    base: torch.Tensor,
    tensors: Sequence[torch.Tensor],
    weights: Sequence[float],
    densities: Sequence[float],
    *,
    scale: float,
    normalize: bool,
    key: str,
) -> torch.Tensor:
    """Drop entries of the task vectors at random, rescale the rest (Yu et al. 2311.03099 §3), then elect as in TIES.

    Args:
        base: See `ties`.
        tensors: See `ties`.
        weights: See `ties`.
        densities: Chance of each entry to be kept.
        scale: See `ties`.
        normalize: See `ties`.
        key: Seed and tensor name: the same entries are dropped in every run, whatever the order of the tensors.
    """
    kept = []
    for index, (tensor, density) in enumerate(zip(tensors, densities, strict=True)):
        seed = int.from_bytes(hashlib.sha256(f"{key}:{index}".encode()).digest()[:8], "little") >> 1
        draws = torch.rand(tensor.shape, generator=torch.Generator().manual_seed(seed))
        kept.append(_task_vector(tensor, base).mul_(draws < density).div_(density))
    return _elected(kept, weights, normalize=normalize).mul_(scale).add_(base)


def _task_vector(tensor: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
    return tensor.to(torch.float32, copy=True).sub_(base)


def trim(vector: torch.Tensor, density: float) -> torch.Tensor:
    """Keep the share `density` of the entries with the largest magnitude, at least one; zero the rest."""
    if density >= 1:
        return vector
    count = max(1, round(density * vector.numel()))
    magnitude = vector.abs().flatten()
    # numpy's selection takes a third to a half of the time of `topk`, and none of its 8 bytes an index.
    place = magnitude.numel() - count
    ordered = magnitude.numpy().copy()
    ordered.partition(place)
    bound = float(ordered[place])
    del ordered
    kept = magnitude > bound
    at_bound = (magnitude == bound).nonzero().flatten()
    kept[at_bound[: count - int(kept.sum())]] = True
    del magnitude
    return vector * kept.view_as(vector)


def _elected(vectors: Sequence[torch.Tensor], weights: Sequence[float], *, normalize: bool) -> torch.Tensor:
    """Sum the weighted entries that agree with the sign of their total; none does where that is zero (§3, sgn(0) = 0).

    A model of negative weight votes for, and counts with, the opposite of its task vector.
    """
    # In place wherever it can be: the embedding of a 32B model is 3 GB in fp32, and each copy counts.
    sign = torch.zeros_like(vectors[0])
    for vector, weight in zip(vectors, weights, strict=True):
        sign.add_(vector, alpha=weight)
    sign.sign_()
    merged, share = torch.zeros_like(sign), torch.zeros_like(sign)
    for vector, weight in zip(vectors, weights, strict=True):
        agrees = torch.sign(vector).mul_(sign).mul_(weight) > 0
        merged.add_(vector * agrees, alpha=weight)
        share.add_(agrees, alpha=weight)
    return merged.div_(share.masked_fill_(share == 0, 1.0)) if normalize else merged
