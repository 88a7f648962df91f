"""The processes of a run: who am I, wait for the others, agree with rank 0.

Rank 0 decides and everyone obeys: ranks that each look at a network disk can see different things.
"""

from __future__ import annotations

import gc
import os
import sys
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

        # They take the default group of the moment of their import as the default of an argument, and would hold it
        # for ever (see leave_ranks).
        import torch.distributed.fsdp.sharded_grad_scaler
        import torch.distributed.nn
        import torch.distributed.optim
        from accelerate import PartialState

        PartialState(cpu=not torch.cuda.is_available())
    return Ranks(int(os.environ.get("RANK", "0")), count)


def leave_ranks() -> None:
    """Close the process group: the last thing a process does before it ends well.

    A thread of Gloo may still be letting go of the tensors of the last collective. Where the interpreter is shut down
    under it, it aborts the process, and `torchrun` calls a run failed that had finished. The threads end with the
    group, and the group with the last model that holds it, so the garbage goes first. After an error nothing is
    closed: the others may be waiting in a collective that will never end.
    """
    dist = sys.modules.get("torch.distributed")  # a run that finds everything done has not imported torch
    if dist is not None and dist.is_available() and dist.is_initialized():
        gc.collect()
        dist.destroy_process_group()
