"""Say when GRPO learns nothing: a whole log window in which no completion carried any gradient.

Where all rewards of a group are equal its advantages are 0, and without a KL or an entropy term so is its gradient. A
run whose rewards are all 0 ends as quietly as one that learns.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from light_r1.errors import StageError

if TYPE_CHECKING:
    from light_r1.trainers.grpo.interface import StagedTrainer

log = logging.getLogger(__name__)


class SignalWatch:
    """Counts what was sampled since the last log, and tells what it was where nothing carried gradient.

    Args:
        trainer: Whose completions they are.
    """

    _COUNTED = ("cut at the limit", "with an unclosed thought", "without a reward above 0")

    def __init__(self, trainer: StagedTrainer) -> None:
        self.trainer = trainer
        self.counts = torch.zeros(len(self._COUNTED) + 1)

    def add(
        self, responses: Sequence[str], completion_ids: Sequence[Sequence[int]], totals: Sequence[float | None]
    ) -> None:
        """Count completions of this process.

        Args:
            responses: Their texts.
            completion_ids: Their token ids.
            totals: The weighted sum of rewards of each; `None` where it has none.
        """
        ends, tags = set(self.trainer.eos_token_ids), self.trainer.chat.think_tokens
        cut = sum(not ids or ids[-1] not in ends for ids in completion_ids)
        unclosed = sum(bool(tags) and tags[0] in text and tags[1] not in text for text in responses)
        unrewarded = sum(total is None or total <= 0 for total in totals)
        self.counts += torch.tensor([cut, unclosed, unrewarded, len(responses)])

    def look(self, step: int) -> None:
        """Judge the window that ends with this step; to be called on every process.

        Raises:
            StageError: There was no gradient in it, and `on_no_signal` is `stop`.
        """
        trainer = self.trainer
        shares = trainer._metrics["train"].get("gradient_share", [])
        counts = trainer.accelerator.reduce(self.counts.to(trainer.accelerator.device), reduction="sum").tolist()
        self.counts = torch.zeros_like(self.counts)
        if not shares or any(shares) or trainer.beta or trainer.entropy_coef:
            return
        *parts, total = map(int, counts)
        seen = ", ".join(f"{count:,} {what}" for count, what in zip(parts, self._COUNTED, strict=True))
        text = (
            f"step {step}: no gradient since the last log: the rewards of every group are equal. Of {total:,} "
            f"completions {seen}. What helps: a longer max_completion_length (now {trainer.max_completion_length}) "
            "where they are cut, problems that are sometimes solved (pass_rate_window, dynamic_sampling), more "
            "num_generations, a model that keeps the format."
        )
        if trainer.args.on_no_signal == "stop":
            raise StageError(text)
        log.warning(text)
