"""The batch of one optimizer step, and how it is split over processes, forward passes and accumulation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import lcm

from light_r1.errors import StageError


@dataclass(frozen=True, slots=True)
class Batch:
    """What one optimizer step is made of.

    Args:
        processes: Processes with data of their own.
        per_device: Sequences (pairs of DPO, completions of GRPO) per process and forward pass.
        accumulation: Forward passes per optimizer step.
    """

    processes: int
    per_device: int
    accumulation: int

    @property
    def size(self) -> int:
        """Sequences per optimizer step."""
        return self.processes * self.per_device * self.accumulation

    def __str__(self) -> str:
        processes, steps = counted(self.processes, "process", "es"), counted(self.accumulation, "accumulation step")
        return f"{self.size} = {processes} x {self.per_device} per device x {steps}"


@dataclass(frozen=True, slots=True)
class Ways:
    """Changes of one number each with which a batch can be split.

    Args:
        per_device: Sizes per device, not above the one there is, which is what fits into memory.
        processes: Numbers of processes, the nearest on both sides.
        sizes: Batches, the nearest on both sides.
    """

    per_device: tuple[int, ...]
    processes: tuple[int, ...]
    sizes: tuple[int, ...]

    def __str__(self) -> str:
        ways = [f"global_batch_size {_either(self.sizes)}"]
        if self.processes:
            ways.insert(0, f"{_either(self.processes)} process{'es' * (self.processes != (1,))}")
        if self.per_device:
            ways.insert(0, f"per_device_train_batch_size {_either(self.per_device)}")
        return ", or with ".join(ways)


def batch_of(size: int | None, *, per_device: int, accumulation: int | None, processes: int, group: int = 1) -> Batch:
    """Return the batch of an optimizer step: as its accumulation makes it, or `size`, from which that follows.

    Args:
        size: `global_batch_size`, sequences per optimizer step; `None` if it is not set.
        per_device: `per_device_train_batch_size`.
        accumulation: `gradient_accumulation_steps`; `None` if it is not set.
        processes: Processes with data of their own.
        group: Sequences that a batch holds all or none of: the completions of a prompt.

    Raises:
        StageError: The size is of no whole groups; or it cannot be split into whole forward passes of every process,
            and with which numbers it could; or the accumulation is another one.
    """
    if size is None:
        return Batch(processes, per_device, 1 if accumulation is None else accumulation)
    unit = per_device * processes
    if min(size, unit) < 1:
        what = f"{size} with per_device_train_batch_size {per_device}"
        raise StageError(f"global_batch_size: {what}; both must be at least 1")
    if group and size % group:
        whole = " or ".join(str(number) for number in _around(size, group))
        raise StageError(f"global_batch_size: {size} is of no whole groups of {group}; {whole} would be")
    if size % unit:
        raise StageError(
            f"global_batch_size: {size} is no multiple of {unit} = per_device_train_batch_size {per_device} x "
            f"{counted(processes, 'process', 'es')}. It would be with "
            f"{ways_to_split(size, per_device, processes, group=group)}"
        )
    batch = Batch(processes, per_device, size // unit)
    if accumulation not in (None, batch.accumulation):
        raise StageError(
            f"gradient_accumulation_steps: {accumulation} beside global_batch_size {size}, which makes it "
            f"{batch.accumulation} ({batch}); set one of the two"
        )
    return batch


def ways_to_split(size: int, per_device: int, processes: int, *, group: int = 1) -> Ways:
    """Return the changes of one number with which a batch can be split; the arguments are those of `batch_of`."""
    return Ways(
        tuple(_nearest(_divisors(size // processes), per_device, above=0)) if size % processes == 0 else (),
        tuple(_nearest(_divisors(size // per_device), processes)) if size % per_device == 0 else (),
        _around(size, lcm(per_device * processes, group)),
    )


def counted(number: int, noun: str, plural: str = "s") -> str:
    """Return a number with its noun: `1 process`, `8 processes`."""
    return f"{number} {noun}{'' if number == 1 else plural}"


def _around(number: int, step: int) -> tuple[int, ...]:
    """Return the multiples of a step on both sides of a number that is none."""
    below = number // step * step
    return (below, below + step) if below else (step,)


def _divisors(number: int) -> list[int]:
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]


def _nearest(numbers: Iterable[int], to: int, *, below: int = 4, above: int = 2) -> list[int]:
    """Return the numbers nearest to another, a few on each side."""
    numbers = sorted(numbers)
    return [*[n for n in numbers if n <= to][-below:], *[n for n in numbers if n > to][:above]]


def _either(numbers: Iterable[int]) -> str:
    *first, last = map(str, numbers)
    return f"{', '.join(first)} or {last}" if first else last
