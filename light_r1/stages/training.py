"""Training inside a stage: progress, metrics, resume, and the model that comes out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import PrinterCallback, ProgressCallback, Trainer, TrainerCallback, TrainerState

from light_r1.errors import StageError
from light_r1.run_dir.files import write_whole
from light_r1.run_dir.manifest import RowCounts
from light_r1.stages.base import StageJob, StageResult
from light_r1.stages.policy import Policy


class MetricsFile(TrainerCallback):
    """Appends each log event to the stage's `metrics.jsonl`."""

    def __init__(self, job: StageJob) -> None:
        self.job = job

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Drop what a killed attempt logged behind the checkpoint from which training goes on."""
        file = self.job.dir.metrics
        if state.is_world_process_zero and file.exists():
            lines = file.read_text(encoding="utf-8").split("\n")[:-1]  # a torn last line has no end
            kept = [line for line in lines if json.loads(line)["step"] <= state.global_step]
            write_whole(file, "".join(f"{line}\n" for line in kept) if state.global_step else "")

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Write one line: the step, the epoch and whatever is logged."""
        if state.is_world_process_zero and logs:
            numbers = {key: value for key, value in logs.items() if isinstance(value, int | float)}
            self.job.dir.log_metrics({"step": state.global_step, "epoch": state.epoch, **numbers})


class TrainingBar(TrainerCallback):
    """Shows optimizer steps, time left and the last logged numbers of a stage."""

    _SHOWN = ("loss", "eval_loss", "reward", "rewards/margins", "entropy", "completions/mean_length")

    def __init__(self, job: StageJob) -> None:
        self.job = job
        self.bar: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Open the bar, at the step where training goes on."""
        self.bar = self.job.ranks.bar(
            total=state.max_steps,
            initial=state.global_step,
            desc=self.job.spec.name,
            unit="step",
        )

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Move on."""
        self.bar.update(1)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Show the numbers that tell whether training is well."""
        numbers = {key.rpartition("/")[2]: f"{logs[key]:.4g}" for key in self._SHOWN if logs and key in logs}
        if numbers and self.bar is not None:
            self.bar.set_postfix(numbers, refresh=False)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Close the bar."""
        self.bar.close()


def train_and_save(trainer: Trainer, policy: Policy, job: StageJob, rows: RowCounts) -> StageResult:
    """Train, from the job's checkpoint if there is one, and save the model to the stage's output."""
    for printing in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(printing)
    trainer.add_callback(MetricsFile(job))
    trainer.add_callback(TrainingBar(job))
    expected = job.ranks.count
    if trainer.accelerator.num_processes != expected:
        raise StageError(f"{expected} processes were launched, the trainer has {trainer.accelerator.num_processes}.")
    _train(trainer, job.checkpoint)
    folder = job.dir.output / "model"
    trainer.save_model(str(folder))
    if job.ranks.is_main:
        policy.tokenizer.save_pretrained(folder)
    history = trainer.state.log_history
    tokens = next((int(e["num_tokens"]) for e in reversed(history) if "num_tokens" in e), None)
    return StageResult(final_metrics(history), rows, tokens, trainer.state.global_step)


def _train(trainer: Trainer, checkpoint: Path | None) -> None:
    if checkpoint is None:
        trainer.train()
        return
    state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
    if state.max_steps and state.global_step >= state.max_steps:
        # Killed behind its last step: transformers would train one step more before it looks at the limit.
        trainer._load_from_checkpoint(str(checkpoint))
        trainer.state = state
        return
    # TRL counts tokens anew after a resume. The count is exact if checkpoints fall on logged steps.
    counted = [int(event["num_tokens"]) for event in state.log_history if "num_tokens" in event]
    if counted:
        trainer._total_train_tokens = counted[-1]
    trainer.train(resume_from_checkpoint=str(checkpoint))


def final_metrics(history: list[dict[str, Any]]) -> dict[str, float]:
    """Return the last value of every logged number, and `train_loss`: the mean over all steps.

    The trainer's own `train_loss` counts only the steps since the last resume, but divides by all of them.
    """
    last: dict[str, float] = {}
    total = before = 0.0
    for event in history:
        numbers = {key: float(value) for key, value in event.items() if isinstance(value, int | float)}
        if "loss" in numbers:
            total += numbers["loss"] * (numbers["step"] - before)
            before = numbers["step"]
        last.update({key: value for key, value in numbers.items() if not key.startswith("train_")})
    if before:
        last["train_loss"] = total / before
    return {key: value for key, value in last.items() if key not in ("step", "epoch", "total_flos")}
