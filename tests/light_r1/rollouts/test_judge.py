"""Batches of verdicts: the part that is graded, deadlines, and pairs that are asked for twice."""

from __future__ import annotations

import pytest

from light_r1.rollouts.judge import Judge, judge


@pytest.fixture(scope="module")
def quick():
    made = Judge(workers=1, deadline_s=5.0)
    yield made
    made.close()


def test_only_the_part_behind_the_thought_is_graded():
    assert not judge("<think>\\boxed{2}", "2").correct
    assert judge("thought</think>\\boxed{2}", "2").correct


def test_the_pool_agrees_with_one_process(quick):
    responses = ["<think>a</think>\\boxed{\\frac{1}{2}}", "\\boxed{3}", "<think>\\boxed{1}", "no idea, sorry"]
    golds = ["0.5", ["2", "3"], "1", "7"]
    assert quick.verdicts(responses, golds) == [judge(r, g) for r, g in zip(responses, golds, strict=True)]


def test_equal_pairs_are_asked_once(quick, monkeypatch):
    asked = []
    pool = quick._running_pool()
    real = pool.verify_batch
    monkeypatch.setattr(pool, "verify_batch", lambda p, g: asked.extend(p) or real(p, g))
    verdicts = quick.verdicts(["\\boxed{41}"] * 3 + ["\\boxed{42}"], ["42"] * 4)
    assert [v.correct for v in verdicts] == [False, False, False, True]
    assert quick.verdicts(["\\boxed{41}"], ["42"])[0].outcome == "wrong"
    assert asked == ["\\boxed{41}", "\\boxed{42}"]


def hangs(prediction, gold):
    import time

    time.sleep(60)


def test_a_pair_that_hangs_times_out_and_is_counted(monkeypatch):
    made = Judge(workers=1, deadline_s=5.0)
    made._running_pool()
    monkeypatch.setattr(
        "data_tools.answers.verifier_pool.verify", lambda p, g, **_: hangs(p, g) if "hang" in p else judge(p, g)
    )
    made._pool._replace(made._pool._workers[0])  # a worker forked now has the hanging verifier
    made._pool.deadline_s = 0.5
    verdicts = made.verdicts(["hang", "\\boxed{1}"], ["1", "1"])
    assert [v.outcome for v in verdicts] == ["timeout", "right"]
    assert sum(made.reasons.values()) == 1 and made.asked == 2 and made.seconds > 0.5
    assert made.verdicts(["\\boxed{1}"], ["1"])[0].correct
    made.close()
