"""GRPO with a staged context (`type: grpo`)."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from light_r1.manifest import RowCounts
from light_r1.stages.base import Kind, Stage, StageJob, StageResult


class GRPOStage(Stage):
    """Trains `from` on the problems of `data` with `StagedGRPOTrainer` and the stage's `rewards`."""

    makes: ClassVar[Kind] = "model"
    output = "model"
    args_class = "light_r1.trainers.grpo:StagedGRPOConfig"
    options_class = "light_r1.stages.options:GRPOOptions"
    reads: ClassVar[tuple[Literal["model", "chat"], ...]] = ("model", "chat")

    def run(self, job: StageJob) -> StageResult:
        """Build the rewards, train, save."""
        from light_r1.rewards import load_reward
        from light_r1.stages.inputs import as_dataset, stage_rows
        from light_r1.stages.policy import Policy, config_for
        from light_r1.stages.training import train_and_save
        from light_r1.trainers.grpo import StagedGRPOConfig, StagedGRPOTrainer

        policy = Policy(job)
        args = config_for(job, StagedGRPOConfig)
        entries = [
            dict(entry) if isinstance(entry, dict) else {"name": entry} for entry in job.spec.options["rewards"]
        ]
        args.reward_weights = [float(entry.pop("weight", 1.0)) for entry in entries]
        assert job.spec.data is not None
        rows = stage_rows(job, job.spec.data)
        dataset = as_dataset(rows, _columns(rows))
        trainer = StagedGRPOTrainer(
            policy.model,
            [load_reward(**entry) for entry in entries],
            args,
            dataset,
            processing_class=policy.tokenizer,
            chat=policy.chat,
            **policy.lora(job),
        )
        return train_and_save(trainer, policy, job, RowCounts(len(rows), len(rows), {}))


def _columns(rows: list[dict[str, Any]]) -> list[str]:
    """Return the columns that rewards may use: all but bulky ones that earlier stages added."""
    return [column for column in rows[0] if column not in ("responses", "solution", "prompt")]
