"""Settings of semi-on-policy DPO."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from trl import DPOConfig

from light_r1.trainers.building import check_choice, settle_batch
from light_r1.trainers.settings import DPO, dpo_conflicts, refuse


@dataclass
class SemiOnPolicyDPOConfig(DPOConfig):
    """TRL's `DPOConfig` and the fields below; `docs/trl_settings.md` tells which of TRL's are refused or differ.

    Args:
        overlength: What happens to pairs of which a side is longer than `max_length`: `drop` or `error`.
        max_drop_rate: Share of pairs that may be lost before the run is stopped.
        share_prefixes: Score pairs without padding, their prompt once: the same numbers for less work. Models that
            cannot are scored as TRL does, as is everything with NEFTune, whose noise is another in every row.
        precompute_ref_log_probs: Score the reference once, before training, with the very weights that training
            starts from. `True` here (`False` in TRL): it is exact, and saves a forward per step and a second model.
        global_batch_size: Pairs per optimizer step, on any number of processes: `gradient_accumulation_steps` is set
            to it / (`per_device_train_batch_size` x processes).
        gradient_accumulation_steps: As in TRL, where it is 1 if not set; not beside `global_batch_size`.
    """

    overlength: Literal["drop", "error"] = field(default="drop", metadata={"help": "What happens to longer pairs."})
    max_drop_rate: float = field(default=0.1, metadata={"help": "Share of pairs that may be lost."})
    share_prefixes: bool = field(default=True, metadata={"help": "Score pairs packed, the prompt once."})
    precompute_ref_log_probs: bool = field(
        default=True, metadata={"help": "Score the reference once, before training."}
    )
    global_batch_size: int | None = field(default=None, metadata={"help": "Pairs per optimizer step."})
    gradient_accumulation_steps: int | None = field(
        default=None, metadata={"help": "Forward passes per optimizer step; from global_batch_size if that is set."}
    )

    def __post_init__(self) -> None:
        """Check what dataclasses do not.

        Raises:
            StageError: `overlength` has none of its values, a setting of TRL is refused, or the batch cannot be
                split.
        """
        refuse(DPO, vars(self), dpo_conflicts(vars(self)))
        check_choice("overlength", self.overlength, ("drop", "error"))
        settle_batch(self)
        if self.neftune_noise_alpha is not None:
            self.share_prefixes = False  # a prompt has other noise in every row
        super().__post_init__()
