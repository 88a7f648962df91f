"""Sampling with vLLM in this process.

Token ids in, token ids out, a seed for every sample. vLLM loads the weights again from the folder that the model came
from, so they must be there: a stage saves its starting model first. For a vLLM server, or one that TRL updates, use
the `openai` backend. vLLM needs a GPU and is not installed with this package; the tests run this file against a
stand-in for vLLM's three classes, never against vLLM itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from light_r1.errors import LightR1Error
from light_r1.rollouts.openai import request_seed
from light_r1.rollouts.sampler import Completion, Request, SamplingParams

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from light_r1.models.chat import ChatFormat


class VLLMSampler:
    """Samples with a vLLM engine.

    Args:
        engine: A `vllm.LLM`.
        end_token_id: Token that ends a completion.
    """

    def __init__(self, engine: Any, *, end_token_id: int) -> None:
        self.engine = engine
        self.end_token_id = end_token_id

    def sample(self, requests: Sequence[Request], params: SamplingParams) -> list[Completion]:
        """Return one completion for each request, in order; vLLM schedules them as memory allows."""
        from vllm import SamplingParams as EngineParams

        prompts = [{"prompt_token_ids": list(request.prompt_ids)} for request in requests]
        each = [
            EngineParams(
                max_tokens=params.max_tokens,
                temperature=params.temperature,
                top_p=params.top_p,
                top_k=params.top_k or -1,
                min_p=params.min_p or 0.0,
                repetition_penalty=params.repetition_penalty,
                seed=request_seed(params.seed, request),
                stop_token_ids=[self.end_token_id],
                detokenize=False,
            )
            for request in requests
        ]
        outputs = self.engine.generate(prompts, each, use_tqdm=False)
        return [self._completion(request, output) for request, output in zip(requests, outputs, strict=True)]

    def _completion(self, request: Request, output: Any) -> Completion:
        ids = list(output.outputs[0].token_ids)
        finished = output.outputs[0].finish_reason == "stop"
        if finished and ids[-1:] != [self.end_token_id]:
            ids.append(self.end_token_id)
        return Completion(request, ids, finished)


def from_chat(
    *,
    model: PreTrainedModel,
    chat: ChatFormat,
    batch_size: int,
    tensor_parallel_size: int = 1,
    gpu_memory_utilization: float = 0.85,
    max_model_len: int | None = None,
) -> VLLMSampler:
    """Build the sampler of a recipe: `sampler: {backend: vllm}`.

    Args:
        model: The stage's model, on disk where its config says.
        chat: Its chat format.
        batch_size: Not used: vLLM decides what runs together.
        tensor_parallel_size: GPUs that share the model.
        gpu_memory_utilization: Share of the GPU's memory that vLLM may take, the model in memory included.
        max_model_len: Longest prompt and completion together; the model's own limit if `None`.

    Raises:
        LightR1Error: vLLM is not installed, or the model is not on disk.
    """
    if not model.config._name_or_path:
        raise LightR1Error("sampler.backend vllm: the model has no folder that vLLM could load it from")
    try:
        from vllm import LLM
    except ImportError as error:
        raise LightR1Error('sampler.backend vllm needs vLLM: pip install "light-r1[vllm]"') from error
    engine = LLM(
        model=model.config._name_or_path,
        dtype=str(model.dtype).removeprefix("torch."),
        tensor_parallel_size=tensor_parallel_size,
        gpu_memory_utilization=gpu_memory_utilization,
        max_model_len=max_model_len,
        enable_prefix_caching=True,
    )
    return VLLMSampler(engine, end_token_id=chat.end_token_id)
