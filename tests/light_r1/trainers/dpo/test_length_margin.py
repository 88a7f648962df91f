"""A margin that is length is told from one that is not."""

from __future__ import annotations

import logging
import random
import statistics

import pytest
import torch

from light_r1.trainers.dpo.length_margin import LengthWatch


def watch(pairs, **options) -> LengthWatch:
    made = LengthWatch(**options)
    longer, margins = torch.tensor(pairs, dtype=torch.float32).T
    made.add(longer, margins)
    return made


def drawn(share: float, count: int = 200) -> list[tuple[float, float]]:
    rng = random.Random(0)
    lengths = [rng.gauss(30, 100) for _ in range(count)]
    return [(length, share * length / 100 + (1 - share) * rng.gauss(0, 1)) for length in lengths]


def test_the_correlation_is_pearsons():
    pairs = drawn(0.4)
    expected = statistics.correlation(*zip(*pairs, strict=True))
    assert watch(pairs).correlation() == pytest.approx(expected, abs=1e-5)
    assert watch(pairs, window=50).correlation() == pytest.approx(
        statistics.correlation(*zip(*pairs[-50:], strict=True)), abs=1e-5
    )


@pytest.mark.parametrize(("sign", "which"), [(1, "longer"), (-1, "shorter")])
def test_a_margin_of_length_is_warned_of_once(caplog, sign, which):
    made = watch([(length, sign * margin) for length, margin in drawn(0.8)])
    with caplog.at_level(logging.WARNING):
        first, again = made.metrics(), made.metrics()
    assert first == again and sign * first["lengths/margin_correlation"] > 0.9
    (record,) = caplog.records
    assert f"The {which} response of a pair gains" in record.getMessage()


def test_other_margins_are_not_warned_of(caplog):
    assert abs(watch(drawn(0.1)).metrics()["lengths/margin_correlation"]) < 0.4
    assert not caplog.records


def test_few_pairs_equal_lengths_and_margins_that_are_rounding_say_nothing():
    assert watch(drawn(0.8, count=31)).metrics() == {}
    assert watch([(5, i) for i in range(40)]).metrics() == {}
    assert watch([(i, 1e-6 * i) for i in range(40)]).metrics() == {}
