"""Whole groups for rewards that compare the completions of a group, on any number of processes.

TRL judges on each process what it has sampled there: a group that spreads over processes would be compared in parts. A
group is what TRL takes the advantages over: `num_generations` consecutive completions of the gathered batch. The
process that holds its first completion judges it, once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from accelerate.utils import gather_object

from light_r1.rewards.group import ExtraColumns

if TYPE_CHECKING:
    from light_r1.rewards.guard import GuardedReward
    from light_r1.trainers.grpo.interface import StagedTrainer


class WholeGroups:
    """A reward of whole groups, as TRL calls it; every process must call it at the same time.

    Args:
        guard: The guarded `GroupReward`.
        trainer: Whose completions are judged.
    """

    def __init__(self, guard: GuardedReward, trainer: StagedTrainer) -> None:
        self.guard = guard
        self.trainer = trainer
        self.__name__ = guard.__name__

    def __call__(self, **columns: Any) -> list[float | None]:
        """Return the rewards of this process's completions."""
        trainer, size = self.trainer, len(columns["completions"])
        each = trainer.num_generations if trainer.model.training else trainer.num_generations_eval
        if size % each == 0:  # so it is on every process, and no group spreads over two
            return self.guard(**columns, group_size=each)
        by_row = {name: value for name, value in columns.items() if isinstance(value, list) and len(value) == size}
        rows = gather_object([dict(zip(by_row, values, strict=True)) for values in zip(*by_row.values(), strict=True)])
        first = trainer.accelerator.process_index * size
        starts = [start for start in range(0, len(rows), each) if first <= start < first + size]
        mine = rows[starts[0] : starts[-1] + each] if starts else []
        logged = ExtraColumns()
        rewards: list[float | None] = []
        if mine:
            whole = {name: [row[name] for row in mine] for name in by_row}
            rewards = self.guard(**{**columns, **whole, "log_extra": logged.log}, group_size=each)
        extras = [{name: values[index] for name, values in logged.items()} for index in range(len(mine))]
        judged = gather_object(list(zip(rewards, extras, strict=True)))[first : first + size]
        for name in sorted({name for _, extra in judged for name in extra}):
            columns["log_extra"](name, [extra.get(name) for _, extra in judged])
        return [reward for reward, _ in judged]
