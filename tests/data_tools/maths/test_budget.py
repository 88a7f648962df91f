"""Work is counted per thread, long numbers by their length."""

from __future__ import annotations

import threading

import pytest

from data_tools.maths.budget import MAX_STEPS, Exhausted, TooLarge, renew_budget, spend, spend_bits


def test_the_budget_ends_and_is_renewed():
    renew_budget()
    spend(MAX_STEPS)
    with pytest.raises(Exhausted):
        spend(1)
    renew_budget()
    spend(1)
    assert issubclass(Exhausted, TooLarge)


def test_threads_do_not_share_it():
    renew_budget()
    spend(MAX_STEPS)
    done = []
    thread = threading.Thread(target=lambda: (spend(MAX_STEPS), done.append(True)))
    thread.start()
    thread.join()
    assert done == [True]
    renew_budget()


def test_long_fractions_cost_more_than_long_integers():
    def affordable(bits, fraction):
        renew_budget()
        count = 0
        try:
            while count < 10_000:
                spend_bits(bits, fraction=fraction)
                count += 1
        except Exhausted:
            pass
        renew_budget()
        return count

    assert affordable(100, True) == 10_000
    assert affordable(100_000, True) < affordable(100_000, False) < 10_000
