"""The pool keeps its deadline, survives dead and hanging workers, and refuses a broken verifier."""

from __future__ import annotations

import os
import signal
import time

import pytest

from data_tools.answers import verifier_pool as workers
from data_tools.answers.verifier_pool import KNOWN_PAIRS, VerifierPool
from data_tools.answers.verify import Verdict, verify
from data_tools.errors import DataToolsError


def slow_verify(prediction, gold, **options):
    """Stand in for a verifier that hangs on one prediction; only `fork` carries it into the workers."""
    if prediction == "hang":
        time.sleep(600)
    if prediction == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    return verify(prediction, gold, **options)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_verdicts_come_in_order_and_equal_those_of_verify(method):
    predictions = [f"\\boxed{{{n}}}" for n in range(40)]
    golds = [str(n - n % 2) for n in range(40)]
    with VerifierPool(2, 20.0, method) as pool:
        assert pool.verify_batch(predictions, golds) == [verify(p, g) for p, g in zip(predictions, golds, strict=True)]
        assert pool.verify_batch([], []) == []


def test_a_hanging_worker_is_killed_and_replaced(monkeypatch):
    monkeypatch.setattr(workers, "verify", slow_verify)
    with VerifierPool(2, 1.0, "fork") as pool:
        verdicts = pool.verify_batch(["hang", "\\boxed{1}", "\\boxed{2}", "hang"], ["1", "1", "1", "1"])
        assert [verdict.outcome for verdict in verdicts] == ["timeout", "right", "wrong", "timeout"]
        assert pool.killed == 2
        assert pool.verify_batch(["5"], ["5"])[0].correct


def test_a_worker_that_dies_costs_one_verdict(monkeypatch):
    monkeypatch.setattr(workers, "verify", slow_verify)
    with VerifierPool(1, 20.0, "fork") as pool:
        verdicts = pool.verify_batch(["die", "1"], ["1", "1"])
        assert verdicts[0] == Verdict(False, "unparsable", "the verifier process died")
        assert verdicts[1].correct


def test_a_verifier_that_calls_everything_right_is_refused(monkeypatch):
    monkeypatch.setattr(workers, "verify", lambda prediction, gold, **_: Verdict(True, "right", "always"))
    with pytest.raises(DataToolsError, match="pairs it must get right"):
        VerifierPool(1, 20.0, "fork")


def test_lengths_must_match():
    with VerifierPool(1, 20.0, "fork") as pool, pytest.raises(DataToolsError, match="2 predictions but 1 golds"):
        pool.verify_batch(["1", "2"], ["1"])


def test_there_are_twenty_known_pairs_of_both_kinds():
    assert len(KNOWN_PAIRS) == 20
    assert {right for _, _, right in KNOWN_PAIRS} == {True, False}


def test_closing_ends_the_processes():
    pool = VerifierPool(2, 20.0, "fork")
    processes = [worker.process for worker in pool._workers]
    pool.close()
    assert not any(process.is_alive() for process in processes)


def test_predictions_whose_thought_was_cut_off_are_read_whole():
    with VerifierPool(1, 20.0, "fork", with_thought=False) as pool:
        assert pool.verify_batch(["\\boxed{4} </think> it is."], ["4"])[0].correct
    assert not verify("\\boxed{4} </think> it is.", "4").correct
