"""GRPO with a staged context (`type: grpo`)."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from math import floor, lcm
from typing import Any, ClassVar, Literal

from light_r1.batch import counted, ways_to_split
from light_r1.errors import LightR1Error
from light_r1.recipe.check.args import Args
from light_r1.recipe.check.findings import Findings
from light_r1.recipe.check.rows import Sample, check_answers, need
from light_r1.recipe.cost.estimate import Estimate, Work, add_forward, add_training
from light_r1.recipe.cost.rows import Amount
from light_r1.recipe.options.source import SourceError, find_definition, split_dotted
from light_r1.recipe.spec import Recipe, StageSpec
from light_r1.recipe.stage_block import reward_names
from light_r1.run_dir.manifest import RowCounts
from light_r1.stages.base import Kind, Stage, StageJob, StageResult
from light_r1.stages.memory import training_advice
from light_r1.stages.settings import report_refused
from light_r1.trainers.grpo.context import parse_stages
from light_r1.trainers.settings import GRPO, grpo_conflicts


@dataclass(frozen=True, slots=True)
class GRPOOptions:
    """Keys of a `grpo` stage.

    Args:
        rewards: Reward functions: a name of `light_r1.rewards.verified` or `module:function`, or a mapping with
            `name`, `weight` and the parameters of that reward.
    """

    rewards: list[str | dict[str, Any]]


class GRPOStage(Stage):
    """Trains `from` on the problems of `data` with `StagedGRPOTrainer` and the stage's `rewards`."""

    version = 2
    makes: ClassVar[Kind] = "model"
    output = "model"
    args_class = "light_r1.trainers.grpo.config:StagedGRPOConfig"
    options_class = "light_r1.stages.grpo:GRPOOptions"
    reads: ClassVar[tuple[Literal["model", "chat"], ...]] = ("model", "chat")
    data = "required"
    models = (1, 1)
    trains = True

    def run(self, job: StageJob) -> StageResult:
        """Build the rewards, train, save."""
        from light_r1.rewards import load_reward
        from light_r1.stages.policy import Policy, config_for
        from light_r1.stages.rows import as_dataset, stage_rows
        from light_r1.stages.training import train_and_save
        from light_r1.trainers.grpo.config import StagedGRPOConfig
        from light_r1.trainers.grpo.trainer import StagedGRPOTrainer

        policy = Policy(job, trains=True)
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
            [load_reward(**{"think_tokens": job.recipe.chat.think_tokens, **entry}) for entry in entries],
            args,
            dataset,
            processing_class=policy.tokenizer,
            chat=policy.chat,
            **policy.lora(job),
        )
        return train_and_save(trainer, policy, job, RowCounts(len(rows), len(rows), {}))

    def check(self, spec: StageSpec, findings: Findings, *, world_size: int) -> None:
        """Check clip bounds, rewards and the context schedule."""
        args = Args(spec)
        _check_sampled_at_once(spec, args, findings)
        report_refused(spec, GRPO, grpo_conflicts(args), findings)
        _check_settings(spec, args, findings)
        _check_context_schedule(spec, args, findings)

    def check_batch(self, spec: StageSpec, findings: Findings, *, world_size: int) -> None:
        """Check that batches can be split, and whole groups in what is sampled at once."""
        super().check_batch(spec, findings, world_size=world_size)
        key = f"{spec.name}.args"
        batch = ("gradient_accumulation_steps", "global_batch_size", "generation_batch_size", "steps_per_generation")
        if not any(findings.told(f"{key}.{name}") for name in batch):
            _check_groups(spec, Args(spec), findings, world_size)

    def check_rows(self, spec: StageSpec, sample: Sample, findings: Findings) -> None:
        """Check for problems and the columns that the rewards take by name."""
        columns = ("problem", *sorted(_reward_columns(spec)))
        if need(sample, columns, f"stage {spec.name}", findings) and "answer" in columns:
            check_answers(sample, findings)

    def estimate(self, work: Work) -> Estimate:
        """Estimate steps by the context schedule, every completion as long as its stage allows."""
        args, rows = work.args, work.rows.count
        schedule = args["context_schedule"] or []
        steps = args["max_steps"]
        if steps <= 0 and schedule and all(entry.get("steps") for entry in schedule):
            steps = sum(entry["steps"] for entry in schedule)
        if steps > 0:
            count = Amount(steps)
        elif rows is None:
            return add_training(work, Estimate(batch=work.batch), None)
        else:
            used = rows.value * args["num_generations"] * args["num_iterations"] * args["num_train_epochs"]
            count = Amount(floor(used / work.batch), rows.sign)
        length = _mean_context(schedule, count.value) if schedule else args["max_completion_length"]
        completions = count.times(work.batch)
        trained = completions.times(length).at_most()
        sampled = trained.times(1 / args["num_iterations"])
        estimate = Estimate(rows=rows, steps=count, batch=work.batch, trained=trained, sampled=sampled)
        estimate = add_training(work, estimate, Amount(length, "≤"))
        return add_forward(work, estimate, trained.value, length) if args["beta"] else estimate

    def less_memory(self, spec: StageSpec, recipe: Recipe) -> str:
        """Name the settings of training."""
        return training_advice(spec, longest="max_completion_length")


