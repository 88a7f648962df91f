"""The batch of a step is of the size that was asked for, or the numbers that would do are told."""

from __future__ import annotations

import itertools

import pytest

from light_r1.batch import Batch, batch_of, ways_to_split
from light_r1.errors import StageError

SIZES = (1, 2, 7, 8, 24, 32, 72, 96, 128, 1024)
SPLITS = list(itertools.product((1, 2, 3, 6, 16), (1, 2, 3, 8, 96)))


def split(size, per_device, processes, **others):
    return batch_of(size, per_device=per_device, accumulation=None, processes=processes, **others)


@pytest.mark.parametrize("size", SIZES)
def test_a_batch_is_of_its_size_on_any_number_of_processes_or_refused(size):
    for per_device, processes in SPLITS:
        if size % (per_device * processes) == 0:
            batch = split(size, per_device, processes)
            assert (batch.size, batch.per_device, batch.processes) == (size, per_device, processes)
        else:
            with pytest.raises(
                StageError, match=f"global_batch_size: {size} is no multiple of {per_device * processes} "
            ):
                split(size, per_device, processes)


@pytest.mark.parametrize("group", [1, 6, 8])
@pytest.mark.parametrize("size", [24, 72, 96, 1008])
def test_every_number_that_a_refusal_names_would_do_and_none_is_missing_nearby(size, group):
    for per_device, processes in SPLITS:
        ways = ways_to_split(size, per_device, processes, group=group)
        for other in ways.per_device:
            assert split(size, other, processes).size == size
            assert other <= per_device, "what is larger may not fit into memory"
        for other in ways.processes:
            assert split(size, per_device, other).size == size
        for other in ways.sizes:
            assert split(other, per_device, processes).size == other
            assert other % group == 0
        if not ways.per_device:
            assert all(size % (smaller * processes) for smaller in range(1, per_device + 1))
        if not ways.processes:
            assert size % per_device
        between = range(min(ways.sizes) + 1, max(ways.sizes)) if len(ways.sizes) > 1 else range(1, ways.sizes[0])
        assert not [n for n in between if n % (per_device * processes) == 0 and n % group == 0]


def test_a_refusal_reads_as_a_sentence():
    with pytest.raises(StageError) as caught:
        split(72, 6, 8, group=6)
    assert str(caught.value) == (
        "global_batch_size: 72 is no multiple of 48 = per_device_train_batch_size 6 x 8 processes. It would be with "
        "per_device_train_batch_size 1 or 3, or with 2, 3, 4, 6 or 12 processes, or with global_batch_size 48 or 96"
    )


def test_without_a_size_the_accumulation_counts_and_beside_one_another_is_refused():
    assert batch_of(None, per_device=2, accumulation=None, processes=8) == Batch(8, 2, 1)
    assert batch_of(None, per_device=2, accumulation=5, processes=8) == Batch(8, 2, 5)
    assert batch_of(96, per_device=2, accumulation=6, processes=8) == Batch(8, 2, 6), "the same said twice"
    for other in (1, 5):
        with pytest.raises(StageError, match=f"gradient_accumulation_steps: {other} beside global_batch_size 96"):
            batch_of(96, per_device=2, accumulation=other, processes=8)


@pytest.mark.parametrize(("size", "per_device"), [(0, 1), (-8, 1), (8, 0)])
def test_no_batch_is_made_of_nothing(size, per_device):
    with pytest.raises(StageError, match="must be at least 1"):
        split(size, per_device, 1)


def test_batch_is_the_product_and_says_so():
    assert Batch(12 * 8, 1, 1).size == 96
    assert str(Batch(2, 4, 3)) == "24 = 2 processes x 4 per device x 3 accumulation steps"
    assert str(Batch(1, 4, 1)) == "4 = 1 process x 4 per device x 1 accumulation step"
