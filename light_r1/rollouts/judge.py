r"""Grade responses against gold answers in a pool of verifier processes.

The part behind the thought is graded. A pair that takes too long costs its worker process, not the step. Equal pairs
are graded once, since several rewards of a step ask for the same verdicts. Workers are forked: a killed one is
replaced in milliseconds, and scripts need no `if __name__ == "__main__"`; they only run the verifier, never CUDA.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Sequence
from functools import cache
from weakref import WeakSet

from data_tools.answers.verifier_pool import VerifierPool
from data_tools.answers.verify import Verdict, verify
from data_tools.traces.thoughts import THINK_TAGS, behind_thought
from light_r1.models.chat import checked_tags

Gold = str | list[str]

_UNCLOSED = Verdict(correct=False, outcome="wrong", reason="the thought was not closed")
_REMEMBERED = 8192
_judges: WeakSet[Judge] = WeakSet()


def judge(response: str, gold: Gold, think_tokens: Sequence[str] = THINK_TAGS) -> Verdict:
    """Verify one response in this process, without a deadline."""
    answer = behind_thought(response, think_tokens)
    return _UNCLOSED if answer is None else verify(answer, gold, with_thought=False)


class Judge:
    """Verifies batches of responses in worker processes.

    Args:
        workers: Number of processes; started at the first batch.
        deadline_s: Seconds one response may take.
        think_tokens: Opening and closing tag of the thought, as `behind_thought` takes them; empty for none.

    Attributes:
        reasons: How often which reason left a response without a verdict.
        seconds: Time spent in `verdicts` so far.
        asked: Responses judged so far.
    """

    def __init__(self, *, workers: int = 2, deadline_s: float = 2.0, think_tokens: Sequence[str] = THINK_TAGS) -> None:
        self.workers = workers
        self.deadline_s = deadline_s
        self.think_tokens = checked_tags(think_tokens)
        self.reasons: Counter[str] = Counter()
        self.seconds = 0.0
        self.asked = 0
        self._pool: VerifierPool | None = None
        self._owner = 0
        self._known: dict[tuple[str, str], Verdict] = {}
        self._lock = threading.Lock()
        _judges.add(self)

    def verdicts(self, responses: Sequence[str], golds: Sequence[Gold]) -> list[Verdict]:
        """Return one verdict for each response, in order; `timeout` for those that took too long.

        Raises:
            DataToolsError: The verifier fails on pairs it must get right, or there are too few golds.
        """
        start = time.perf_counter()
        with self._lock:
            verdicts = self._verdicts(responses, golds)
        self.seconds += time.perf_counter() - start
        self.asked += len(verdicts)
        self.reasons.update(verdict.reason for verdict in verdicts if verdict.outcome == "timeout")
        return verdicts

    def _verdicts(self, responses: Sequence[str], golds: Sequence[Gold]) -> list[Verdict]:
        answers = [behind_thought(response, self.think_tokens) for response in responses]
        keys = [(answer or "", repr(gold)) for answer, gold in zip(answers, golds, strict=True)]
        new = {
            key: (answer, gold)
            for key, answer, gold in zip(keys, answers, golds, strict=True)
            if answer is not None and key not in self._known
        }
        fresh: dict[tuple[str, str], Verdict] = {}
        if new:
            asked_responses, asked_golds = zip(*new.values(), strict=True)
            fresh = dict(zip(new, self._running_pool().verify_batch(asked_responses, asked_golds), strict=True))
        graded = [
            _UNCLOSED if answer is None else fresh.get(key) or self._known[key]
            for key, answer in zip(keys, answers, strict=True)
        ]
        if len(self._known) > _REMEMBERED:
            self._known.clear()
        self._known.update({key: verdict for key, verdict in fresh.items() if verdict.outcome != "timeout"})
        return graded

    def _running_pool(self) -> VerifierPool:
        if self._pool is None or self._owner != os.getpid():  # a forked process cannot use its parent's pipes
            self._pool = VerifierPool(self.workers, self.deadline_s, start_method="fork", with_thought=False)
            self._owner = os.getpid()
        return self._pool

    def close(self) -> None:
        """End the worker processes."""
        if self._pool is not None and self._owner == os.getpid():
            self._pool.close()
        self._pool = None


def time_outs() -> Counter[str]:
    """Return how often which reason left a response without a verdict, over all judges of this process."""
    return sum((judge.reasons for judge in _judges), Counter())


@cache
def shared_judge(think_tokens: tuple[str, ...]) -> Judge:
    """Return the judge of these tags that the whole process shares."""
    return Judge(workers=max(1, min(4, (os.cpu_count() or 2) - 1)), think_tokens=think_tokens)
