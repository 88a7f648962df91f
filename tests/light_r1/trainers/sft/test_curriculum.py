from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from light_r1.trainers.sft.curriculum import Curriculum, CurriculumSampler, pack_best_fit, pack_in_order

LENGTHS = st.lists(st.integers(1, 50), min_size=1, max_size=60)


@given(
    LENGTHS, st.sampled_from(["random", "by_difficulty", "staged"]), st.integers(0, 3), st.sampled_from([None, 2, 5])
)
def test_every_order_is_a_permutation(lengths, order, epoch, batch):
    difficulty = [float(length % 7) for length in lengths]
    rows = Curriculum(order).indices(difficulty, lengths, epoch=epoch, batch=batch)
    assert sorted(rows) == list(range(len(lengths)))


@given(LENGTHS)
def test_by_difficulty_never_goes_down(lengths):
    difficulty = [float(length % 7) for length in lengths]
    rows = Curriculum("by_difficulty").indices(difficulty, lengths, epoch=0, batch=4)
    assert [difficulty[row] for row in rows] == sorted(difficulty)


def test_staged_keeps_quantiles_apart_and_mixes_inside():
    difficulty = [float(i) for i in range(90)]
    rows = Curriculum("staged", stages=3).indices(difficulty, [1] * 90, epoch=0, batch=None)
    for stage in range(3):
        chunk = rows[30 * stage : 30 * (stage + 1)]
        assert sorted(chunk) == list(range(30 * stage, 30 * (stage + 1)))
        assert chunk != sorted(chunk)


def test_pacing_epochs_end_the_curriculum():
    curriculum = Curriculum("by_difficulty", pacing_epochs=1)
    difficulty = [float(i) for i in range(40)]
    assert curriculum.indices(difficulty, [1] * 40, epoch=0, batch=None) == list(range(40))
    assert curriculum.indices(difficulty, [1] * 40, epoch=1, batch=None) != list(range(40))


def test_same_seed_and_epoch_give_the_same_order_and_others_do_not():
    make = lambda seed, epoch: Curriculum(seed=seed).indices(None, [1] * 50, epoch=epoch, batch=None)  # noqa: E731
    assert make(1, 0) == make(1, 0)
    assert make(1, 0) != make(1, 1)
    assert make(1, 0) != make(2, 0)


def test_batches_hold_rows_of_like_length():
    lengths = [i % 100 + 1 for i in range(400)]

    def padding(rows):
        return sum(8 * max(lengths[row] for row in rows[i : i + 8]) for i in range(0, 400, 8))

    grouped = Curriculum().indices(None, lengths, epoch=0, batch=8)
    mixed = Curriculum().indices(None, lengths, epoch=0, batch=None)
    assert padding(grouped) < 1.1 * sum(lengths) < padding(mixed)


def test_order_without_difficulty_is_refused():
    with pytest.raises(ValueError, match="difficulty"):
        Curriculum("staged").indices(None, [1, 2], epoch=0, batch=None)


def test_sampler_asks_for_the_epoch_when_it_starts():
    epoch = 0
    sampler = CurriculumSampler(Curriculum(), None, [1] * 30, batch=None, epoch=lambda: epoch)
    first = list(sampler)
    epoch = 1
    assert list(sampler) != first
    assert len(sampler) == 30


@given(st.lists(st.integers(1, 10), max_size=50))
def test_packing_keeps_order_and_fits(lengths):
    groups = pack_in_order(lengths, 10)
    assert [row for group in groups for row in group] == list(range(len(lengths)))
    assert all(sum(lengths[row] for row in group) <= 10 for group in groups)
    for left, right in pairwise(groups):
        assert sum(lengths[row] for row in left) + lengths[right[0]] > 10, "the next row would have fitted"


@given(st.lists(st.integers(1, 10), max_size=50))
def test_best_fit_loses_no_row_and_leaves_no_two_groups_that_fit_together(lengths):
    groups = pack_best_fit(lengths, 10)
    assert sorted(row for group in groups for row in group) == list(range(len(lengths)))
    sums = sorted(sum(lengths[row] for row in group) for group in groups)
    assert all(total <= 10 for total in sums)
    assert len(sums) < 2 or sums[0] + sums[1] > 10


def test_best_fit_fills_better_than_order():
    rng = random.Random(0)
    lengths = [rng.randint(100, 2000) for _ in range(500)]
    least = -(-sum(lengths) // 4096)
    assert len(pack_best_fit(lengths, 4096)) <= 1.02 * least + 1 < len(pack_in_order(lengths, 4096))
