"""StagedGRPOTrainer: TRL's GRPOTrainer with a context that grows inside one run.

What it changes:

- `context_schedule` lengthens (or shortens) completions by stages of steps, as DeepScaleR and FastCuRL do by
  separate runs. Setting TRL's `max_completion_length` alone changes nothing for transformers generation;
- completions are sampled by `light_r1.rollouts.hf`, where rows that end make room for others; with
  vLLM, or settings that it does not know, by TRL (`light_r1.trainers.grpo.rollouts`);
- the KL reference is the model that training starts from;
- completions are scored in packed rows that hold each prompt once;
- rewards that compare the completions of a group see whole groups, on any number of processes;
- reward functions see whole responses: think tags that are special tokens are kept, a forced opening tag is put back;
- prompts outside a pass-rate window rest, and groups whose rewards are all equal are replaced (dynamic sampling);
- a collapse (of reward, entropy or length) stops the run, or rewinds it to the last good checkpoint;
- a reward that raises gives `None` for its completion, is counted, and does not stop the run; a batch without any
  reward does, with the reasons, instead of training on zeros.
"""

from __future__ import annotations

import logging
import math
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from datasets import Dataset
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from trl import GRPOConfig, GRPOTrainer

from light_r1.errors import DataError, LightR1Error, StageError
from light_r1.models.chat import ChatFormat
from light_r1.rewards.group import GroupReward
from light_r1.rewards.guard import GuardedReward, stop_without_rewards
from light_r1.rewards.text import Reward
from light_r1.rollouts.judge import time_outs
from light_r1.trainers.building import (
    Rows,
    adapter_weights,
    as_rows,
    held_out_rows,
    hold_as_computed,
    prepared,
    refuse_torn,
    settle,
)
from light_r1.trainers.difficulty import difficulty_rewards
from light_r1.trainers.grpo.callback import Collapsed, ContextCallback
from light_r1.trainers.grpo.collapse import CollapseBounds, CollapseWatch
from light_r1.trainers.grpo.config import StagedGRPOConfig
from light_r1.trainers.grpo.context import ContextSchedule
from light_r1.trainers.grpo.dynamic_sampling import ChosenBatch, DynamicSampling
from light_r1.trainers.grpo.metrics import generation_metrics, reward_metrics, totals_of
from light_r1.trainers.grpo.prompt_queue import PromptQueue
from light_r1.trainers.grpo.prompt_queue import prompt_ids as ids_of
from light_r1.trainers.grpo.rollouts import rollout_of, trl_rollout
from light_r1.trainers.grpo.signal import no_signal
from light_r1.trainers.grpo.whole_groups import WholeGroups
from light_r1.trainers.grpo.window import window_of
from light_r1.trainers.scoring import SharedPrefixModel

log = logging.getLogger(__name__)


