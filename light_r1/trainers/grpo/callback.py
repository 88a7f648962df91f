"""Callback of staged GRPO: moves the context on, watches for a collapse, keeps both in checkpoints."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from light_r1.errors import StageError
from light_r1.trainers.grpo.collapse import Collapse
from light_r1.trainers.grpo.context import CLIP_RATIO, ENTROPY, LENGTH, REWARD

if TYPE_CHECKING:
    from light_r1.trainers.grpo.interface import StagedTrainer

log = logging.getLogger(__name__)


class ContextCallback(TrainerCallback, ExportableState):
    """Moves the context on by what each step showed; its state travels in the checkpoints.

    Args:
        trainer: The trainer whose completions it limits.
    """

    # What was chosen says little of the policy: where groups are chosen, what was sampled is watched.
    _WATCHED = {  # noqa: RUF012 - never changed
        CLIP_RATIO: ("sampled/clipped_ratio", CLIP_RATIO),
        REWARD: ("sampled/reward", REWARD),
        LENGTH: ("sampled/mean_length", LENGTH),
        ENTROPY: (ENTROPY,),
    }

    def __init__(self, trainer: StagedTrainer) -> None:
        self.trainer = trainer

    def state(self) -> dict[str, Any]:
        """Return what a resumed run needs; part of `trainer_state.json`."""
        saved = {"context": self.trainer.context.state_dict(), "collapse": self.trainer.watch.state_dict()}
        if self.trainer.queue is not None:
            saved["queue"] = self.trainer.queue.state_dict()
        return {"args": {}, "attributes": saved}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Go on where the checkpoint was; without a saved state, by the steps alone."""
        saved = state.stateful_callbacks.get(type(self).__name__)
        if state.global_step and isinstance(saved, dict) and saved["attributes"]:
            self.trainer.context.load_state_dict(saved["attributes"]["context"])
            self.trainer.watch.load_state_dict(saved["attributes"]["collapse"])
            if self.trainer.queue is not None and "queue" in saved["attributes"]:
                self.trainer.queue.load_state_dict(saved["attributes"]["queue"])
        else:
            for step in range(1, state.global_step + 1):
                self.trainer.context.update(step, {})
        self.trainer.enter_context()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take the step's metrics in."""
        logged = self.trainer._metrics["train"]
        newest = {
            name: next(logged[key][-1] for key in keys if logged.get(key))
            for name, keys in self._WATCHED.items()
            if any(logged.get(key) for key in keys)
        }
        metrics = {name: value for name, value in newest.items() if not math.isnan(value)}  # a mean of nothing
        collapse = self.trainer.watch.update(state.global_step, metrics)
        if collapse is not None:
            raise Collapsed(collapse)
        move = self.trainer.context.update(state.global_step, metrics)
        if move is not None:
            log.info("step %d: context stage %d, because %s", move.step, move.stage, move.reason)
            self.trainer.watch.restart()
            self.trainer.enter_context()


class Collapsed(StageError):
    """Training collapsed; `collapse` says how, and which step was the last good one."""

    def __init__(self, collapse: Collapse) -> None:
        super().__init__(
            f"training collapsed at step {collapse.step}: {collapse.reason}. "
            f"The last good step was {collapse.last_good_step}."
        )
        self.collapse = collapse
