"""Supervised fine-tuning on traces (`type: sft`)."""

from __future__ import annotations

from typing import ClassVar, Literal

from light_r1.manifest import RowCounts
from light_r1.stages.base import Kind, Stage, StageJob, StageResult


class SFTStage(Stage):
    """Trains `from` on the rows of `data` with `CurriculumSFTTrainer`."""

    makes: ClassVar[Kind] = "model"
    output = "model"
    args_class = "light_r1.trainers.sft:CurriculumSFTConfig"
    options_class = "light_r1.stages.options:SFTOptions"
    reads: ClassVar[tuple[Literal["model", "chat"], ...]] = ("model", "chat")

    def run(self, job: StageJob) -> StageResult:
        """Render, train, save."""
        from collections import Counter

        from data_tools.rows import Dropped
        from light_r1.stages.inputs import training_dataset
        from light_r1.stages.policy import Policy, config_for, write_dropped
        from light_r1.stages.training import train_and_save
        from light_r1.trainers.sft import CurriculumSFTConfig, CurriculumSFTTrainer

        policy = Policy(job)
        args = config_for(job, CurriculumSFTConfig)
        assert job.spec.data is not None
        dataset = training_dataset(job, job.spec.data, args.difficulty_column)
        held_out = None
        if job.spec.eval_data:
            held_out = training_dataset(job, job.spec.eval_data, args.difficulty_column, "answer")
        trainer = CurriculumSFTTrainer(
            policy.model,
            args,
            dataset,
            held_out,
            processing_class=policy.tokenizer,
            chat=policy.chat,
            **policy.lora(job),
        )
        write_dropped(job, (("render", Dropped(d["row"], d["reason"])) for d in trainer.dropped))
        reasons = Counter(d["reason"] for d in trainer.dropped)
        rows = RowCounts(len(dataset), len(dataset) - sum(reasons.values()), dict(reasons))
        return train_and_save(trainer, policy, job, rows)
