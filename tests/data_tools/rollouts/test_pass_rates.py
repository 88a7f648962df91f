"""Pass rates, their intervals and the window that decides."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_tools.errors import DataToolsError
from data_tools.rollouts.pass_rates import Window, count_correct, published_rate, store_counts, wilson_interval
from data_tools.rollouts.store import RolloutStore


def wilson_by_hand(k, n, z):
    """The two roots of |p - k/n| = z sqrt(p (1 - p) / n)."""
    a, b, c = 1 + z * z / n, -(2 * k / n + z * z / n), (k / n) ** 2
    root = math.sqrt(max(0.0, b * b - 4 * a * c))
    return (-b - root) / (2 * a), (-b + root) / (2 * a)


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_solves_its_equation(counts):
    low, high = wilson_interval(*counts)
    assert (low, high) == pytest.approx(wilson_by_hand(*counts, 1.959963984540054), abs=1e-9)
    assert 0 <= low <= counts[0] / counts[1] <= high <= 1


def test_one_of_two_is_not_fifty_of_a_hundred():
    wide, narrow = wilson_interval(1, 2), wilson_interval(50, 100)
    assert wide[0] < 0.1 and wide[1] > 0.9
    assert narrow[0] > 0.4 and narrow[1] < 0.6


@pytest.mark.parametrize(
    ("window", "rate", "reason"),
    [
        (Window(0.25, 0.625), 0.25, None),
        (Window(0.25, 0.625, low_inclusive=False), 0.25, "too_hard"),
        (Window(0.25, 0.625), 0.625, None),
        (Window(0.25, 0.625, high_inclusive=False), 0.625, "too_easy"),
        (Window(0.25, 0.625), 0.2499, "too_hard"),
        (Window(0.25, 0.625), 0.6251, "too_easy"),
        (Window(mixed=True), 0.0, "all_wrong"),
        (Window(mixed=True), 1.0, "all_right"),
        (Window(mixed=True), 0.01, None),
        (Window(), 0.0, None),
    ],
)
def test_bounds_belong_to_the_window_or_not(window, rate, reason):
    assert window.reason(rate) == reason


def test_a_window_must_be_one():
    with pytest.raises(DataToolsError, match=r"0 <= min <= max <= 1, found 0\.5 and 0\.2"):
        Window(0.5, 0.2)


@pytest.mark.parametrize(
    ("counts", "overlaps", "inside"),
    [((1, 2), None, "uncertain"), ((50, 100), None, None), ((0, 50), "too_hard", "too_hard"),
     ((98, 100), "too_easy", "too_easy"), ((35, 100), None, "uncertain")],
)  # fmt: skip
def test_an_interval_can_decide(counts, overlaps, inside):
    window, bounds = Window(0.3, 0.7), wilson_interval(*counts)
    rate = counts[0] / counts[1]
    assert window.interval_reason(rate, bounds, interval="overlaps") == overlaps
    assert window.interval_reason(rate, bounds, interval="inside") == inside
    assert window.interval_reason(rate, bounds, interval="point") == window.reason(rate)


@pytest.mark.parametrize(
    ("row", "counts"),
    [
        ({"responses": [{"correct": True}, {"correct": None}, {"correct": False}]}, (1, 2)),
        ({"rollouts": [{"correct": 1}]}, (1, 1)),
        ({"responses": [{"text": "unjudged"}], "n_correct": 2, "n": 4}, (2, 4)),
        ({"n_correct": 0, "n": 0}, (0, 0)),
        ({"n_correct": 3, "sample_n": 8}, (3, 8)),
        ({"problem": "x"}, None),
    ],
)
def test_counts_are_taken_from_what_a_row_carries(row, counts):
    assert count_correct(row) == counts


def test_numbers_that_are_no_counts_are_refused():
    with pytest.raises(DataToolsError, match="n_correct 5 and n 4"):
        count_correct({"n_correct": 5, "n": 4})


@pytest.mark.parametrize(
    ("value", "found"), [(0.25, (0.25, None)), ("3/8", (0.375, (3, 8))), (1, (1.0, None)), (None, (None, None))]
)
def test_published_rates_are_read(value, found):
    assert published_rate({"r": value}, "r") == found


@pytest.mark.parametrize("value", [1.5, "9/8", "0/0", "half", True])
def test_published_nonsense_is_refused(value):
    with pytest.raises(DataToolsError, match="holds no pass rate"):
        published_rate({"r": value}, "r")


def test_a_store_is_counted_by_prompt_and_model(tmp_path):
    store = RolloutStore(tmp_path / "r.jsonl")
    store.append(
        {"prompt_id": p, "sample_index": i, "model": m, "correct": c}
        for p, i, m, c in [("a", 0, "x", True), ("a", 1, "x", False), ("a", 0, "y", True), ("b", 0, "x", None)]
    )
    assert store_counts(store.path) == {"a": (2, 3)}
    assert store_counts(store.path, model="x") == {"a": (1, 2)}
