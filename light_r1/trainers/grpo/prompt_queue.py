"""Order of the prompts of a run: each once per pass, those outside the pass-rate window left out.

Everything follows from the seed and from what was taken so far, so every rank that sees the same outcomes takes the
same prompts, and a resumed run goes on where it was. No torch.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from light_r1.errors import LightR1Error
from light_r1.trainers.grpo.window import PassRateWindow


def prompt_ids(prompts: Sequence[Any]) -> list[str]:
    """Return an identity for each prompt: a hash of its text, numbered where a text comes again."""
    seen: Counter[str] = Counter()
    ids = []
    for prompt in prompts:
        text = prompt if isinstance(prompt, str) else repr(prompt)
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        ids.append(f"{digest}.{seen[digest]}" if seen[digest] else digest)
        seen[digest] += 1
    return ids


class PromptQueue:
    """An endless queue over the prompts of a data set.

    A batch that spans two passes holds no prompt twice: one that was just taken loses its turn in the second.

    Args:
        ids: Identity of each row, in the order of the data set.
        shuffle: Whether every pass has an order of its own; the order of the data set otherwise.
        seed: Of those orders.
        window: Decides which prompts are worth asking; all if `None`.

    Attributes:
        skipped: Prompts left out since the start, because the window did not want them.

    Raises:
        LightR1Error: There is no prompt, or two have the same identity.

    Example:
        >>> queue = PromptQueue(["a", "b", "c"], shuffle=False, seed=0)
        >>> queue.take(2, step=0), queue.take(2, step=1)
        ([0, 1], [2, 0])
    """

    def __init__(self, ids: Sequence[str], *, shuffle: bool, seed: int, window: PassRateWindow | None = None) -> None:
        self.ids = list(ids)
        self.window = window
        self.skipped = 0
        self._rows = {prompt_id: row for row, prompt_id in enumerate(self.ids)}
        if not self.ids or len(self._rows) != len(self.ids):
            raise LightR1Error(f"{len(self.ids)} prompts with {len(self._rows)} identities cannot be queued")
        self._shuffle, self._seed = shuffle, seed
        self._pass, self._position = 0, 0
        self._order = self._order_of(0)

    def take(self, count: int, step: int, *, without: Collection[int] = ()) -> list[int]:
        """Return the next rows to ask, each once.

        Args:
            count: How many. Fewer come only if the data set has no more rows; those that the window would let rest
                fill up before that.
            step: Optimizer step, for the window.
            without: Rows that are not to come now.
        """
        if count < 1:
            return []
        if self.window is None:
            return list(islice(self._offer(without), count))
        offered: list[str] = []
        chosen = self.window.choose(self._noted(offered, without), step, count)
        self.skipped += len(offered) - len(chosen)
        return [self._rows[prompt_id] for prompt_id in chosen]

    def _noted(self, offered: list[str], without: Collection[int]) -> Iterator[str]:
        for row in self._offer(without):
            offered.append(self.ids[row])
            yield self.ids[row]

    def _offer(self, without: Collection[int]) -> Iterator[int]:
        """Yield every row that is not in `without` once, moving on as they are asked for."""
        passed = set(without)
        while len(passed) < len(self.ids):
            if self._position == len(self.ids):
                self._pass, self._position = self._pass + 1, 0
                self._order = self._order_of(self._pass)
            row = self._order[self._position]
            self._position += 1
            if row not in passed:
                passed.add(row)
                yield row

    def _order_of(self, number: int) -> list[int]:
        order = list(range(len(self.ids)))
        if self._shuffle:
            random.Random(f"{self._seed}:{number}").shuffle(order)
        return order

    def _digest(self) -> str:
        return hashlib.sha256(" ".join(self.ids).encode()).hexdigest()[:16]

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a resumed run needs, as JSON values."""
        return {
            "pass": self._pass,
            "position": self._position,
            "skipped": self.skipped,
            "prompts": self._digest(),
            "window": self.window.state_dict() if self.window else None,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken.

        Raises:
            LightR1Error: It belongs to other prompts.
        """
        if state["prompts"] != self._digest():
            raise LightR1Error("the checkpoint is of other training prompts: resume with those, or start a new run")
        self._pass, self._position, self.skipped = state["pass"], state["position"], state["skipped"]
        self._order = self._order_of(self._pass)
        if self.window and state["window"]:
            self.window.load_state_dict(state["window"])
