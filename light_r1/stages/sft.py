"""Supervised fine-tuning on traces (`type: sft`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from data_tools.rows.row import Row
from data_tools.traces.thoughts import THINK_TAGS, split_think
from light_r1.recipe.check.args import Args
from light_r1.recipe.check.findings import Findings
from light_r1.recipe.check.rows import Sample, need, report_first
from light_r1.recipe.cost.estimate import Estimate, Work, add_training, epochs_steps, mean_length
from light_r1.recipe.spec import Recipe, StageSpec
from light_r1.run_dir.manifest import RowCounts
from light_r1.stages.base import Kind, Stage, StageJob, StageResult
from light_r1.stages.memory import training_advice
from light_r1.stages.settings import report_refused
from light_r1.trainers.settings import SFT, sft_conflicts


class SFTStage(Stage):
    """Trains `from` on the rows of `data` with `CurriculumSFTTrainer`."""

    version = 2
    makes: ClassVar[Kind] = "model"
    output = "model"
    args_class = "light_r1.trainers.sft.config:CurriculumSFTConfig"
    reads: ClassVar[tuple[Literal["model", "chat"], ...]] = ("model", "chat")
    data = "required"
    models = (1, 1)
    held_out = True
    trains = True

    def run(self, job: StageJob) -> StageResult:
        """Render, train, save."""
        from collections import Counter

        from data_tools.rows.row import Dropped
        from light_r1.stages.policy import Policy, config_for, write_dropped
        from light_r1.stages.rows import training_dataset
        from light_r1.stages.training import train_and_save
        from light_r1.trainers.sft.config import CurriculumSFTConfig
        from light_r1.trainers.sft.trainer import CurriculumSFTTrainer

        policy = Policy(job, trains=True)
        args = config_for(job, CurriculumSFTConfig)
        assert job.spec.data is not None
        columns = (args.dataset_text_field, args.difficulty_column)
        dataset = training_dataset(job, job.spec.data, *columns)
        held_out = None
        if job.spec.eval_data:
            held_out = training_dataset(job, job.spec.eval_data, *columns, "answer")
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

    def check(self, spec: StageSpec, findings: Findings, *, world_size: int) -> None:
        """Check lengths, packing, losses and the epochs of the schedule."""
        args = Args(spec)
        key = f"{spec.name}.args"
        if args["packing"] is True and args["max_length"] is None:
            findings.at(f"{key}.max_length", "packing needs a length to pack to", "a number of tokens")
        report_refused(spec, SFT, sft_conflicts(args), findings)
        stop = args["stop_after_epochs"] or args["num_train_epochs"]
        if args["max_steps"] <= 0 and args["schedule_epochs"] is not None and args["schedule_epochs"] < stop:
            findings.at(
                f"{key}.schedule_epochs",
                f"the schedule ends after {args['schedule_epochs']:g} of the {stop:g} epochs trained",
                f"at least {stop:g}",
            )
        if not args.written("max_length"):
            findings.note(
                f"{spec.name}: max_length is TRL's default of {args['max_length']} tokens; longer rows are lost"
            )

    def check_rows(self, spec: StageSpec, sample: Sample, findings: Findings) -> None:
        """Check for traces: a solution with a thought, a conversation that ends with an answer, or text."""
        order, column = spec.args.get("order", "random"), spec.args.get("difficulty_column", "difficulty")
        if order != "random" and column not in sample.columns:
            need(sample, (column,), f"order: {order} of stage {spec.name}", findings)
        if sample.has(spec.args.get("dataset_text_field", "text")):
            return
        if sample.has("messages") and not sample.has("solution"):
            report_first(sample, "messages must end with an assistant turn", _no_assistant_last, findings)
            return
        if need(sample, ("problem", "solution"), f"stage {spec.name}", findings):
            _check_thoughts(spec, sample, findings)

    def estimate(self, work: Work) -> Estimate:
        """Estimate passes over the rows at their measured or longest length."""
        args, rows = work.args, work.rows.count
        if rows is None:
            return add_training(work, Estimate(batch=work.batch), None)
        epochs = float(args["stop_after_epochs"] or args["num_train_epochs"])
        steps = epochs_steps(work, rows, epochs)
        if args["max_steps"] > 0:
            epochs = steps.value * work.batch / max(1.0, rows.value)
        length = mean_length(work)
        trained = rows.times(epochs).times(length) if length is not None else None
        return add_training(work, Estimate(rows=rows, steps=steps, batch=work.batch, trained=trained), length)

    def less_memory(self, spec: StageSpec, recipe: Recipe) -> str:
        """Name the settings of training."""
        return training_advice(spec, longest="max_length")


def _no_assistant_last(row: Mapping[str, Any]) -> bool:
    messages = row.get("messages") or []
    return len(messages) < 2 or messages[-1]["role"] != "assistant"


def _check_thoughts(stage: StageSpec, sample: Sample, findings: Findings) -> None:
    """Check that solutions can be taken apart into thought and answer, as the trainer will."""
    tags = findings.recipe.chat.think_tokens
    if len(tags) != 2:
        return
    faults = {place: _thought_fault(row, tags) for place, row in sample.rows}
    broken = [place for place, fault in faults.items() if fault not in (None, "no_think") and not sample.mended]
    for place in broken[:1]:
        more = f" ({len(broken)} of the first {len(faults)} rows)" if len(broken) > 1 else ""
        option = "" if tuple(tags) == THINK_TAGS else f" (think_tokens: {list(tags)})"
        hint = f"Put a data stage with normalize_think{option} before the stage, which drops and counts such rows."
        findings.at(sample.key, f"{place}: solution has the fault {faults[place]}{more}", hint=hint)
    without = [place for place, fault in faults.items() if fault == "no_think"]
    policy, limit = stage.args.get("missing_think", "drop"), stage.args.get("max_drop_rate", 0.1)
    if not without or policy == "keep" or (sample.mended and len(without) < len(faults)):
        return
    share = f"{len(without)} of the first {len(faults)} rows have no {tags[0]} thought"
    if policy == "error":
        findings.at(sample.key, f"{without[0]}: {share}, and {stage.name} takes none", "missing_think: drop or keep")
    elif len(without) > limit * len(faults):
        findings.at(
            sample.key,
            f"{without[0]}: {share}; {stage.name} would drop them, more than its max_drop_rate of {limit:g}",
            "traces with a thought, missing_think: keep, or chat.think_tokens: []",
        )
    else:
        findings.note(f"{sample.key}: {share} and will be dropped by {stage.name}")


def _thought_fault(row: Row, tags: tuple[str, ...]) -> str | None:
    solution = row.get("solution")
    return split_think(solution, tags).fault if isinstance(solution, str) else None
