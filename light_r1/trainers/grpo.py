"""StagedGRPOTrainer: TRL's GRPOTrainer with a context that grows inside one run.

What it changes:

- `context_schedule` lengthens (or shortens) completions by stages of steps, as DeepScaleR and FastCuRL do by
  separate runs. Setting TRL's `max_completion_length` alone changes nothing for transformers generation;
- completions are sampled by `light_r1.samplers.hf`, where rows that end make room for others (vLLM stays TRL's own);
- the KL reference is the model that training starts from;
- completions are scored in packed rows that hold each prompt once;
- reward functions see whole responses: think tags that are special tokens are kept, a forced opening tag is put back;
- a reward that raises gives `None` for its completion, is counted, and does not stop the run; a batch without any
  reward does, with the reasons, instead of training on zeros.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from datasets import Dataset
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback
from trl import GRPOConfig, GRPOTrainer
from trl.models import unwrap_model_for_generation

from light_r1.chat import ChatFormat
from light_r1.errors import LightR1Error, StageError
from light_r1.rewards import Reward
from light_r1.samplers import Request, SamplingParams
from light_r1.samplers.hf import HFSampler
from light_r1.trainers.scoring import SharedPrefixModel

log = logging.getLogger(__name__)


@dataclass
class StagedGRPOConfig(GRPOConfig):
    """TRL's `GRPOConfig` and the fields below.

    Args:
        context_schedule: Context stages, each `{"steps": optimizer steps, "max_completion_length": tokens}`; the last
            one may leave out `steps` to last until the end. Without a schedule, `max_completion_length` holds
            throughout.
        max_steps: Optimizer steps; the sum of the schedule's steps if not set.
        share_prefixes: Score completions without padding and encode each prompt once: the same numbers for less work.
            Models that cannot are scored as TRL does.
        sampling_batch_size: Completions decoded at once on each device.
    """

    context_schedule: list[dict[str, int]] | None = field(default=None, metadata={"help": "Stages of the context."})
    share_prefixes: bool = field(default=True, metadata={"help": "Score completions packed, a prompt once."})
    sampling_batch_size: int = field(default=128, metadata={"help": "Completions decoded at once."})

    max_steps: int = field(default=-1, metadata={"help": "Optimizer steps; from context_schedule if not set."})

    def __post_init__(self) -> None:
        """Size everything for the longest context stage."""
        if self.context_schedule:
            stages = ContextSchedule.parse(self.context_schedule)
            self.max_completion_length = max(stage.max_completion_length for stage in stages)
            if self.max_steps <= 0 and all(stage.steps is not None for stage in stages):
                self.max_steps = sum(stage.steps or 0 for stage in stages)
        super().__post_init__()


@dataclass(frozen=True, slots=True)
class ContextStage:
    """One stage of the context: how long it lasts (`None` = to the end) and how long completions may be."""

    steps: int | None
    max_completion_length: int


class ContextSchedule:
    """Which context stage an optimizer step belongs to."""

    def __init__(self, stages: Sequence[ContextStage]) -> None:
        self.stages = tuple(stages)

    @staticmethod
    def parse(entries: Sequence[Mapping[str, int]]) -> tuple[ContextStage, ...]:
        """Read the entries of `context_schedule`.

        Raises:
            LightR1Error: A key is unknown, a number is not positive, or `steps` is missing before the last entry.
        """
        stages = []
        for index, entry in enumerate(entries):
            where = f"context_schedule[{index}]"
            unknown = set(entry) - {"steps", "max_completion_length"}
            if unknown or "max_completion_length" not in entry:
                raise LightR1Error(f"{where}: expected steps and max_completion_length, got {sorted(entry)}")
            if any(not isinstance(value, int) or value < 1 for value in entry.values()):
                raise LightR1Error(f"{where}: expected positive whole numbers, got {dict(entry)}")
            if "steps" not in entry and index < len(entries) - 1:
                raise LightR1Error(f"{where}: only the last stage may leave out steps")
            stages.append(ContextStage(entry.get("steps"), entry["max_completion_length"]))
        return tuple(stages)

    def at(self, step: int) -> ContextStage:
        """Return the stage of an optimizer step, from 0; the last one from its start to any later step."""
        for stage in self.stages[:-1]:
            if stage.steps is not None and step < stage.steps:
                return stage
            step -= stage.steps or 0
        return self.stages[-1]


class _ContextCallback(TrainerCallback):
    def __init__(self, trainer: StagedGRPOTrainer) -> None:
        self.trainer = trainer

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.enter_context_of(state.global_step)


class StagedGRPOTrainer(GRPOTrainer):
    """GRPO with a staged context.

    Args:
        model: Model, or path of one, as in TRL.
        reward_funcs: Reward functions, of `light_r1.rewards` or your own, as in TRL.
        args: A `StagedGRPOConfig`.
        train_dataset: Rows with `problem` (rendered by `chat`) or `prompt` (a rendered prompt), and the columns that
            the rewards use, such as `answer`.
        processing_class: The tokenizer.
        chat: How problems are rendered; `ChatFormat(processing_class)` if `None`.
        **kwargs: Further arguments of `trl.GRPOTrainer`.

    Example:
        >>> args = StagedGRPOConfig("out", context_schedule=[{"steps": 1000, "max_completion_length": 8192},
        ...                                                   {"steps": 500, "max_completion_length": 16384}])
        >>> StagedGRPOTrainer("agentica/model", [accuracy], args, train_dataset=problems).train()
    """

    _tag_names = ["trl", "grpo", "light_r1"]  # noqa: RUF012 - TRL's own attribute

    def __init__(
        self,
        model: str | PreTrainedModel,
        reward_funcs: Sequence[Reward],
        args: StagedGRPOConfig,
        train_dataset: Dataset | Sequence[Mapping[str, Any]],
        processing_class: PreTrainedTokenizerBase | None = None,
        *,
        chat: ChatFormat | None = None,
        **kwargs: Any,
    ) -> None:
        if processing_class is None:
            from light_r1.models import load_tokenizer

            processing_class = load_tokenizer(model if isinstance(model, str) else model.config._name_or_path)
        self.chat = chat or ChatFormat(processing_class)
        if not isinstance(train_dataset, Dataset):
            train_dataset = Dataset.from_list([dict(row) for row in train_dataset])
        if "prompt" not in train_dataset.column_names:
            train_dataset = train_dataset.map(lambda row: {"prompt": self.chat.prompt_text(row["problem"])})
        if not args.use_vllm and "rollout_func" not in kwargs:
            kwargs["rollout_func"] = sampled_rollout
        stages = ContextSchedule.parse(
            args.context_schedule or [{"max_completion_length": args.max_completion_length}]
        )
        self.context = ContextSchedule(stages)
        self.reward_failures: dict[str, int] = {}
        needs_reference = args.beta != 0 and "peft_config" not in kwargs and not isinstance(model, PeftModel)
        with reference_on_disk(model, args) if needs_reference else nullcontext():
            super().__init__(
                model=model,
                reward_funcs=[_Guarded(reward, self.reward_failures) for reward in reward_funcs],
                args=args,
                train_dataset=train_dataset,
                processing_class=processing_class,
                **kwargs,
            )
        self.eos_token_ids: list[int] = sorted({*self.eos_token_ids, self.chat.end_token_id})
        self.add_callback(_ContextCallback(self))

    def enter_context_of(self, step: int) -> None:
        """Set the completion length of an optimizer step everywhere TRL reads it."""
        length = self.context.at(step).max_completion_length
        self.max_completion_length = length
        if self.use_vllm:
            self.vllm_generation.max_completion_length = length
        else:
            self.generation_config.max_new_tokens = length
            self.generation_kwargs["max_new_tokens"] = length

    def _get_per_token_logps_and_entropies(self, model: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        if self.args.share_prefixes:
            model = SharedPrefixModel(model, self.accelerator.unwrap_model(model))
        return super()._get_per_token_logps_and_entropies(model, *args, **kwargs)

    def _calculate_rewards(
        self,
        inputs: list[dict[str, Any]],
        prompts: list[str],
        completions: list[Any],
        completion_ids_list: list[list[int]],
    ) -> torch.Tensor:
        responses = [self.chat.response_text(ids) for ids in completion_ids_list]
        rewards = super()._calculate_rewards(inputs, prompts, responses, completion_ids_list)
        self._metrics["train" if self.model.training else "eval"]["context/max_completion_length"].append(
            float(self.max_completion_length)
        )
        if bool(torch.isnan(rewards).all()):
            raise StageError(
                "no completion of this batch got a reward, so there is nothing to learn from. Failures so far: "
                f"{self.reward_failures or 'none raised; every reward returned None'}."
            )
        return rewards


@contextmanager
def reference_on_disk(model: str | PreTrainedModel, args: GRPOConfig) -> Iterator[None]:
    """Let TRL load the KL reference from the very weights that training starts from.

    It loads it from the path in the model's config, which is another model if weights were changed in memory, and
    none at all if it was made there. The copy is removed once it has been loaded.
    """
    if isinstance(model, str):
        yield
        return
    folder, state = Path(args.output_dir) / "reference", PartialState()
    if state.is_main_process:
        model.save_pretrained(folder)
    state.wait_for_everyone()
    name, model.config._name_or_path = model.config._name_or_path, str(folder)
    try:
        yield
    finally:
        model.config._name_or_path = name
        state.wait_for_everyone()
        if state.is_main_process:
            shutil.rmtree(folder, ignore_errors=True)


def sampled_rollout(prompts: list[str], trainer: StagedGRPOTrainer) -> dict[str, Any]:
    """Sample one completion for each prompt of the local batch: TRL's `rollout_func`."""
    args, process = trainer.args, trainer.accelerator.process_index
    prompt_ids = [trainer.chat.encode(prompt) for prompt in prompts]
    requests = [
        Request(prompt, process * len(prompts) + index, tuple(ids))
        for index, (prompt, ids) in enumerate(zip(prompts, prompt_ids, strict=True))
    ]
    params = SamplingParams(
        max_tokens=trainer.max_completion_length,
        temperature=args.temperature,
        top_p=args.top_p,
        top_k=args.top_k or None,
        # Every generation needs its own samples, and a resumed run the same ones.
        seed=args.seed * 1_000_003 + trainer.state.global_step,
    )
    with unwrap_model_for_generation(
        trainer.model_wrapped,
        trainer.accelerator,
        gather_deepspeed3_params=args.ds3_gather_for_generation,
    ) as model:
        sampler = HFSampler(
            model,
            eos_token_ids=trainer.eos_token_ids,
            pad_token_id=trainer._tokenizer.pad_token_id,
            batch_size=args.sampling_batch_size,
        )
        with trainer.accelerator.autocast():
            completions = sampler.sample(requests, params)
    return {
        "prompt_ids": prompt_ids,
        "completion_ids": [completion.completion_ids for completion in completions],
        "logprobs": None,
    }


class _Guarded:
    """A reward whose failures cost one completion, not the run."""

    def __init__(self, reward: Reward, failures: dict[str, int]) -> None:
        self.reward = reward
        self.failures = failures
        self.__name__ = reward.__name__

    def __call__(self, **columns: Any) -> list[float | None]:
        try:
            return self.reward(**columns)
        except Exception as error:
            log.debug("%s failed on a batch (%s); asked again, one completion at a time", self.__name__, error)
        size = len(columns["completions"])
        return [self._one(columns, index, size) for index in range(size)]

    def _one(self, columns: Mapping[str, Any], index: int, size: int) -> float | None:
        row = {
            name: [value[index]] if isinstance(value, list) and len(value) == size else value
            for name, value in columns.items()
        }
        try:
            return self.reward(**row)[0]
        except Exception as error:
            self._count(error)
            return None

    def _count(self, error: Exception) -> None:
        name = f"{self.__name__}: {type(error).__name__}: {error}"
        self.failures[name] = self.failures.get(name, 0) + 1