class StagedGRPOTrainer(GRPOTrainer):
    """GRPO with a staged context.

    Args:
        model: Model, or path of one, as in TRL.
        reward_funcs: Reward functions: `accuracy` and others of `light_r1`, or your own, as in TRL.
        args: A `StagedGRPOConfig`; a default one if `None`.
        train_dataset: Rows with `problem` (rendered by `chat`) or `prompt` (a rendered prompt), and the columns that
            the rewards use, such as `answer`.
        processing_class: The tokenizer; that of `chat` or beside the model if `None`.
        chat: How problems are rendered; `ChatFormat(processing_class)` if `None`.
        **kwargs: Further arguments of `trl.GRPOTrainer`.

    Attributes:
        dropped: Rows that `data_tools` had dropped, each with its reason.

    Raises:
        DataError: There are no rows, or they have neither a problem nor a prompt.
        LightR1Error: `chat_template_kwargs` are given for prompts that are rendered text.
        StageError: `model` is the path of an adapter, or its adapter would untie tied embeddings.

    Example:
        >>> args = StagedGRPOConfig("out", context_schedule=[{"steps": 1000, "max_completion_length": 8192},
        ...                                                   {"steps": 500, "max_completion_length": 16384}])
        >>> StagedGRPOTrainer("agentica/model", [accuracy], args, train_dataset=problems).train()
    """

    _tag_names = ["trl", "grpo", "light_r1"]  # noqa: RUF012 - TRL's own attribute
    rollout_func: Any
    _last_loaded_step: int

    def __init__(
        self,
        model: str | PreTrainedModel,
        reward_funcs: Sequence[Reward],
        args: StagedGRPOConfig | None = None,
        train_dataset: Rows = (),
        processing_class: PreTrainedTokenizerBase | None = None,
        *,
        chat: ChatFormat | None = None,
        **kwargs: Any,
    ) -> None:
        config, processing_class, self.chat = prepared(model, args, StagedGRPOConfig, processing_class, chat)
        self.dropped: list[dict[str, Any]] = []
        kept = adapter_weights(model)
        rows = self._with_prompts(as_rows(train_dataset, "train", self.dropped))
        if config.chat_template_kwargs and isinstance(rows[0]["prompt"], str):
            raise LightR1Error("chat_template_kwargs: these prompts are rendered text, no chat template is applied.")
        held_out = held_out_rows(kwargs.pop("eval_dataset", None), self.dropped)
        if isinstance(held_out, dict):
            held_out = {name: self._with_prompts(each) for name, each in held_out.items()}
        elif held_out is not None:
            held_out = self._with_prompts(held_out)
        self.context = ContextSchedule(config.context_stages())
        self.watch = CollapseWatch(CollapseBounds(**(config.collapse or {})))
        self.rewinds = 0
        self.guards = [GuardedReward(reward, deadline_s=config.reward_deadline_s) for reward in reward_funcs]
        needs_reference = config.beta != 0 and "peft_config" not in kwargs and not isinstance(model, PeftModel)
        with reference_on_disk(model, config) if needs_reference else nullcontext():
            super().__init__(
                model=model,
                reward_funcs=[
                    WholeGroups(guard, self) if isinstance(guard.reward, GroupReward) else guard
                    for guard in self.guards
                ],
                args=config,
                train_dataset=rows,
                eval_dataset=held_out,
                processing_class=processing_class,
                **kwargs,
            )
        computed = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.accelerator.mixed_precision)
        sharded = self.is_deepspeed_enabled or self.is_fsdp_enabled
        if needs_reference and computed is not None and not (config.sync_ref_model or sharded):
            hold_as_computed(self.ref_model, computed)
        self.finite = settle(self, processing_class, self.chat, kept)
        self.eos_token_ids: list[int] = sorted({*self.eos_token_ids, self.chat.end_token_id})
        if not config.use_vllm:
            self._generate_with(eos_token_id=self.eos_token_ids)
            if "rollout_func" not in kwargs:
                self.rollout_func = rollout_of(self)
        self.queue: PromptQueue | None = None
        self.choice: DynamicSampling | None = None
        self._chosen: ChosenBatch | None = None
        if config.pass_rate_window is not None or config.dynamic_sampling:
            self.queue = self._prompt_queue()
            self.choice = DynamicSampling(self, self.queue, config.dynamic_sampling)
        self.by_difficulty = difficulty_rewards(self.train_dataset)
        self.add_callback(ContextCallback(self))

    def _with_prompts(self, rows: Dataset) -> Dataset:
        if "prompt" in rows.column_names:
            return rows
        if "problem" not in rows.column_names:
            raise DataError(f"rows need a column problem or prompt, and have {rows.column_names}.")
        return rows.map(lambda row: {"prompt": self.chat.prompt_text(row["problem"])})

    def _prompt_queue(self) -> PromptQueue:
        dataset, bounds = self.train_dataset, self.args.pass_rate_window
        ids = ids_of(list(dataset["prompt"]))
        rates = dataset["pass_rate"] if "pass_rate" in dataset.column_names else [None] * len(ids)
        priors = {name: rate for name, rate in zip(ids, rates, strict=True) if rate is not None}
        window = None if bounds is None else window_of(bounds, priors)
        return PromptQueue(ids, shuffle=self.shuffle_dataset, seed=self.args.seed, window=window)

    @property
    def reward_failures(self) -> Counter[str]:
        """Reason -> completions that were left without a reward."""
        return sum((guard.failures for guard in self.guards), Counter())

    def compute_loss(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Compute TRL's loss; one that is no number shows in the gradients of all ranks."""
        return self.finite.spread(super().compute_loss(*args, **kwargs))

    def _get_grad_norm(self, *args: Any, **kwargs: Any) -> Any:
        norm = super()._get_grad_norm(*args, **kwargs)
        self.finite.see_norm(norm)
        return norm

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the model, unless weights of it are no numbers."""
        self.finite.before_save(output_dir)
        super().save_model(output_dir, _internal_call)

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs: Any) -> Any:
        """Train, or go on from a whole checkpoint; after a collapse, from the last good one with `rewind`."""
        refuse_torn(resume_from_checkpoint, self.args.output_dir)
        while True:
            try:
                return super().train(resume_from_checkpoint=resume_from_checkpoint, **kwargs)
            except Collapsed as error:
                good = self._checkpoint_before(error.collapse.last_good_step)
                if self.args.on_collapse != "rewind" or self.rewinds >= self.args.max_rewinds or good is None:
                    raise
                self.rewinds += 1
                log.warning("%s Rewinding to %s (%d of %d).", error, good, self.rewinds, self.args.max_rewinds)
                resume_from_checkpoint = str(good)
                self._step, self._buffered_inputs = 0, None  # completions of the collapsed policy

    def _checkpoint_before(self, step: int) -> Path | None:
        steps = {int(path.name.rpartition("-")[2]): path for path in Path(self.args.output_dir).glob("checkpoint-*")}
        return steps[max(good)] if (good := [number for number in steps if number <= step]) else None

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        if self._step % (self.args.steps_per_generation * self.num_iterations):
            # TRL would sample anew after a resume, for a different part of the steps that share completions.
            saved = {"step": self._step, "batches": self._buffered_inputs, "processes": self.accelerator.num_processes}
            torch.save(saved, self._completions_file(output_dir))

    def _load_rng_state(self, checkpoint: str | None) -> None:
        super()._load_rng_state(checkpoint)
        kept = sorted(Path(checkpoint).glob("completions_*.pt")) if checkpoint is not None else []
        if not kept:
            return
        processes, passes = self.accelerator.num_processes, self.args.steps_per_generation
        file = self._completions_file(str(checkpoint))
        saved = torch.load(file if file in kept else kept[0], map_location=self.accelerator.device, weights_only=True)
        if (saved["processes"], len(saved["batches"])) != (processes, passes):
            raise StageError(
                f"{checkpoint} was saved between steps that share completions, held by {saved['processes']} processes "
                f"for {len(saved['batches'])} forward passes each; {processes} with {passes} cannot go on from it. "
                "Start as it was begun, or from a checkpoint at which completions are sampled."
            )
        self._step, self._buffered_inputs = saved["step"], saved["batches"]

    def _completions_file(self, checkpoint: str) -> Path:
        return Path(checkpoint) / f"completions_{self.accelerator.process_index}.pt"

    def enter_context(self) -> None:
        """Set the completion length and the settings of the current stage everywhere TRL reads them."""
        stage = self.context.stage
        length = stage.max_completion_length
        self.beta = stage.settings.get("beta", self.args.beta)
        if "entropy_coef" in stage.settings or not self.use_adaptive_entropy:  # which moves it by itself
            self.entropy_coef = stage.settings.get("entropy_coef", self.args.entropy_coef)
        self.max_completion_length = length
        if self.use_vllm:
            self.vllm_generation.max_completion_length = length
        else:
            self._generate_with(max_new_tokens=length)

    def _generate_with(self, **settings: Any) -> None:
        """Set what TRL's own generation uses; `generation_kwargs` of the args go before."""
        settings |= {name: value for name, value in (self.args.generation_kwargs or {}).items() if name in settings}
        self.generation_config.update(**settings)
        self.generation_kwargs |= settings

    def _get_per_token_logps_and_entropies(self, model: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        if self.args.share_prefixes:
            model = SharedPrefixModel(model)
        return super()._get_per_token_logps_and_entropies(model, *args, **kwargs)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        self.finite.read()  # before weights that are no numbers sample to the limit
        before = sum(guard.seconds for guard in self.guards)
        if self.choice is None or not self.model.training:
            output = super()._generate_and_score_completions(inputs)
            sampled = len(inputs) * self.accelerator.num_processes
        else:
            self._chosen = self.choice.choose()
            sampled = self._chosen.sampled
            usual, self.rollout_func = self.rollout_func, self._chosen.replay
            try:
                output = super()._generate_and_score_completions(self._chosen.rows)
            finally:
                self.rollout_func, self._chosen = usual, None
        seconds = sum(guard.seconds for guard in self.guards) - before
        for name, value in generation_metrics(self, output, sampled=sampled, seconds=seconds).items():
            self._metrics["train" if self.model.training else "eval"][name].append(value)
        return output

    def rollout(self, prompts: list[str]) -> dict[str, Any]:
        """Return one completion for each prompt, sampled as TRL samples them, with the weights of this step."""
        if self.rollout_func is None:
            return trl_rollout(prompts, self)
        if self.use_vllm and self.state.global_step != self._last_loaded_step:
            self.vllm_generation.sync_weights()
            self._last_loaded_step = self.state.global_step
        return self.rollout_func(prompts, self)

    def judged(self, inputs: list[dict[str, Any]], prompts: list[str], ids: list[list[int]]) -> torch.Tensor:
        """Return the rewards of completions, `[completions of all ranks, functions]`."""
        responses = [self.chat.response_text(one) for one in ids]
        rewards = super()._calculate_rewards(inputs, prompts, responses, ids)
        infinite = rewards.isinf().any(dim=0).tolist()
        if any(infinite):  # TRL would make advantages of 0, or of 3e38, of it
            names = [name for name, found in zip(self.reward_func_names, infinite, strict=True) if found]
            raise StageError(f"{', '.join(names)} returned an infinite reward; None is for completions without one.")
        return rewards

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log TRL's numbers, those that have a value; say before if nothing of the window carried gradient."""
        if self.model.training and (text := no_signal(self)) is not None:
            if self.args.on_no_signal == "stop":
                raise StageError(text)
            if self.accelerator.is_main_process:
                log.warning(text)
        metrics = self._metrics["train" if self.model.training else "eval"]
        for name in [name for name, values in metrics.items() if all(map(math.isnan, values))]:
            del metrics[name]  # TRL would log None, which no table, bar or plot can show
        super().log(logs, start_time)

    def _calculate_rewards(
        self,
        inputs: list[dict[str, Any]],
        prompts: list[str],
        completions: list[Any],
        completion_ids_list: list[list[int]],
    ) -> torch.Tensor:
        metrics = self._metrics["train" if self.model.training else "eval"]
        if self._chosen is not None:
            rewards = self._chosen.rewards
        else:
            rewards = self.judged(inputs, prompts, completion_ids_list)
            if self.by_difficulty is not None and self.model.training:
                difficulties = gather_object([row["difficulty"] for row in inputs])
                totals = totals_of(rewards, self.reward_weights)
                for name, value in self.by_difficulty.metrics(difficulties, totals).items():
                    metrics[name].append(value)
        metrics["context/max_completion_length"].append(float(self.max_completion_length))
        lengths = torch.tensor([len(ids) for ids in completion_ids_list], device=rewards.device)
        longest = self.accelerator.gather(lengths).float().quantile(0.95).item()
        metrics["completions/p95_length"].append(longest)
        if self.model.training:
            for name, value in reward_metrics(self, rewards, completion_ids_list).items():
                metrics[name].append(value)
        stop_without_rewards(rewards.T.tolist(), self.reward_failures + time_outs())
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
