"""Training inside a stage: progress, metrics, resume, and the model that comes out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import PrinterCallback, ProgressCallback, Trainer, TrainerCallback, TrainerState

from light_r1.errors import StageError
from light_r1.models.handover import DTYPES, Handover, cut_rows, in_fp32, score_rows, words_of, write_handover
from light_r1.models.load import is_adapter
from light_r1.models.weights import cast_weights, kept_in_fp32
from light_r1.run_dir.files import write_whole
from light_r1.run_dir.manifest import RowCounts
from light_r1.stages.base import StageJob, StageResult
from light_r1.stages.handover import prove, scored_in, with_base
from light_r1.stages.policy import Policy
from light_r1.stages.precision import is_sharded


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
    """Train, from the job's checkpoint if there is one, save the model to the stage's output, and hand it over."""
    for printing in (ProgressCallback, PrinterCallback):
        trainer.remove_callback(printing)
    trainer.add_callback(MetricsFile(job))
    trainer.add_callback(TrainingBar(job))
    if policy.pending is not None:
        trainer.add_callback(ProofOfStart(trainer, policy, job))
    expected = job.ranks.count
    if trainer.accelerator.num_processes != expected:
        raise StageError(f"{expected} processes were launched, the trainer has {trainer.accelerator.num_processes}.")
    _train(trainer, job.checkpoint)
    folder = job.dir.output / "model"
    if job.ranks.is_main:
        shutil.rmtree(folder, ignore_errors=True)  # of an attempt that was cut off while it saved
    job.ranks.barrier()
    trainer.model.config.use_cache = True  # the Trainer sets it to that of training, and would save it so
    trainer.save_model(str(folder))
    if job.ranks.is_main:
        _settle_files(folder, trainer, policy, job)
    handover = hand_over(trainer, policy, job, folder)
    history = trainer.state.log_history
    tokens = next((int(e["num_tokens"]) for e in reversed(history) if "num_tokens" in e), None)
    return StageResult(final_metrics(history), rows, tokens, trainer.state.global_step, handover)


def _settle_files(folder: Path, trainer: Trainer, policy: Policy, job: StageJob) -> None:
    """Make what the trainer saved the folder that is handed on: its tokenizer, its type, nothing of a reference."""
    policy.tokenizer.save_pretrained(folder)
    shutil.rmtree(folder / "ref", ignore_errors=True)  # the copy of an adapter that TRL keeps as its reference
    model = trainer.accelerator.unwrap_model(trainer.model)
    saved = job.spec.model.save_dtype if is_adapter(folder) else policy.precision.saved
    if saved is not None and (is_adapter(folder) or model.dtype != DTYPES[saved]):
        cast_weights(folder, saved, keep=() if is_adapter(folder) else kept_in_fp32(model, saved))


class ProofOfStart(TrainerCallback):
    """Proves a model that no process holds alone, once the trainer has wrapped it and before it takes a step."""

    def __init__(self, trainer: Trainer, policy: Policy, job: StageJob) -> None:
        self.trainer = trainer
        self.policy = policy
        self.job = job

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Score the rows that the model was handed over with; of a resumed run the weights are later ones."""
        handover = self.policy.pending
        if handover is not None and not state.global_step:
            precision = self.policy.precision
            prove(self.trainer.model_wrapped, handover, self.job, held=precision.held, computed=precision.computed)


def hand_over(trainer: Trainer, policy: Policy, job: StageJob, folder: Path) -> dict[str, Any] | None:
    """Write the proof of a trained model beside it: log-probs of rows of its data under the model in memory.

    Returns:
        What the manifest says of it; None where the recipe proves bytes alone.
    """
    rows = job.ranks.from_main(lambda: trained_rows(trainer, policy))
    logprobs, width, sharded = None, 0, is_sharded(job.spec.args)
    if job.recipe.handover == "logprobs" and sharded:
        logprobs, width = score_rows(trainer.model_wrapped, rows)
    elif job.recipe.handover == "logprobs":
        model = trainer.accelerator.unwrap_model(trainer.model, False, False)
        adapter = isinstance(model, PeftModel)
        saved, keep = (None, []) if adapter else (policy.precision.saved, kept_in_fp32(model, policy.precision.saved))
        logprobs, width = score_rows(model, rows, context=in_fp32(model, saved, keep=keep))
    computed = policy.precision.computed
    handover = Handover(
        rows,
        logprobs,
        width,
        words_of(policy.tokenizer, rows),
        scored_in(computed if sharded else None, job.spec.model.quantization),
        policy.precision.held if is_adapter(folder) else policy.precision.saved,
        job.spec.model.quantization,
        job.spec.model.lora,
    )
    if job.ranks.is_main:
        write_handover(folder, with_base(handover, folder))
    if logprobs is None:
        return None
    return {
        "logprob": handover.mean,
        "tokens": handover.tokens,
        "computed": computed,
        "saved": "float32" if is_adapter(folder) else policy.precision.saved,
    }


def trained_rows(trainer: Any, policy: Policy) -> list[list[int]]:
    """Return token ids of a few rows of a trainer's data: what it learns, or of GRPO what it has sampled last."""
    dataset = trainer.train_dataset
    if "input_ids" in dataset.column_names:
        return cut_rows(len(dataset), lambda index: dataset[index]["input_ids"])
    if "prompt_ids" in dataset.column_names:
        return cut_rows(len(dataset), lambda index: dataset[index]["prompt_ids"] + dataset[index]["chosen_ids"])
    sampled = [row for batch in trainer._buffered_inputs or () for row in _sampled(batch)]
    if sampled:
        return cut_rows(len(sampled), sampled.__getitem__)
    return cut_rows(len(dataset), lambda index: policy.chat.encode(dataset[index]["prompt"]))


def _sampled(batch: dict[str, Any]) -> list[list[int]]:
    """Return prompt and completion of each row of a batch of GRPO, without its padding."""
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1).bool()
    return [row[keep].tolist() for row, keep in zip(ids, mask, strict=True)]


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
