"""Stop at numbers that are no numbers: a loss, a gradient norm or weights that are NaN or infinite.

transformers leaves NaN out of its logs (`logging_nan_inf_filter`), so a training that broke at its second step ends
with "loss 0", saves what it has, and is evaluated. Here every optimizer step is looked at; nothing broken is saved.

Nothing waits for the device that did not wait before: a verdict stays on the device and is read a step later, when the
metrics of that step have been read anyway. Among several processes the gradient norm decides at each step, which is
the same on all of them, and their mean loss when it is logged: no process stops alone. Steps that a gradient scaler
skips do not count, unless there are many in a row. Left out: weights that DeepSpeed has partitioned.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainerCallback
from transformers.trainer_utils import get_last_checkpoint

from light_r1.errors import StageError
from light_r1.models.checkpoints import why_torn

SKIPPED_IN_A_ROW = 20  # steps that a gradient scaler may skip while it looks for its scale


class FiniteWatch(TrainerCallback):
    """Watches the numbers of a trainer; the trainer calls `see_norm`, `see_loss` and `require_finite_weights`.

    Args:
        trainer: The trainer.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.skipped = 0
        self._skipped_since_log = False
        self._loss: torch.Tensor | None = None
        self._norm: torch.Tensor | float | None = None
        self._before: tuple[int, torch.Tensor, Any] | None = None

    def see_loss(self, loss: torch.Tensor) -> None:
        """Take in the loss of one forward pass of this process."""
        self._loss = loss.detach() if self._loss is None else self._loss + loss.detach()

    def see_norm(self, norm: torch.Tensor | float | None) -> None:
        """Take in the gradient norm of an optimizer step, the same on all processes."""
        self._norm = norm

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Judge the step before, and this one where that takes no waiting."""
        self._settle()
        loss, norm = self._loss, self._norm
        self._loss = self._norm = None
        if self.trainer.accelerator.optimizer_step_was_skipped:
            self.skipped += 1
            self._skipped_since_log = True
            if self.skipped >= SKIPPED_IN_A_ROW:
                self._stop(state.global_step, f"the gradients have overflowed {self.skipped} times in a row")
            return
        self.skipped = 0
        if norm is None:
            return
        numbers = torch.as_tensor(norm, dtype=torch.float32).reshape(1)
        if loss is not None and args.world_size == 1:  # of several processes each has its own, and they stop together
            numbers = torch.cat([numbers, loss.reshape(1).to(numbers)])
        copied = None
        if numbers.is_cuda:
            numbers = numbers.to("cpu", non_blocking=True)
            copied = torch.cuda.Event()
            copied.record()
        self._before = (state.global_step, numbers, copied)
        if copied is None or control.should_save:
            self._settle()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Judge the last step."""
        self._settle()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Judge the mean loss of all processes."""
        loss = (logs or {}).get("loss")
        skipped, self._skipped_since_log = self._skipped_since_log, False
        if isinstance(loss, float) and not math.isfinite(loss) and not skipped:
            self._stop(state.global_step, f"the loss is {loss}")

    def require_finite_weights(self) -> None:
        """Refuse to save weights that are no numbers; where they are sharded, on all processes if it is so on one.

        Raises:
            StageError: Some are; it names the first tensors.
        """
        weights = [(name, w) for name, w in self.trainer.model.named_parameters() if w.is_floating_point()]
        found = [torch.isfinite(_local(weight)).all() for _, weight in weights]
        broken = ~torch.stack([each.to(found[0].device) for each in found]) if found else torch.zeros(1, dtype=bool)
        any_broken = broken.any().float()
        if self.trainer.is_fsdp_enabled or self.trainer.is_deepspeed_enabled:  # each process holds other weights
            any_broken = self.trainer.accelerator.reduce(any_broken.to(self.trainer.accelerator.device))
        if any_broken:
            names = [name for (name, _), each in zip(weights, broken.tolist(), strict=True) if each]
            where = f": {', '.join(names[:3])}{' ...' if len(names) > 3 else ''}" if names else ""
            self._stop(self.trainer.state.global_step, f"{len(names)} of {len(weights)} weights are no numbers{where}")

    def _settle(self) -> None:
        if self._before is None:
            return
        step, numbers, copied = self._before
        self._before = None
        if copied is not None:
            copied.synchronize()  # long done: TRL has read the metrics of a later forward pass
        names = ("the gradient norm", "the loss")
        both = zip(names, numbers.tolist(), strict=False)  # of several processes the norm alone
        wrong = [f"{name} is {value}" for name, value in both if not math.isfinite(value)]
        if wrong:
            self._stop(step, " and ".join(wrong))

    def _stop(self, step: int, what: str) -> None:
        args = self.trainer.args
        saved = get_last_checkpoint(args.output_dir) if Path(args.output_dir).is_dir() else None
        good = (
            f"The last good checkpoint is {saved}" if saved and not why_torn(Path(saved)) else "There is no checkpoint"
        )
        raise StageError(
            f"step {step}: {what}. {good}; training would come to the same step again. Likely causes: "
            f"{'; '.join(likely_causes(args))}."
        )


def likely_causes(args: Any) -> list[str]:
    """Return what makes training diverge, those first that the settings speak for.

    Args:
        args: A `transformers.TrainingArguments`.
    """
    causes = [f"a learning rate that is too high for this model (learning_rate {args.learning_rate:g})"]
    if args.fp16:
        causes.insert(0, "float16, which ends at 65,504 (bf16: true has the range of fp32)")
    if not args.max_grad_norm:
        causes.append("gradients that are not clipped (max_grad_norm 0)")
    causes.append("rows or rewards that are far from all others (look at those of this step)")
    causes.append("a model that was broken before (load it and look for NaN)")
    return causes


def _local(weight: torch.Tensor) -> torch.Tensor:
    """Return the part of a sharded weight that this process holds."""
    return weight.to_local() if isinstance(weight, torch.distributed.tensor.DTensor) else weight
