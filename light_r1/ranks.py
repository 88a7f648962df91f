"""The processes of a run: who am I, wait for the others, agree with rank 0.

Rank 0 decides and everyone obeys: ranks that each look at a network disk can see different things.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, TypeVar

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those of the run.

    Args:
        index: Number of this process, from 0.
        count: Number of processes.
        real: Whether the others are there. A plan only imagines them, and asks nobody.
    """

    index: int = 0
    count: int = 1
    real: bool = True

    @property
    def is_main(self) -> bool:
        """Whether this is the process that decides and writes."""
        return self.index == 0

    def barrier(self) -> None:
        """Wait until every process has come here."""
        if self.count > 1 and self.real:
            import torch.distributed as dist

            dist.barrier()

    def agree(self, value: Value) -> Value:
        """Return rank 0's value on every rank."""
        if self.count == 1 or not self.real:
            return value
        import torch.distributed as dist

        box: list[Any] = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]


def current_ranks() -> Ranks:
    """Return this process's place, from the environment that `torchrun` and `accelerate launch` set.

    With several processes the process group is opened (NCCL with GPUs, Gloo without).
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count > 1:
        import torch
        from accelerate import PartialState

        PartialState(cpu=not torch.cuda.is_available())
    return Ranks(int(os.environ.get("RANK", "0")), count)