def _columns(rows: list[dict[str, Any]]) -> list[str]:
    """Return the columns that rewards may use: all but bulky ones that earlier stages added."""
    return [column for column in rows[0] if column not in ("responses", "solution", "prompt")]


_TRL_GIVES = {
    "prompts", "completions", "completion_ids", "trainer_state", "log_extra", "log_metric", "environments",
}  # fmt: skip


def _reward_columns(stage: StageSpec) -> set[str]:
    """Columns of the data that the rewards of a stage take by name."""
    columns: set[str] = set()
    for reward in stage.options.get("rewards", []):
        name = reward if isinstance(reward, str) else reward["name"]
        try:
            _, node = find_definition(*split_dotted(reward_names().get(name, name)))
        except SourceError:
            continue  # reported with the key of the reward
        inner = [part for part in ast.walk(node) if isinstance(part, ast.FunctionDef)]
        for function in inner:
            arguments = function.args
            names = [argument.arg for argument in (*arguments.args, *arguments.kwonlyargs)]
            if set(names) & _TRL_GIVES:
                columns |= set(names) - _TRL_GIVES - _with_default(arguments)
    return columns


def _with_default(arguments: ast.arguments) -> set[str]:
    positional = arguments.args[len(arguments.args) - len(arguments.defaults) :]
    named = [a for a, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if default]
    return {argument.arg for argument in (*positional, *named)}


def _check_sampled_at_once(stage: StageSpec, args: Args, findings: Findings) -> None:
    """Check that one setting says how much is sampled at once, and not by the processes where steps do not either."""
    key = f"{stage.name}.args"
    if args.written("generation_batch_size") and args.written("steps_per_generation"):
        what = "generation_batch_size and steps_per_generation exclude each other"
        findings.at(f"{key}.generation_batch_size", what)
    if args.global_batch_size is not None and args["steps_per_generation"] is not None:
        findings.at(
            f"{key}.steps_per_generation",
            "what is sampled at once would change with the number of processes, and global_batch_size would not",
            "generation_batch_size",
            "It counts completions; steps_per_generation counts forward passes.",
        )


