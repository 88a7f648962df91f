"""Which prompts a run asks, in which order."""

from __future__ import annotations

import json
import random
from collections import Counter

import pytest

from light_r1.errors import LightR1Error
from light_r1.trainers.grpo.prompt_queue import PromptQueue, prompt_ids
from light_r1.trainers.grpo.window import PassRateWindow

IDS = [f"p{index}" for index in range(11)]


def test_every_pass_asks_each_prompt_once_in_an_order_of_its_own():
    queue, other = (PromptQueue(IDS[:9], shuffle=True, seed=seed) for seed in (3, 4))
    taken = [row for step in range(9) for row in queue.take(3, step)]
    passes = [taken[start : start + 9] for start in (0, 9, 18)]
    assert all(sorted(one) == list(range(9)) for one in passes)
    assert passes[0] != passes[1]
    assert taken != [row for step in range(9) for row in other.take(3, step)]


def test_a_batch_across_two_passes_holds_no_prompt_twice():
    queue = PromptQueue(IDS, shuffle=True, seed=3)
    batches = [queue.take(8, step) for step in range(20)]
    assert all(len(set(batch)) == 8 for batch in batches)


def test_an_unshuffled_queue_keeps_the_order_of_the_data():
    queue = PromptQueue(IDS, shuffle=False, seed=0)
    assert queue.take(4, 0) + queue.take(9, 1) == [*range(11), 0, 1]


def test_rows_asked_for_now_do_not_come_twice_and_the_data_may_run_out():
    queue = PromptQueue(IDS, shuffle=True, seed=0)
    first = queue.take(6, 0)
    more = queue.take(20, 0, without=first)
    assert sorted(first + more) == list(range(11))
    assert queue.take(5, 0, without=range(11)) == []


def test_prompts_outside_the_window_are_left_out_until_they_are_due():
    window = PassRateWindow(0.2, 0.8, priors={"p1": 1.0, "p3": 0.0, "p4": 0.5}, revisit_after=10)
    queue = PromptQueue(IDS[:6], shuffle=False, seed=0, window=window)
    assert queue.take(4, step=0) == [0, 2, 4, 5]
    assert queue.skipped == 2
    assert queue.take(4, step=10) == [0, 1, 2, 3]
    assert queue.skipped == 2


def test_a_batch_is_never_short_while_there_are_rows():
    window = PassRateWindow(0.2, 0.8, priors={name: 1.0 for name in IDS}, revisit_after=10)
    assert sorted(PromptQueue(IDS, shuffle=True, seed=0, window=window).take(11, 0)) == list(range(11))


def test_a_resumed_queue_goes_on_the_same():
    def made() -> PromptQueue:
        return PromptQueue(IDS, shuffle=True, seed=5, window=PassRateWindow(0.3, 0.7, revisit_after=4))

    queues = [made(), made()]
    rng = random.Random(0)
    for step in range(40):
        if step in (7, 23):
            state = json.loads(json.dumps(queues[1].state_dict()))
            queues[1] = made()
            queues[1].load_state_dict(state)
        taken = [queue.take(3, step) for queue in queues]
        assert taken[0] == taken[1]
        for row in taken[0]:
            right = rng.choice([0, 4, 8])
            for queue in queues:
                queue.window.update(IDS[row], right=right, sampled=8, step=step)
    assert queues[0].state_dict() == queues[1].state_dict()
    assert queues[0].skipped > 0


def test_a_state_of_other_prompts_is_refused():
    state = PromptQueue(IDS, shuffle=True, seed=0).state_dict()
    with pytest.raises(LightR1Error, match="other training prompts"):
        PromptQueue(IDS[:-1], shuffle=True, seed=0).load_state_dict(state)


def test_identities_are_unique_and_do_not_depend_on_the_order_of_others():
    ids = prompt_ids(["a", "b", "a", [{"role": "user", "content": "a"}]])
    assert max(Counter(ids).values()) == 1
    assert prompt_ids(["b", "a"]) == [ids[1], ids[0]]
    with pytest.raises(LightR1Error):
        PromptQueue(["a", "a"], shuffle=True, seed=0)
