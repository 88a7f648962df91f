"""Where GRPO's completions come from: our sampler, or TRL's own generation.

Our sampler honours `temperature`, `top_p`, `top_k`, `min_p` and `repetition_penalty`, also inside `generation_kwargs`
and as transformers would fill them in from the model's `generation_config`. Any other setting that shapes completions
leaves the whole generation to TRL, and one line of the log says which.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from transformers import GenerationConfig
from trl.models import unwrap_model_for_generation

from light_r1.errors import StageError
from light_r1.rollouts.hf import HFSampler, why_not_sampled
from light_r1.rollouts.sampler import Request, SamplingParams

if TYPE_CHECKING:
    from light_r1.trainers.grpo.interface import StagedTrainer

log = logging.getLogger(__name__)

HONOURED = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
_SET_BY_TRL = frozenset({"max_length", "max_new_tokens", "do_sample", "bos_token_id", "eos_token_id", "pad_token_id"})
_WITHOUT_EFFECT = frozenset({"transformers_version", "_from_model_config"})


def rollout_of(trainer: StagedTrainer) -> Callable[[list[str], StagedTrainer], dict[str, Any]] | None:
    """Return TRL's `rollout_func`: our sampler where it honours all that is set, else TRL's own generation.

    `None` leaves the rendering of prompts to TRL too.
    """
    needs = _rendered_by_trl(trainer)
    reason = needs or _not_honoured(trainer)
    if reason is None:
        return sampled_rollout
    if trainer.accelerator.is_main_process:
        log.warning("Completions are sampled by TRL's own generation, because of %s.", reason)
    return None if needs else generated_rollout


def _rendered_by_trl(trainer: StagedTrainer) -> str | None:
    """Name what only TRL can make a prompt of."""
    columns = trainer.train_dataset.column_names
    needs = {
        "tools": bool(trainer.tools),
        "environment_factory": trainer.environment_factories is not None,
        "images": trainer._is_vlm or "image" in columns or "images" in columns,
        "prompts that are messages": "prompt" in columns and not isinstance(trainer.train_dataset[0]["prompt"], str),
    }
    return ", ".join(name for name, needed in needs.items() if needed) or None


def _not_honoured(trainer: StagedTrainer) -> str | None:
    """Name what our sampler would ignore."""
    args, asked = trainer.args, trainer.args.generation_kwargs or {}
    if args.use_transformers_continuous_batching:
        return "use_transformers_continuous_batching"
    if args.cache_implementation is not None:
        return f"cache_implementation: {args.cache_implementation}"
    if other := [name for name in asked if name not in HONOURED]:
        return f"generation_kwargs: {', '.join(other)}"
    declared = trainer.model.generation_config.to_diff_dict()
    if declared.get("cache_implementation") == "hybrid":  # transformers leaves it out
        del declared["cache_implementation"]
    neutral = GenerationConfig._get_default_generation_params()
    effective = {name for name, value in declared.items() if value and value != neutral.get(name)}
    if other := sorted(effective - {*HONOURED} - _SET_BY_TRL - _WITHOUT_EFFECT):
        return f"the model's generation_config: {', '.join(other)}"
    return why_not_sampled(trainer.model)


def sampling_params(trainer: StagedTrainer) -> SamplingParams:
    """Return how the current step samples: as `model.generate` would with TRL's settings."""
    used = dict(GenerationConfig._get_default_generation_params())
    for settings in (trainer.model.generation_config.to_diff_dict(), trainer.generation_kwargs):
        used |= {name: value for name, value in settings.items() if value is not None}
    return SamplingParams(
        max_tokens=trainer.max_completion_length,
        # Every generation needs its own samples, and a resumed run the same ones.
        seed=(trainer.args.seed + 7919 * trainer.rewinds) * 1_000_003 + trainer.state.global_step,
        **{name: used[name] for name in HONOURED if name in used},
    )


def sampled_rollout(prompts: list[str], trainer: StagedTrainer) -> dict[str, Any]:
    """Sample one completion for each prompt of the local batch: TRL's `rollout_func`."""
    args, process = trainer.args, trainer.accelerator.process_index
    prompt_ids = [trainer.chat.encode(prompt) for prompt in prompts]
    requests = [
        Request(prompt, process * len(prompts) + index, tuple(ids))
        for index, (prompt, ids) in enumerate(zip(prompts, prompt_ids, strict=True))
    ]
    with unwrap_model_for_generation(
        trainer.model_wrapped,
        trainer.accelerator,
        gather_deepspeed3_params=args.ds3_gather_for_generation,
        gradient_checkpointing_kwargs=args.gradient_checkpointing_kwargs,
    ) as model:
        sampler = HFSampler(
            model,
            eos_token_ids=trainer.eos_token_ids,
            pad_token_id=trainer._tokenizer.pad_token_id,
            batch_size=args.sampling_batch_size,
        )
        try:
            with trainer.accelerator.autocast():
                completions = sampler.sample(requests, sampling_params(trainer))
        except StageError as error:  # logits that are no numbers
            raise StageError(f"step {trainer.state.global_step + 1}: {error} {trainer.finite.outlook()}") from error
    return {
        "prompt_ids": prompt_ids,
        "completion_ids": [completion.completion_ids for completion in completions],
        "logprobs": None,
    }


def generated_rollout(prompts: list[str], trainer: StagedTrainer) -> dict[str, Any]:
    """Sample rendered prompts by TRL's own generation; a start token in a prompt stays the only one."""
    prompt_ids = [trainer.chat.encode(prompt) for prompt in prompts]
    completion_ids, logprobs = trainer._generate_single_turn(prompt_ids, None, {}, trainer.num_generations)
    return {"prompt_ids": prompt_ids, "completion_ids": completion_ids, "logprobs": logprobs}


def trl_rollout(prompts: list[str], trainer: StagedTrainer) -> dict[str, Any]:
    """Sample as TRL does without a `rollout_func`: with vLLM, or with `model.generate`."""
    prompt_ids, images, fields = trainer._tokenize_prompts(prompts)
    completion_ids, logprobs = trainer._generate_single_turn(prompt_ids, images, fields, trainer.num_generations)
    return {"prompt_ids": prompt_ids, "completion_ids": completion_ids, "logprobs": logprobs}
