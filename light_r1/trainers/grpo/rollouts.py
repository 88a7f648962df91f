"""Where GRPO's completions come from: our sampler, or TRL's own generation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trl.models import unwrap_model_for_generation

from light_r1.rollouts.hf import HFSampler
from light_r1.rollouts.sampler import Request, SamplingParams

if TYPE_CHECKING:
    from light_r1.trainers.grpo.interface import StagedTrainer


def sampled_rollout(prompts: list[str], trainer: StagedTrainer) -> dict[str, Any]:
    """Sample one completion for each prompt of the local batch: TRL's `rollout_func`."""
    args, process = trainer.args, trainer.accelerator.process_index
    prompt_ids = [trainer.chat.encode(prompt) for prompt in prompts]
    requests = [
        Request(prompt, process * len(prompts) + index, tuple(ids))
        for index, (prompt, ids) in enumerate(zip(prompts, prompt_ids, strict=True))
    ]
    params = SamplingParams(
        max_tokens=trainer.max_completion_length,
        temperature=trainer.temperature,
        top_p=args.top_p,
        top_k=args.top_k or None,
        # Every generation needs its own samples, and a resumed run the same ones.
        seed=(args.seed + 7919 * trainer.rewinds) * 1_000_003 + trainer.state.global_step,
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


def trl_rollout(prompts: list[str], trainer: StagedTrainer) -> dict[str, Any]:
    """Sample as TRL does without a `rollout_func`: with vLLM, or with `model.generate`."""
    prompt_ids, images, fields = trainer._tokenize_prompts(prompts)
    completion_ids, logprobs = trainer._generate_single_turn(prompt_ids, images, fields, trainer.num_generations)
    return {"prompt_ids": prompt_ids, "completion_ids": completion_ids, "logprobs": logprobs}
