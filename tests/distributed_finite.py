"""NaN on one rank alone stops both: run under `torchrun --nproc_per_node 2`."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable

import torch
from accelerate.utils import gather_object
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.utils import clip_grad_norm_
from transformers import TrainerCallback

from light_r1 import CurriculumSFTConfig, CurriculumSFTTrainer
from light_r1.errors import StageError
from light_r1.trainers.finite import require_finite
from tests.conftest import character_tokenizer, make_model

MARK = "@"


class Spoiler(TrainerCallback):
    """Makes a number of none of the embedding of one token, of which only the row that holds it takes note."""

    def on_step_begin(self, args, state, control, model, **kwargs):
        model.get_input_embeddings().weight.data[self.token] = math.nan

    def __init__(self, token: int) -> None:
        self.token = token


def trainer_of(folder: str) -> CurriculumSFTTrainer:
    tokenizer = character_tokenizer("chatml", think_special=True)
    rows = [{"problem": f"{a}+1?", "solution": f"<think>\n{a}\n</think>\n\n{a + 1}"} for a in range(16)]
    rows[9]["problem"] += MARK
    args = CurriculumSFTConfig(
        folder, max_length=256, per_device_train_batch_size=2, bf16=False, activation_checkpointing=False,
        report_to="none", save_strategy="no", logging_steps=100, max_steps=4, use_cpu=True, disable_tqdm=True,
    )  # fmt: skip
    trainer = CurriculumSFTTrainer(make_model(tokenizer, tied=False), args, rows, processing_class=tokenizer)
    trainer.add_callback(Spoiler(tokenizer.convert_tokens_to_ids(MARK)))
    return trainer


def zero3_linear(rank: int) -> torch.nn.Linear:
    """A layer whose 5 weights lie as in DeepSpeed 0.18's partition_parameters: 3 to a rank, the last unwritten."""
    layer = torch.nn.Linear(5, 1, bias=False)
    layer.weight.ds_numel, layer.weight.ds_process_group = 5, torch.distributed.group.WORLD
    layer.weight.ds_tensor = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, math.nan]][rank])
    layer.weight.ds_tensor.ds_numel = 3
    layer.weight.data = torch.empty(0)
    return layer


def message(stops: Callable[[], object]) -> str:
    """What all ranks were told alike."""
    try:
        stops()
    except StageError as error:
        told = gather_object([str(error)])
        assert len(told) == 2, "the processes did not find each other"
        assert told[0] == told[1], told
        return told[0]
    raise AssertionError("nothing stopped")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        trainer = trainer_of(folder)
        text = message(trainer.train)
    assert "the gradient is not finite (norm nan)" in text, text
    assert text.count("on rank") == 1, text  # the other rank had no NaN of its own

    rank = trainer.accelerator.process_index
    sharded = make_model(character_tokenizer("chatml", think_special=True), tied=False)
    for layer in sharded.model.layers:
        fully_shard(layer, mesh=init_device_mesh("cpu", (2,)))
    fully_shard(sharded, mesh=init_device_mesh("cpu", (2,)))
    require_finite(sharded, "whole")
    ids = torch.arange(10).view(1, -1)
    watch = trainer.finite

    def step(constant: float) -> None:
        watch.spread(sharded(input_ids=ids, labels=ids).loss + constant).backward()
        watch.see_norm(clip_grad_norm_(sharded.parameters(), 1.0))
        watch.read()
        sharded.zero_grad()

    step(0.0)
    text = message(lambda: step(math.nan if rank == 1 else 0.0))  # a loss whose gradient is finite
    assert "the loss is nan on rank 1." in text, text

    if rank == 1:
        sharded.model.norm.weight.to_local().data[-1] = math.inf
    text = message(lambda: require_finite(sharded, "sharded"))
    assert "sharded: 1 of 27 weights hold NaN or infinite numbers: model.norm.weight" in text, text

    padded = zero3_linear(rank)
    require_finite(padded, "the padding counts")
    if rank == 0:
        padded.weight.ds_tensor[1] = math.nan
    text = message(lambda: require_finite(padded, "ZeRO-3"))
    assert "ZeRO-3: 1 of 1 weights" in text, text


if __name__ == "__main__":
    main()
    torch.distributed.barrier()
    os._exit(0)  # the meshes hold their process groups to the end
