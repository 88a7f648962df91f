"""Guard a reward function: one that raises or exceeds its deadline costs its completions, not the run.

A batch is first given whole, as rewards may compare its completions. If that raises or takes too long, its completions
are asked for one at a time, at once, and each that fails again has no reward. A `GroupReward` is asked for each group,
and one that fails has no reward. Python cannot kill a thread: one that
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
from light_r1.rewards.group import ExtraColumns, GroupReward, rows_of

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
        named = inspect.isfunction(reward) or isinstance(reward, GroupReward)
        self.__name__: str = reward.__name__ if named else type(reward).__name__

    def __call__(self, **columns: Any) -> list[float | None]:
        """Return the rewards of a batch.

        Raises:
            LightR1Error: The reward returned another number of values than there are completions: a mistake in it,
                not in the completions.
        """
        start = monotonic()
        if isinstance(self.reward, GroupReward):
            rewards = self._judged_groups(self.reward, columns)
        else:
            rewards = self._judged(columns, len(columns["completions"]))
        self.seconds += monotonic() - start
        return rewards

    def _judged(self, columns: Mapping[str, Any], size: int) -> list[float | None]:
        whole = self._ask([columns])[0]
        if not isinstance(whole, Exception):
            return self._rewards(whole, size)
        rows = [rows_of(columns, index, index + 1, size) for index in range(size)]
        return [reward for answer in self._ask(rows) for reward in self._rewards(answer, 1)]

    def _judged_groups(self, reward: GroupReward, columns: Mapping[str, Any]) -> list[float | None]:
        groups = reward.groups(columns)
        logged = [ExtraColumns() for _ in groups]
        if "log_extra" in columns:  # takes one value for each completion of the batch
            groups = [{**group, "log_extra": kept.log} for group, kept in zip(groups, logged, strict=True)]
        answers = self._ask(groups)
        sizes = [len(group["completions"]) for group in groups]
        for name in dict.fromkeys(name for kept in logged for name in kept):
            values = [kept.get(name, [None] * each) for kept, each in zip(logged, sizes, strict=True)]
            columns["log_extra"](name, [value for part in values for value in part])
        parts = zip(answers, sizes, strict=True)
        return [value for answer, each in parts for value in self._rewards(answer, each)]

    def _rewards(self, answer: Sequence[float | None] | Exception, size: int) -> list[float | None]:
        """Return the rewards of completions that were asked for together, or count what went wrong."""
        if isinstance(answer, Exception):
            self.failures[f"{self.__name__}: {type(answer).__name__}: {answer}"[:200]] += size
            return [None] * size
        if len(answer) != size:
            raise LightR1Error(f"{self.__name__} returned {len(answer)} rewards for {size} completions")
        return list(answer)

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
            if isinstance(self.reward, GroupReward):
                return self.reward.of_group(**batch)
            result = self.reward(**batch)
            return asyncio.run(result) if inspect.iscoroutine(result) else result
        except Exception as error:
            return error


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