def _check_groups(stage: StageSpec, args: Args, findings: Findings, world_size: int) -> None:
    """Check that the generation batch consists of whole groups (`GRPOConfig.__post_init__`)."""
    key, written = f"{stage.name}.args", args["generation_batch_size"]
    per_device, generations = args["per_device_train_batch_size"], args.group
    unit, processes = per_device * world_size, counted(world_size, "process", "es")
    if written is not None and written % unit:
        sizes = ways_to_split(written, per_device, world_size, group=generations).sizes
        findings.at(
            f"{key}.generation_batch_size",
            f"{written} is no multiple of {unit} = per_device_train_batch_size {per_device} x {processes}",
            " or ".join(map(str, sizes)),
        )
    batch = written or unit * (args["steps_per_generation"] or args.batch(world_size).accumulation)
    if generations and batch % generations:
        factor = lcm(unit, generations)
        name, least = ("generation_batch_size", factor) if written else ("gradient_accumulation_steps", factor // unit)
        findings.at(
            f"{key}.num_generations",
            f"the generation batch of {batch} (per_device_train_batch_size {per_device} x "
            f"{processes} x {batch // unit} steps) is no multiple of num_generations {generations}",
            "whole groups in every batch",
            f"It would be with {name} a multiple of {least}.",
        )


def _check_settings(stage: StageSpec, args: Args, findings: Findings) -> None:
    key = f"{stage.name}.args"
    rewards = stage.options.get("rewards", [])
    if args.written("reward_weights"):
        hint = "rewards: [{name: accuracy, weight: 2.0}, ...]"
        findings.at(f"{key}.reward_weights", "the rewards carry their weights", "weight beside each reward", hint)
    if args["delta"] is not None and args["delta"] <= 1 + args["epsilon"]:
        findings.at(
            f"{key}.delta",
            f"{args['delta']:g} clips inside the trust region of 1 + epsilon = {1 + args['epsilon']:g}",
            f"a number above {1 + args['epsilon']:g}",
        )
    if args["epsilon_high"] is not None and args["epsilon_high"] < args["epsilon"]:
        findings.at(f"{key}.epsilon_high", f"{args['epsilon_high']:g} is below epsilon {args['epsilon']:g}")
    if args["auto_find_batch_size"]:
        findings.at(f"{key}.auto_find_batch_size", "GRPO needs whole groups in every batch", "false")
    low, high = args["vllm_importance_sampling_clip_min"], args["vllm_importance_sampling_clip_max"]
    if low is not None and high is not None and low >= high:
        findings.at(f"{key}.vllm_importance_sampling_clip_min", f"{low:g} is not below clip_max {high:g}")
    names = [reward if isinstance(reward, str) else reward["name"] for reward in rewards]
    if len(set(names)) != len(names):
        findings.at(f"{stage.name}.rewards", "names a reward twice", "each reward once")


def _check_context_schedule(stage: StageSpec, args: Args, findings: Findings) -> None:
    key = f"{stage.name}.args.context_schedule"
    schedule = args["context_schedule"]
    if schedule is None:
        return
    if not schedule:
        findings.at(key, "is empty", "stages of the context, or null")
        return
    for index in range(len(schedule)):
        # A stage alone counts as the last one, which needs no end; the first fault of each is told.
        entries = schedule[index : index + 2]
        try:
            parse_stages(entries, beta=args["beta"], entropy_coef=args["entropy_coef"])
        except LightR1Error as error:
            where, _, fault = str(error).partition(": ")
            if where.startswith("context_schedule[0]"):
                findings.at(f"{key}.{index}{where.removeprefix('context_schedule[0]')}", fault)
    total = sum(entry.get("steps") or 1 for entry in schedule if isinstance(entry.get("steps") or 1, int))
    if 0 < args["max_steps"] < total:
        findings.at(
            f"{stage.name}.args.max_steps", f"{args['max_steps']} ends before the schedule of {total} steps does"
        )
    lengths = [entry.get("max_completion_length", 0) for entry in schedule]
    longest = max((length for length in lengths if isinstance(length, int)), default=0)
    engine = args["vllm_max_model_length"]
    if args["use_vllm"] and engine is not None and engine < longest:
        findings.at(
            f"{stage.name}.args.vllm_max_model_length",
            f"{engine} is less than the longest context stage, {longest}",
        )


def _mean_context(schedule: list[dict[str, int]], steps: float) -> float:
    """Return the mean bound on completions over a context schedule; the last stage lasts to the end."""
    total, left = 0.0, steps
    for entry in schedule:
        here = min(left, entry.get("steps") or left)
        total += here * entry["max_completion_length"]
        left -= here
    return (total + left * schedule[-1]["max_completion_length"]) / max(1.0, steps)
