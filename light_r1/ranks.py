"""The processes of a distributed run: rank and world size, barrier, values from rank 0, its progress bar.

Rank 0 decides and everyone obeys: ranks that each look at a network disk can see different things.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from tqdm import tqdm

from light_r1.errors import EXPLAINED, StageError

Value = TypeVar("Value")
_LOG_INTERVAL_S = 20.0


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those of the run.

    Args:
        index: Number of this process, from 0.
        count: Number of processes.
    """

    index: int = 0
    count: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this is the process that decides and writes."""
        return self.index == 0

    def barrier(self) -> None:
        """Wait until every process has come here."""
        if self.count > 1:
            import torch.distributed as dist

            dist.barrier()

    def from_main(self, make: Callable[[], Value]) -> Value:
        """Return what `make` gives on rank 0, on every rank; what it raises there, every rank raises."""
        if self.count == 1:
            return make()
        import torch.distributed as dist

        box: list[Any] = [None, None]
        if self.is_main:
            try:
                box[0] = make()
            except EXPLAINED as error:
                box[1] = error
            except Exception as error:
                # It may not travel between processes; the others must not wait for it all the same.
                dist.broadcast_object_list([None, StageError(f"rank 0: {type(error).__name__}: {error}")], src=0)
                raise
        dist.broadcast_object_list(box, src=0)
        if box[1] is not None:
            raise box[1]
        return box[0]

    def bar(self, *, total: int, desc: str, unit: str, initial: int = 0) -> tqdm[Any]:
        """Return a progress bar that only rank 0 shows, refreshed often on a terminal and every 20 s in a file.

        Args:
            total: Units of work.
            desc: Name in front of the bar.
            unit: Name of a unit.
            initial: Units done before.
        """
        interval = 0.1 if sys.stderr.isatty() else _LOG_INTERVAL_S
        return tqdm(
            total=total,
            desc=desc,
            unit=unit,
            initial=initial,
            disable=not self.is_main,
            mininterval=interval,
            maxinterval=max(10.0, interval),
            smoothing=0.05,
        )


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
