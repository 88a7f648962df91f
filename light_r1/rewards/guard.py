"""Guard a reward function: one that raises or exceeds its deadline costs its completions, not the run.

A batch is first given whole, as rewards may compare its completions. If that raises or takes too long, its completions
are asked for one at a time, at once, and each that fails again has no reward. Python cannot kill a thread: one that
hangs is left behind, and counted.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any

from light_r1.errors import LightR1Error, StageError

Answer = tuple[int, Sequence[float | None] | Exception]


class GuardedReward:
    """A reward function whose failures are `None` for the completion they concern.

    Args:
        reward: A reward as TRL takes it, plain or `async`.
        deadline_s: Seconds for a whole batch, and again for asking one at a time; `None` waits for ever, and runs the
            reward in the calling thread.

    Attributes:
        failures: Reason -> completions that it left without a reward.
        seconds: Time spent in the reward so far.
    """

    def __init__(self, reward: Callable[..., Any], *, deadline_s: float | None = None) -> None:
        self.reward = reward
        self.deadline_s = deadline_s
        self.failures: Counter[str] = Counter()
        self.seconds = 0.0
        self.__name__: str = reward.__name__ if inspect.isfunction(reward) else type(reward).__name__

    def __call__(self, **columns: Any) -> list[float | None]:
        """Return the rewards of a batch.

        Raises:
            LightR1Error: The reward returned another number of values than there are completions: a mistake in it,
                not in the completions.
        """
        start = monotonic()
        rewards = self._judged(columns, len(columns["completions"]))
        self.seconds += monotonic() - start
        return rewards

    def _judged(self, columns: Mapping[str, Any], size: int) -> list[float | None]:
        whole = self._ask([columns])[0]
        if not isinstance(whole, Exception):
            if len(whole) != size:
                raise LightR1Error(f"{self.__name__} returned {len(whole)} rewards for {size} completions")
            return list(whole)
        rows = [_row(columns, index, size) for index in range(size)]
        rewards: list[float | None] = []
        for answer in self._ask(rows):
            if isinstance(answer, Exception):
                self.failures[f"{self.__name__}: {type(answer).__name__}: {answer}"[:200]] += 1
                rewards.append(None)
            else:
                rewards.append(answer[0])
        return rewards

    def _ask(self, batches: Sequence[Mapping[str, Any]]) -> list[Sequence[float | None] | Exception]:
        """Return the rewards of each batch, or what went wrong with it."""
        if self.deadline_s is None:
            return [self._answer(batch) for batch in batches]
        answers: SimpleQueue[Answer] = SimpleQueue()

        def work(index: int, batch: Mapping[str, Any]) -> None:
            answers.put((index, self._answer(batch)))

        for index, batch in enumerate(batches):
            threading.Thread(target=work, args=(index, batch), daemon=True, name=self.__name__).start()
        late = TimeoutError(f"no reward within {self.deadline_s:g} s")
        outcomes: list[Sequence[float | None] | Exception] = [late] * len(batches)
        end = monotonic() + self.deadline_s
        for _ in batches:
            try:
                index, answer = answers.get(timeout=max(0.0, end - monotonic()))
            except Empty:
                return outcomes
            outcomes[index] = answer
        return outcomes

    def _answer(self, batch: Mapping[str, Any]) -> Sequence[float | None] | Exception:
        try:
            result = self.reward(**batch)
            return asyncio.run(result) if inspect.iscoroutine(result) else result
        except Exception as error:
            return error


def _row(columns: Mapping[str, Any], index: int, size: int) -> dict[str, Any]:
    """Return the columns of one completion; what is not a column stays as it is."""
    return {
        name: [value[index]] if isinstance(value, list) and len(value) == size else value
        for name, value in columns.items()
    }


def stop_without_rewards(
    rewards: Sequence[Sequence[float | None]], failures: Mapping[str, int], *, where: str = "this batch"
) -> None:
    """Stop a run whose batch has no reward at all: training would go on with zeros.

    Args:
        rewards: For each reward function its values.
        failures: Reason -> count: those of `GuardedReward.failures` and `Judge.reasons`.
        where: Which batch, for the message.

    Raises:
        StageError: Every value of every reward is `None` or NaN.
    """
    if any(value is not None and value == value for values in rewards for value in values):
        return
    reasons = "; ".join(f"{reason} ({count})" for reason, count in Counter(failures).most_common(5))
    raise StageError(
        f"no completion of {where} got a reward, so there is nothing to learn from. "
        f"Reasons so far: {reasons or 'none; every reward returned None, as accuracy does without an answer'}."
    )
