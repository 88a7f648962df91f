"""A loss, gradient or weight that is NaN or infinite stops training before it is saved.

transformers takes NaN out of the losses that it logs: a run without a single number left ends as done, with loss 0.
Here every optimizer step is judged by its gradient norm, which transformers computes in any case and which is the
same on all ranks: all stop at one step, none waits in a collective for another. A loss that is no number on one rank
makes NaN of its gradients (`FiniteWatch.spread`), and so reaches the norm of all. DeepSpeed's norm does not tell
(it takes a NaN for -1 and squares it): there the losses are judged, summed up over the ranks, so that a gradient that
is no number shows in the loss of the next step.

The norm is copied to the host while the device works on, and read a step later, or sooner where the host waits for
the device anyway: before a log, an evaluation, a save, a generation. On a CPU it is read at once. With float16 a step
whose gradients overflow is skipped by design; only many in a row are a fault.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.distributed.tensor import DTensor
from transformers import Trainer, TrainerCallback

from light_r1.errors import StageError
from light_r1.models.checkpoints import last_checkpoint

_MOST_SKIPS = 20  # the loss scale starts at 2^16: after 16 halvings it is 1
_NAMED = 3


@dataclass(slots=True)
class _Step:
    """An optimizer step that is not judged yet.

    Args:
        number: Its number, from 1.
        values: Loss of this rank and gradient norm, on the host once `copied` has happened.
        copied: `None` if they were there from the start.
        skipped: Whether the optimizer says that it skipped the step for an overflow.
    """

    number: int
    values: torch.Tensor
    copied: torch.Event | None
    skipped: bool = False

    def on_host(self) -> list[float]:
        """Return loss and gradient norm, once they are copied."""
        if self.copied is not None:
            self.copied.synchronize()
        return self.values.tolist()


class FiniteWatch(TrainerCallback):
    """Stops a trainer at the first step whose loss or gradient is no number, and before such weights are saved.

    The trainer passes its loss through `spread`, gives each gradient norm to `see_norm`, and calls `before_save`.

    Args:
        trainer: The trainer.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self._reset()

    def _reset(self) -> None:
        self._loss: torch.Tensor | None = None
        self._step: _Step | None = None
        self._skips = 0

    def spread(self, loss: torch.Tensor) -> torch.Tensor:
        """Return the loss unchanged, with NaN for its gradient where it is NaN or infinite."""
        if loss.requires_grad:  # not of an evaluation
            value = loss.detach()
            self._loss = value if self._loss is None else self._loss + value
            loss = loss * torch.where(value.isfinite(), 1.0, math.nan).to(loss)
        return loss

    def see_norm(self, grad_norm: torch.Tensor | float | None) -> None:
        """Take in the gradient norm of a step that is about to be taken, and judge the one before.

        Args:
            grad_norm: As transformers has it.
        """
        self.read()
        seen, self._loss = self._loss, None
        # A training_step of a subclass need not ask for the loss.
        loss = torch.zeros((), device=self.trainer.accelerator.device) if seen is None else seen.float()
        if grad_norm is None or self.trainer.is_deepspeed_enabled:
            grad_norm = self.trainer.accelerator.reduce(loss.abs())
        if isinstance(grad_norm, DTensor):
            grad_norm = grad_norm.full_tensor()
        norm = grad_norm.float() if isinstance(grad_norm, torch.Tensor) else torch.full_like(loss, grad_norm)
        values = torch.stack([loss, norm])
        copied = None
        if values.device.type != "cpu":
            copied = torch.Event(values.device)
            values = values.to("cpu", non_blocking=True)  # to pinned memory
            copied.record()
        self._step = _Step(self.trainer.state.global_step + 1, values, copied)

    def read(self) -> None:
        """Judge the last step that was noted, if it is not judged yet; all ranks come here at the same step.

        Raises:
            StageError: Its gradient norm is NaN or infinite.
        """
        step, self._step = self._step, None
        if step is None:
            return
        loss, norm = step.on_host()
        if math.isfinite(norm) and not step.skipped:
            self._skips = 0
            return
        self._skips += 1
        found = f"step {step.number}: the gradient is not finite" + ("" if step.skipped else f" (norm {norm:g})")
        if self.trainer.accelerator.mixed_precision == "fp16":
            if self._skips < _MOST_SKIPS:
                return
            found += f", nor was it in the {_MOST_SKIPS - 1} steps before, at loss scales that fell each time"
        raise self._fault(found, loss)

    def before_save(self, folder: str | None) -> None:
        """Judge what is about to be saved.

        Raises:
            StageError: The last step had no finite gradient, or weights are NaN or infinite.
        """
        self.read()
        self._require_weights(f"{folder or self.trainer.args.output_dir} is not saved")

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Refuse weights that are no numbers from the start."""
        self._reset()
        require_finite(self.trainer.model, "training does not start")

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note whether the step was skipped for an overflow; judge what is on the host."""
        if self._step is None:
            return
        # Fused optimizers skip without telling accelerate, but the norm tells; with DeepSpeed it is the other way.
        self._step.skipped = self.trainer.accelerator.optimizer_step_was_skipped
        if self._step.copied is None:
            self.read()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Judge the step before it is logged, evaluated or saved."""
        if control.should_log or control.should_evaluate or control.should_save or control.should_training_stop:
            self.read()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Judge the last step before the epoch is logged, evaluated or saved."""
        self.read()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Refuse trained weights that are no numbers."""
        self.read()
        self._require_weights("training has ended")

    def _require_weights(self, where: str) -> None:
        try:
            require_finite(self.trainer.model, where)
        except StageError as error:
            raise StageError(f"{error} {self.outlook()}") from error

    def _fault(self, found: str, loss: float) -> StageError:
        """Return the error of a step; to be called on every rank, and the same there."""
        ranks = gather_object([(loss, self._on_disk())])
        bad = [f"{value:g} on rank {rank}" for rank, (value, _) in enumerate(ranks) if not math.isfinite(value)]
        losses = f"the loss is {', '.join(bad)}" if bad else "the loss is finite"
        return StageError(f"{found}; {losses}. {self.outlook(ranks[0][1])}")

    def _on_disk(self) -> str:
        checkpoint = last_checkpoint(Path(self.trainer.args.output_dir))
        return f"The last good checkpoint is {checkpoint}" if checkpoint else "There is no checkpoint"

    def outlook(self, on_disk: str | None = None) -> str:
        """Return where a stopped training can be gone on from, what then happens, and the likely causes.

        Args:
            on_disk: Which checkpoint there is; looked up if `None`.
        """
        return (
            f"{on_disk or self._on_disk()}. Going on with the same settings takes the same steps and stops here "
            f"again. Likely causes: {'; '.join(self._causes())}."
        )

    def _causes(self) -> list[str]:
        args, accelerator = self.trainer.args, self.trainer.accelerator
        causes = [f"learning_rate {args.learning_rate:g} with warmup_steps {args.warmup_steps:g} is too high"]
        if not args.max_grad_norm:
            causes.append("max_grad_norm 0 does not clip gradients")
        dtypes = {weight.dtype for weight in self.trainer.model.parameters() if weight.requires_grad}
        for dtype in sorted(str(dtype).removeprefix("torch.") for dtype in dtypes - {torch.float32, torch.float64}):
            causes.append(f"weights are trained in {dtype}, not in float32")
        if accelerator.mixed_precision == "fp16":
            scale = f" (loss scale {accelerator.scaler.get_scale():g})" if accelerator.scaler is not None else ""
            causes.append(f"float16 ends at 65504{scale}; bf16: true has the range of float32")
        return [*causes, "a loss or model of your own divides by 0 or takes the logarithm of 0 for a row of this step"]


def require_finite(model: torch.nn.Module, where: str) -> None:
    """Refuse a model that holds NaN or infinite weights, of an adapter as of its base.

    Each weight is read once on its device and not copied; the host waits for the device once. Of a model that FSDP or
    ZeRO-3 shards each rank reads its own part: all ranks have to call, and all raise alike.

    Args:
        model: The model; quantised weights, and those that ZeRO-3 holds on NVMe, are not looked at.
        where: What that means, at the start of the message: `checkpoint-20 is not saved`.

    Raises:
        StageError: With the names of the weights.
    """
    sharded = any(isinstance(module, FullyShardedDataParallel) for module in model.modules())
    names: list[str] = []
    largest: list[torch.Tensor] = []
    for name, weight in model.named_parameters():
        part = _part_of_rank(weight)
        sharded = sharded or part is not weight
        if part.is_floating_point():
            names.append(name)
            largest.append(_largest(part.detach()))
    device = PartialState().device if sharded else largest[0].device
    bad = (~torch.stack([value.to(device) for value in largest]).isfinite()).to(torch.uint8)
    if sharded:
        torch.distributed.all_reduce(bad, torch.distributed.ReduceOp.MAX)
    found = [name for name, flag in zip(names, bad.tolist(), strict=True) if flag]
    if found:
        more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        raise StageError(
            f"{where}: {len(found)} of {len(names)} weights hold NaN or infinite numbers: "
            f"{', '.join(found[:_NAMED])}{more}."
        )


def _part_of_rank(weight: torch.Tensor) -> torch.Tensor:
    """Return what this rank holds of a weight: the weight itself unless FSDP2 or ZeRO-3 shards it."""
    if isinstance(weight, DTensor):
        return weight.to_local()
    part = vars(weight).get("ds_tensor")  # ZeRO-3 leaves an empty weight and puts the part beside it
    if part is None:
        return weight
    first = torch.distributed.get_rank(weight.ds_process_group) * part.ds_numel
    return part.flatten()[: max(0, weight.ds_numel - first)]  # what is behind them was never written


def _largest(part: torch.Tensor) -> torch.Tensor:
    """Return the greatest absolute value, which NaN and infinity show in; `isfinite` would need copies of the part."""
    if not part.numel():
        return part.new_zeros((), dtype=torch.float32)
    if part.dtype.itemsize == 1:  # no arithmetic of float8
        part = part.to(torch.bfloat16)
    low, high = part.aminmax()
    return torch.maximum(high.float(), -low.float())
