"""The order of training rows: random, by difficulty, or staged, the same on every rank and after every resume.

An order is a pure function of (rows, seed, epoch). The sampler asks for the epoch when an epoch starts, from the
trainer's own state: `set_epoch` does not reach a sampler through accelerate's wrappers when a run resumes in the
middle of an epoch on several ranks.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from torch.utils.data import Sampler

Order = Literal["random", "by_difficulty", "staged"]
ORDERS = ("random", "by_difficulty", "staged")

_MEGABATCH = 50  # batches among which rows are grouped by length: enough to fill them, few enough to stay random


@dataclass(frozen=True, slots=True)
class Curriculum:
    """How rows are ordered.

    Args:
        order: `random`; `by_difficulty`, easiest first; `staged`, difficulty quantiles one after the other and
            random inside each.
        stages: Number of quantiles of `staged`.
        pacing_epochs: Epochs that follow the curriculum; later ones are random. All of them if `None`.
        seed: Seed of every shuffle.
    """

    order: Order = "random"
    stages: int = 3
    pacing_epochs: int | None = None
    seed: int = 0

    def indices(
        self, difficulty: Sequence[float] | None, lengths: Sequence[int], *, epoch: int, batch: int | None
    ) -> list[int]:
        """Return the row order of one epoch.

        Args:
            difficulty: Difficulty of each row, higher is harder; needed unless the order is random.
            lengths: Length of each row in tokens.
            epoch: The epoch, from 0.
            batch: Rows per optimizer step, to put rows of like length into one batch; `None` leaves them mixed.
                Only ever done inside a difficulty stage.

        Raises:
            ValueError: The order needs difficulties and there are none.
        """
        rng = Random(f"{self.seed}:{epoch}")
        rows = list(range(len(lengths)))
        rng.shuffle(rows)
        if self.order == "random" or (self.pacing_epochs is not None and epoch >= self.pacing_epochs):
            return _by_length(rows, lengths, batch, rng)
        if difficulty is None:
            raise ValueError(f"order={self.order!r} needs a difficulty for every row")
        rows.sort(key=lambda row: difficulty[row])
        if self.order == "by_difficulty":
            return rows
        ordered: list[int] = []
        for stage in range(self.stages):
            chunk = rows[len(rows) * stage // self.stages : len(rows) * (stage + 1) // self.stages]
            rng.shuffle(chunk)
            ordered += _by_length(chunk, lengths, batch, rng)
        return ordered


def _by_length(rows: list[int], lengths: Sequence[int], batch: int | None, rng: Random) -> list[int]:
    if batch is None:
        return rows
    batches: list[list[int]] = []
    for start in range(0, len(rows), batch * _MEGABATCH):
        mega = sorted(rows[start : start + batch * _MEGABATCH], key=lambda row: -lengths[row])
        batches += [mega[i : i + batch] for i in range(0, len(mega), batch)]
    # A short batch must stay last, or every later one would straddle two groups.
    tail = [batches.pop()] if batches and len(batches[-1]) < batch else []
    rng.shuffle(batches)
    return [row for group in batches + tail for row in group]


class CurriculumSampler(Sampler[int]):
    """Yields the rows of the current epoch in curriculum order.

    Args:
        curriculum: The order.
        difficulty: Difficulty of each row or `None`.
        lengths: Length of each row in tokens.
        batch: See `Curriculum.indices`.
        epoch: Called when an iteration starts; returns the epoch, from 0.
    """

    def __init__(
        self,
        curriculum: Curriculum,
        difficulty: Sequence[float] | None,
        lengths: Sequence[int],
        *,
        batch: int | None,
        epoch: Callable[[], int],
    ) -> None:
        self.curriculum = curriculum
        self.difficulty = difficulty
        self.lengths = lengths
        self.batch = batch
        self.epoch = epoch

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        """Yield row numbers."""
        yield from self.curriculum.indices(self.difficulty, self.lengths, epoch=self.epoch(), batch=self.batch)


def pack_in_order(lengths: Sequence[int], max_length: int) -> list[list[int]]:
    """Group consecutive rows so that each group fits `max_length` tokens; the order of rows is kept.

    TRL's best-fit packing sorts rows by length inside chunks of 1,000, which undoes a curriculum.
    """
    groups: list[list[int]] = []
    room = 0
    for row, length in enumerate(lengths):
        if not groups or length > room:
            groups.append([])
            room = max_length
        groups[-1].append(row)
        room -= length
    return groups


def pack_best_fit(lengths: Sequence[int], max_length: int) -> list[list[int]]:
    """Group rows so that each group fits `max_length` tokens: longest first, each into the fullest group with room."""
    groups: list[list[int]] = []
    rooms: list[tuple[int, int]] = []  # room and group, sorted
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        place = bisect_left(rooms, (lengths[row], -1))
        if place == len(rooms):
            groups.append([row])
            insort(rooms, (max_length - lengths[row], len(groups) - 1))
        else:
            room, group = rooms.pop(place)
            groups[group].append(row)
            insort(rooms, (room - lengths[row], group))
    return groups
