"""Rewards that compare the completions of one prompt, such as Kimi's length reward.

TRL gives a reward what one process has sampled, which may be a part of a group, or several groups. `GroupReward` wraps
a function that is to see one whole group and no other.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any


class GroupReward:
    """A reward whose function is called with the columns of one whole group; also a decorator.

    `StagedGRPOTrainer` calls it for every `num_generations` completions that belong together, on any number of
    processes. Other trainers call it with what a process has; a group there is a run of rows with the same prompt.

    Args:
        reward: A reward as TRL takes it, plain or `async`.

    Example:
        >>> @GroupReward
        ... def shortest(completion_ids, **_):
        ...     least = min(map(len, completion_ids))
        ...     return [float(len(ids) == least) for ids in completion_ids]
    """

    def __init__(self, reward: Callable[..., Any]) -> None:
        self.reward = reward
        self.__name__: str = reward.__name__ if inspect.isfunction(reward) else type(reward).__name__

    def __call__(self, **columns: Any) -> list[float | None]:
        """Return the rewards of a batch; see `groups` for what is a group."""
        return [value for group in self.groups(columns) for value in self.of_group(**group)]

    def of_group(self, **columns: Any) -> list[float | None]:
        """Return the rewards of one group."""
        result = self.reward(**columns)
        return list(asyncio.run(result) if inspect.iscoroutine(result) else result)

    def groups(self, columns: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the columns of each group: of `group_size` completions, or with the same prompt if there is none."""
        columns = dict(columns)
        size, each = len(columns["completions"]), columns.pop("group_size", None)
        if each is not None:
            return [rows_of(columns, start, start + each, size) for start in range(0, size, each)]
        lengths = [len(list(run)) for _, run in groupby(columns["prompts"])]
        stops = [sum(lengths[: index + 1]) for index in range(len(lengths))]
        return [rows_of(columns, stop - length, stop, size) for stop, length in zip(stops, lengths, strict=True)]


def rows_of(columns: Mapping[str, Any], start: int, stop: int, size: int) -> dict[str, Any]:
    """Return the columns of some of `size` completions; what is not a column stays as it is."""
    return {
        name: value[start:stop] if isinstance(value, list) and len(value) == size else value
        for name, value in columns.items()
    }


class ExtraColumns(dict[str, list[Any]]):
    """What a reward gives to TRL's `log_extra`, kept until all that it is a part of has been judged."""

    def log(self, column: str, values: Sequence[Any]) -> None:
        """Do as TRL's `log_extra` does."""
        self.setdefault(column, []).extend(values)
