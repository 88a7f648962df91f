import numpy as np
import pytest

from data_tools.problems import search
from data_tools.problems.search import similar_pairs


def vectors(rows, dimension=32, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((rows // 4, dimension))
    found = centres[rng.integers(0, len(centres), rows)] + 0.5 * rng.standard_normal((rows, dimension))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def by_hand(found, threshold):
    cosine = found.astype(np.float64) @ found.T.astype(np.float64)
    return {(i, j) for i, j in zip(*np.nonzero(cosine >= threshold), strict=True) if i < j}


@pytest.mark.parametrize("threshold", [0.8, 0.3, 0.0, -0.2])
@pytest.mark.parametrize("native", [False, True])
def test_all_pairs_are_found_across_blocks(monkeypatch, native, threshold):
    monkeypatch.setattr(search, "_BLOCK", 64)
    monkeypatch.setattr(search, "_bf16_pays", lambda rows: native)
    found = vectors(300)
    pairs = similar_pairs(found, threshold)
    assert {(i, j) for i, j, _ in pairs} == by_hand(found, threshold)
    assert len(pairs) > 100
    assert list(pairs) == sorted(pairs)
    for i, j, cosine in pairs:
        assert cosine == pytest.approx(float(found[i] @ found[j]), abs=1e-5)


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_few_rows(rows):
    found = np.eye(8, dtype=np.float32)[:rows]
    assert len(similar_pairs(found, 0.5)) == 0
