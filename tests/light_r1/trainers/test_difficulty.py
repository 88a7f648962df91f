from __future__ import annotations

from light_r1.trainers.difficulty import DifficultyBuckets


def test_few_values_get_a_bucket_each():
    buckets = DifficultyBuckets([1, 2, 2, 5])
    assert buckets.names == ["1", "2", "5"]
    assert [buckets.index(value) for value in (1, 2, 5, 0, 9)] == [0, 1, 2, 0, 2]


def test_many_values_are_cut_into_quartiles():
    buckets = DifficultyBuckets([i / 100 for i in range(100)])
    assert buckets.names == ["0-0.25", "0.25-0.5", "0.5-0.75", "0.75-up"]
    counts = [0] * 4
    for i in range(100):
        counts[buckets.index(i / 100)] += 1
    assert counts == [25, 25, 25, 25]
