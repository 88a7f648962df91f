"""Pairs of near vectors, exact, by blocked matrix products.

The search multiplies blocks of the upper triangle in bfloat16 where the processor does that natively and
computes what lies near the threshold again in float32, so its result is that of float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

Vectors = np.ndarray[Any, np.dtype[np.float32]]
Indices = np.ndarray[Any, np.dtype[np.integer[Any]]]

_BLOCK = 4096
_BF16_ERROR = 0.01  # of a dot product of unit vectors whose entries are rounded to 8 bits; twice the largest seen


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of rows.

    Args:
        left: Smaller row number of each pair, shape (pairs,).
        right: Larger row number of each pair, shape (pairs,).
        cosine: Their cosine, shape (pairs,).
    """

    left: Indices
    right: Indices
    cosine: Vectors

    def __len__(self) -> int:
        return len(self.left)

    def __iter__(self) -> Iterator[tuple[int, int, float]]:
        return zip(self.left.tolist(), self.right.tolist(), self.cosine.tolist(), strict=True)


def similar_pairs(vectors: Vectors, threshold: float) -> Pairs:
    """Return all pairs of rows whose cosine reaches a threshold.

    Args:
        vectors: Unit vectors, shape (rows, dimension).
        threshold: Least cosine.

    Returns:
        The pairs, each once, in order of row numbers.
    """
    fast = threshold > 2 * _BF16_ERROR and _bf16_pays(len(vectors))
    blocks = _bf16_blocks if fast else _float_blocks
    lefts, rights, cosines = [], [], []
    for left, right in blocks(vectors, threshold):
        for start in range(0, len(left), 1 << 20):  # bounds the two gathered copies
            a, b = left[start : start + (1 << 20)], right[start : start + (1 << 20)]
            cosine = np.einsum("ij,ij->i", vectors[a], vectors[b])
            sure = cosine >= threshold
            lefts.append(a[sure])
            rights.append(b[sure])
            cosines.append(cosine[sure])
    if not lefts:
        return Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))
    left, right, cosine = np.concatenate(lefts), np.concatenate(rights), np.concatenate(cosines)
    order = np.lexsort((right, left))
    return Pairs(left[order], right[order], cosine[order])


def _tiles(rows: int) -> Iterator[tuple[int, int]]:
    for top in range(0, rows, _BLOCK):
        for start in range(top, rows, _BLOCK):
            yield top, start


def _float_blocks(vectors: Vectors, threshold: float) -> Iterator[tuple[Indices, Indices]]:
    for top, start in _tiles(len(vectors)):
        tile = vectors[top : top + _BLOCK] @ vectors[start : start + _BLOCK].T
        row, column = np.nonzero(tile >= threshold - 1e-5)
        yield _above_diagonal(row, column, top, start)


def _bf16_pays(rows: int) -> bool:
    if rows < _BLOCK:  # not worth importing torch
        return False
    import torch

    return torch.ops.mkldnn._is_mkldnn_bf16_supported()


def _bf16_blocks(vectors: Vectors, threshold: float) -> Iterator[tuple[Indices, Indices]]:
    import torch

    halves = torch.from_numpy(vectors).to(torch.bfloat16)
    # The bits of positive floats are ordered like integers, which are compared ten times as fast.
    limit = torch.tensor(threshold - _BF16_ERROR).to(torch.bfloat16).view(torch.int16).item() - 1
    for top, start in _tiles(len(vectors)):
        tile = halves[top : top + _BLOCK] @ halves[start : start + _BLOCK].T
        bits = tile.view(torch.int16).numpy()
        hit = np.nonzero(bits.max(axis=1) >= limit)[0]
        row, column = np.nonzero(bits[hit] >= limit)
        yield _above_diagonal(hit[row], column, top, start)


def _above_diagonal(rows: Indices, columns: Indices, top: int, start: int) -> tuple[Indices, Indices]:
    left, right = rows + top, columns + start
    upper = left < right
    return left[upper], right[upper]
