"""Two epochs of SFT in curriculum order, from the start or from a checkpoint; saves the weights.

Alone or under `torchrun`: a step takes 2 rows, or with `split` 4 on any number of processes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from light_r1 import CurriculumSFTConfig, CurriculumSFTTrainer
from light_r1.ranks import leave_ranks
from tests.conftest import character_tokenizer, make_model
from tests.distributed_step import ROWS
from tests.left_run import assert_left


def main(folder: Path, how: str, processes: int, checkpoint: str | None) -> None:
    packing, split = how == "packed", how == "split"
    tokenizer = character_tokenizer("chatml", think_special=True)
    args = CurriculumSFTConfig(
        str(folder),
        max_length=128 if packing else 256,
        packing=packing,
        order="staged",
        pacing_epochs=1,
        per_device_train_batch_size=1,
        global_batch_size=4 if split else 2,
        batch_by_length=not split,  # which puts other rows together in another split
        num_train_epochs=2,
        save_strategy="steps",
        save_steps=1,
        learning_rate=1e-3,
        bf16=False,
        activation_checkpointing=False,
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = CurriculumSFTTrainer(
        make_model(tokenizer, seed=3 if checkpoint else 0), args, ROWS, processing_class=tokenizer
    )
    trainer.train(resume_from_checkpoint=checkpoint)
    assert trainer.accelerator.num_processes == processes, "the processes did not find each other"
    if trainer.accelerator.is_main_process:
        torch.save(
            {
                "steps": trainer.state.max_steps,
                "weights": trainer.accelerator.unwrap_model(trainer.model).state_dict(),
            },
            folder / "end.pt",
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4] if len(sys.argv) > 4 else None)
    leave_ranks()
    assert_left()
