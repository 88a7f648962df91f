"""Settings of curriculum SFT."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from trl import SFTConfig

from light_r1.errors import StageError
from light_r1.trainers.building import check_choice, settle_batch
from light_r1.trainers.settings import SFT, refuse, sft_conflicts
from light_r1.trainers.sft.curriculum import ORDERS


@dataclass
class CurriculumSFTConfig(SFTConfig):
    """TRL's `SFTConfig` and the fields below; `docs/trl_settings.md` tells which of TRL's are refused or differ.

    Args:
        packing: `auto` packs where FlashAttention is in use and batches rows of like length elsewhere; `True` and
            `False` as in TRL.
        overlength: What happens to rows longer than `max_length`. `drop` takes them out, `error` stops,
            `keep_end_of_thought` cuts the beginning of the thought and keeps prompt, opening tag, end of the thought
            and answer; rows whose answer alone is too long are dropped.
        missing_think: What happens to solutions whose thought cannot be made out: `drop`, `error`, or `keep`, which
            trains those without any thought as they are and drops the rest.
        max_drop_rate: Share of rows that may be lost before the run is stopped.
        order: `random`, `by_difficulty` or `staged`; see `light_r1.trainers.sft.curriculum.Curriculum`.
        difficulty_column: Column with a number per row, higher is harder.
        curriculum_stages: Number of difficulty quantiles of `staged`.
        pacing_epochs: Epochs that follow the curriculum; later ones are in random order.
        batch_by_length: Put rows of like length into one batch, which saves padding. Rows of like length are often of
            like difficulty too: turn it off for small batches at high learning rates.
        schedule_epochs: Epochs that the learning-rate schedule spans; what is trained if `None`.
        stop_after_epochs: Epochs that are trained; `num_train_epochs` if `None`. As in TRL, `max_steps` comes first.
        eval_samples: Samples of each held-out problem (a row with `problem` and `answer`) at every evaluation. Their
            accuracy is logged as `eval_accuracy`, by which `metric_for_best_model="accuracy"` selects checkpoints.
        eval_max_tokens: Longest of these samples; needed with `eval_samples`.
        global_batch_size: Sequences (packed rows, with packing) per optimizer step, on any number of processes:
            `gradient_accumulation_steps` is set to it / (`per_device_train_batch_size` x processes).
        gradient_accumulation_steps: As in TRL, where it is 1 if not set; not beside `global_batch_size`.
    """

    packing: bool | Literal["auto"] = field(default="auto", metadata={"help": "True, False, or `auto`."})
    overlength: Literal["drop", "error", "keep_end_of_thought"] = field(
        default="drop", metadata={"help": "What happens to rows longer than max_length."}
    )
    missing_think: Literal["drop", "error", "keep"] = field(
        default="drop", metadata={"help": "What happens to solutions without a thought."}
    )
    max_drop_rate: float = field(default=0.1, metadata={"help": "Share of rows that may be lost."})
    order: Literal["random", "by_difficulty", "staged"] = field(default="random", metadata={"help": "Order of rows."})
    difficulty_column: str = field(default="difficulty", metadata={"help": "Column with the difficulty."})
    curriculum_stages: int = field(default=3, metadata={"help": "Difficulty quantiles of `staged`."})
    pacing_epochs: int | None = field(default=None, metadata={"help": "Epochs that follow the curriculum."})
    batch_by_length: bool = field(default=True, metadata={"help": "Put rows of like length into one batch."})
    schedule_epochs: float | None = field(default=None, metadata={"help": "Epochs that the LR schedule spans."})
    stop_after_epochs: float | None = field(default=None, metadata={"help": "Epochs that are trained."})
    eval_samples: int = field(default=0, metadata={"help": "Samples of each held-out problem at every evaluation."})
    eval_max_tokens: int | None = field(default=None, metadata={"help": "Longest of these samples."})
    global_batch_size: int | None = field(default=None, metadata={"help": "Sequences per optimizer step."})
    gradient_accumulation_steps: int | None = field(
        default=None, metadata={"help": "Forward passes per optimizer step; from global_batch_size if that is set."}
    )

    def __post_init__(self) -> None:
        """Resolve the epochs; `packing` is resolved by the trainer, which knows the model's attention.

        Raises:
            StageError: A field has none of its values or one that is refused, the learning rate would reach its end
                before training does, the samples of evaluations have no length, settings exclude each other, or the
                batch cannot be split.
        """
        refuse(SFT, vars(self), sft_conflicts(vars(self)))
        check_choice("packing", self.packing, (True, False, "auto"))
        check_choice("overlength", self.overlength, ("drop", "error", "keep_end_of_thought"))
        check_choice("missing_think", self.missing_think, ("drop", "error", "keep"))
        check_choice("order", self.order, ORDERS)
        if self.curriculum_stages < 1:
            raise StageError(f"curriculum_stages: expected at least 1, got {self.curriculum_stages}.")
        if self.eval_samples and self.eval_max_tokens is None:
            raise StageError("eval_samples needs eval_max_tokens, the longest completion that is sampled.")
        if self.stop_after_epochs is not None:
            self.num_train_epochs = self.stop_after_epochs
        if self.max_steps <= 0 and self.schedule_epochs is not None and self.schedule_epochs < self.num_train_epochs:
            raise StageError(
                f"schedule_epochs={self.schedule_epochs} ends before the {self.num_train_epochs} epochs that are "
                "trained: the rest would be trained at the schedule's last learning rate."
            )
        settle_batch(self)
        super().__post_init__()
