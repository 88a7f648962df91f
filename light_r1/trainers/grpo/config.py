"""Settings of staged GRPO."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from trl import GRPOConfig

from light_r1.errors import StageError
from light_r1.trainers.building import check_choice, settle_batch
from light_r1.trainers.grpo.context import ContextSchedule, ContextStage, parse_stages
from light_r1.trainers.grpo.window import window_of
from light_r1.trainers.settings import GRPO, grpo_conflicts, refuse


@dataclass
class StagedGRPOConfig(GRPOConfig):
    """TRL's `GRPOConfig` and the fields below; `docs/trl_settings.md` tells which of TRL's are refused or differ.

    Args:
        context_schedule: Context stages, each `{"max_completion_length": tokens}` with what ends it: `steps`, or a
            trigger, `clip_ratio` or `plateau_steps`; see `light_r1.trainers.grpo.context.ContextStage` for all keys.
            Without a schedule, `max_completion_length` holds throughout.
        max_steps: Optimizer steps; the sum of the schedule's steps if not set.
        collapse: Bounds of `light_r1.trainers.grpo.collapse.CollapseBounds`, such as `{"min_entropy": 0.05}`; nothing
            is watched if `None`.
        on_collapse: `stop`, or `rewind` to the last checkpoint before it, from where other samples are drawn.
        max_rewinds: Rewinds before a collapse stops the run after all.
        reward_deadline_s: Seconds that a reward function may take for a batch; what it does not judge by then has no
            reward. `None` waits.
        share_prefixes: Score completions without padding and encode each prompt once: the same numbers for less work.
            Models that cannot are scored as TRL does, as is everything with NEFTune.
        sampling_batch_size: Completions decoded at once on each device.
        pass_rate_window: Lowest and highest pass rate, such as `[0.1, 0.9]`, of the prompts that are sampled; the
            others rest, longer each time they are found outside. Rates are followed during the run and start from the
            rows' `pass_rate` where there is one. A completion passes if its `accuracy`, or the first reward where
            there is none of that name, is above 0.
        dynamic_sampling: Rounds in which groups whose rewards are all equal are replaced by groups of other prompts;
            0 keeps them.
        on_no_signal: What happens when no completion of a whole log window carried gradient, as all rewards of each
            group were equal: `warn` says it with what was sampled, `stop` stops.
        vllm_importance_sampling_mode: As in TRL, by default per token. TRL's default, `sequence_mask`, multiplies the
            ratios of all tokens, so that the longer a completion the more certainly it is masked.
        global_batch_size: Completions per optimizer step, a multiple of `num_generations`, on any number of processes:
            `gradient_accumulation_steps` is set to it / (`per_device_train_batch_size` x processes). With another
            number to be sampled at once, set `generation_batch_size`.
        gradient_accumulation_steps: As in TRL, where it is 1 if not set; not beside `global_batch_size`.
    """

    context_schedule: list[dict[str, Any]] | None = field(default=None, metadata={"help": "Stages of the context."})
    collapse: dict[str, Any] | None = field(default=None, metadata={"help": "Bounds that mean a collapse."})
    on_collapse: Literal["stop", "rewind"] = field(default="stop", metadata={"help": "What a collapse does."})
    max_rewinds: int = field(default=2, metadata={"help": "Rewinds before a collapse stops the run after all."})
    reward_deadline_s: float | None = field(default=None, metadata={"help": "Seconds a reward may take."})
    share_prefixes: bool = field(default=True, metadata={"help": "Score completions packed, a prompt once."})
    sampling_batch_size: int = field(default=128, metadata={"help": "Completions decoded at once."})

    pass_rate_window: list[float] | None = field(default=None, metadata={"help": "Pass rates worth sampling."})
    dynamic_sampling: int = field(default=0, metadata={"help": "Rounds that replace groups without gradient."})
    on_no_signal: Literal["warn", "stop"] = field(default="warn", metadata={"help": "What no gradient does."})

    vllm_importance_sampling_mode: str = field(
        default="token_truncate", metadata={"help": "How vLLM's ratios are bounded."}
    )
    max_steps: int = field(default=-1, metadata={"help": "Optimizer steps; from context_schedule if not set."})
    global_batch_size: int | None = field(default=None, metadata={"help": "Completions per optimizer step."})
    gradient_accumulation_steps: int | None = field(
        default=None, metadata={"help": "Forward passes per optimizer step; from global_batch_size if that is set."}
    )

    def __post_init__(self) -> None:
        """Size everything for the longest context stage.

        Raises:
            StageError: A choice or the window is none, the batch cannot be split or is of no whole groups, or what is
                sampled at once would change with the number of processes.
        """
        check_choice("on_no_signal", self.on_no_signal, ("warn", "stop"))
        refuse(GRPO, vars(self), grpo_conflicts(vars(self)))
        if self.pass_rate_window is not None:
            window_of(self.pass_rate_window)
        if self.context_schedule:
            schedule = ContextSchedule(self.context_stages())
            self.max_completion_length = schedule.longest
            if self.max_steps <= 0 and schedule.total_steps is not None:
                self.max_steps = schedule.total_steps
        if self.global_batch_size is not None and self.steps_per_generation is not None:
            raise StageError(
                "steps_per_generation: what is sampled at once would change with the number of processes, and "
                "global_batch_size would not; set generation_batch_size."
            )
        settle_batch(self, group=self.num_generations)
        if self.neftune_noise_alpha is not None:
            self.share_prefixes = False  # a prompt has other noise in every row
        super().__post_init__()

    def context_stages(self) -> tuple[ContextStage, ...]:
        """Return the stages of the context; one without an end if there is no schedule."""
        whole = [{"max_completion_length": self.max_completion_length}]
        return parse_stages(self.context_schedule or whole, beta=self.beta, entropy_coef=self.entropy_coef)
