"""Accuracy on held-out problems during training: samples of the current model, graded by the verifier.

The held-out loss of long thoughts falls and rises again without saying which checkpoint answers best. Each process
samples its share with the model it holds. Left out: models sharded over processes, of which none could sample alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from accelerate import Accelerator
from transformers import PreTrainedModel

from light_r1.errors import DataError
from light_r1.models.chat import ChatFormat
from light_r1.rollouts.hf import HFSampler
from light_r1.rollouts.judge import shared_judge
from light_r1.rollouts.sampler import Request, SamplingParams

TEMPERATURE, TOP_P = 0.6, 0.95  # as Light-R1 evaluates (arXiv 2503.10460 §2.2)


def sampled_accuracy(
    model: PreTrainedModel,
    chat: ChatFormat,
    rows: Sequence[Mapping[str, Any]],
    accelerator: Accelerator,
    *,
    n: int,
    max_tokens: int,
    batch_size: int,
) -> float:
    """Return the share of right samples over problems with answers; one without a verdict counts as wrong.

    Args:
        model: The whole model, unwrapped.
        chat: Its chat format.
        rows: Problems with `problem` and `answer`.
        accelerator: Tells this process among the others.
        n: Samples of each problem.
        max_tokens: Longest completion.
        batch_size: Rows decoded at once.

    Raises:
        DataError: A row has no problem or no answer.
    """
    for index, row in enumerate(rows):
        if row.get("problem") is None or row.get("answer") is None:
            raise DataError(
                f"eval dataset row {index}: eval_samples needs problem and answer; the columns are "
                f"{', '.join(sorted(row))}"
            )
    mine = range(accelerator.process_index, len(rows), accelerator.num_processes)
    sampler = HFSampler(
        model,
        eos_token_ids=[chat.end_token_id],
        pad_token_id=int(chat.tokenizer.pad_token_id),
        batch_size=batch_size,
    )
    requests = [Request(str(i), k, tuple(chat.prompt_ids(rows[i]["problem"]))) for i in mine for k in range(n)]
    completions = sampler.sample(requests, SamplingParams(max_tokens, TEMPERATURE, TOP_P)) if requests else []
    verdicts = shared_judge(chat.think_tokens).verdicts(
        [chat.response_text(one.completion_ids) for one in completions],
        [rows[int(one.request.prompt_id)]["answer"] for one in completions],
    )
    right = torch.tensor(float(sum(verdict.correct for verdict in verdicts)), device=accelerator.device)
    return float(accelerator.reduce(right, reduction="sum")) / (n * len(rows))
