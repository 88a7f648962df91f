"""Settings of a stage that exclude or need each other.

TRL and transformers find these out after the model is loaded (`num_generations` does not divide the batch),
hours later (a schedule longer than the run), or never (a clip bound without effect).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from light_r1.context import parse_stages
from light_r1.errors import LightR1Error, did_you_mean
from light_r1.fields import REQUIRED, UNKNOWN, table
from light_r1.findings import Findings
from light_r1.specs import StageSpec
from light_r1.stage_blocks import stage_type


class Args:
    """The args of a stage with the defaults of its config class behind them."""

    def __init__(self, stage: StageSpec) -> None:
        self.stage = stage
        self._fields = stage_type(stage.type).args.fields

    def __getitem__(self, name: str) -> Any:
        if name in self.stage.args:
            return self.stage.args[name]
        default = self._fields[name].default
        return None if default is REQUIRED or default is UNKNOWN else default

    def has(self, name: str) -> bool:
        """Whether the config class has this field."""
        return name in self._fields

    def written(self, name: str) -> bool:
        """Whether the recipe sets it."""
        return name in self.stage.args

    @property
    def recomputes(self) -> bool:
        """Whether activations are computed again in the backward pass; the newer of two names of it counts."""
        newer = self["activation_checkpointing"] if self.has("activation_checkpointing") else None
        return bool(self["gradient_checkpointing"] if newer is None else newer)


def check_args(stage: StageSpec, findings: Findings, *, world_size: int) -> None:
    """Check one stage's settings against each other."""
    args = Args(stage)
    if args.has("learning_rate") and args.has("bf16"):
        _check_training(stage, args, findings)
    _check_windows(stage.args, f"{stage.name}.args", findings)
    _check_windows(stage.options, stage.name, findings)
    if args.has("context_schedule"):
        _check_grpo_batch(stage, args, findings, world_size)
        _check_grpo(stage, args, findings)
        _check_context_schedule(stage, args, findings)
    if args.has("loss_weights"):
        _check_dpo(stage, args, findings)
    if args.has("packing"):
        _check_sft(stage, args, findings)
    if stage.type == "merge":
        _check_merge(stage, findings)
    if stage.type == "evaluate":
        _check_evaluate(stage, findings)


def _check_training(stage: StageSpec, args: Args, findings: Findings) -> None:
    name = f"{stage.name}.args"
    if args["bf16"] and args["fp16"]:
        findings.at(f"{name}.fp16", "bf16 and fp16 exclude each other", "one of them")
    if args["deepspeed"] and args["fsdp"]:
        findings.at(f"{name}.fsdp", "deepspeed and fsdp exclude each other", "one of them")
    if args["eval_strategy"] != "no" and stage.eval_data is None:
        hint = "Add eval_data to the stage." if stage.type == "sft" else "Use an evaluate stage."
        findings.at(f"{name}.eval_strategy", "there is no held-out data", '"no"', hint)
    if args["load_best_model_at_end"] and args["eval_strategy"] != args["save_strategy"]:
        findings.at(
            f"{name}.load_best_model_at_end",
            f"eval_strategy is {args['eval_strategy']} and save_strategy {args['save_strategy']}",
            "the same strategy for both",
        )
    if args["save_only_model"]:
        findings.at(f"{name}.save_only_model", "a stage that was cut off could not resume", "false")
    _check_keywords(args, name, findings)
    if args["max_steps"] == 0:
        findings.at(f"{name}.max_steps", "0 would mean all epochs", "at least 1, or -1 for num_train_epochs")
    if args["warmup_steps"] >= 1 and args["warmup_steps"] != int(args["warmup_steps"]):
        findings.at(f"{name}.warmup_steps", f"is {args['warmup_steps']:g}", "whole steps, or a share below 1")


_SCHEDULES = {
    "linear": "get_linear_schedule_with_warmup",
    "cosine": "get_cosine_schedule_with_warmup",
    "cosine_with_restarts": "get_cosine_with_hard_restarts_schedule_with_warmup",
    "polynomial": "get_polynomial_decay_schedule_with_warmup",
    "inverse_sqrt": "get_inverse_sqrt_schedule",
    "cosine_with_min_lr": "get_cosine_with_min_lr_schedule_with_warmup",
    "cosine_warmup_with_min_lr": "get_cosine_with_min_lr_schedule_with_warmup_lr_rate",
    "warmup_stable_decay": "get_wsd_schedule",
}
_SCHEDULE_GIVEN = ("optimizer", "num_warmup_steps", "num_training_steps", "last_epoch")
_CHECKPOINTING = ("use_reentrant", "preserve_rng_state", "determinism_check", "early_stop", "debug")


def _check_keywords(args: Args, name: str, findings: Findings) -> None:
    """Check mappings that are passed on as keyword arguments, and the DeepSpeed file."""
    function = _SCHEDULES.get(str(args["lr_scheduler_type"]))
    if function is not None:
        taken = [n for n in table(f"transformers.optimization:{function}").fields if n not in _SCHEDULE_GIVEN]
        _check_names(args, "lr_scheduler_kwargs", name, taken, findings)
    rate = args["lr_scheduler_kwargs"] or {}
    if str(args["lr_scheduler_type"]).endswith("with_min_lr") and len({"min_lr", "min_lr_rate"} & set(rate)) != 1:
        found = "needs min_lr or min_lr_rate" if not rate else "takes one of min_lr and min_lr_rate"
        findings.at(f"{name}.lr_scheduler_type", f"{args['lr_scheduler_type']} {found}", "lr_scheduler_kwargs with it")
    if args["lr_scheduler_type"] == "warmup_stable_decay" and "num_decay_steps" not in rate:
        key = f"{name}.lr_scheduler_type"
        findings.at(key, "warmup_stable_decay needs num_decay_steps", "lr_scheduler_kwargs with it")
    _check_names(args, "gradient_checkpointing_kwargs", name, _CHECKPOINTING, findings)
    deepspeed = args["deepspeed"]
    if isinstance(deepspeed, str) and not Path(deepspeed).is_file():
        findings.at(f"{name}.deepspeed", f"no file {deepspeed}", "a DeepSpeed config", "Or leave it to accelerate.")


def _check_names(args: Args, option: str, name: str, taken: Sequence[str], findings: Findings) -> None:
    for key in args[option] if isinstance(args[option], Mapping) else ():
        if key not in taken:
            known = ", ".join(taken) or "none for this schedule"
            findings.at(f"{name}.{option}.{key}", "no such argument", known, did_you_mean(key, taken))


def _check_windows(values: Mapping[str, Any] | Sequence[Any], key: str, findings: Findings) -> None:
    """Check every pair min_x, max_x in nested mappings."""
    if isinstance(values, list | tuple):
        for index, value in enumerate(values):
            if isinstance(value, Mapping | list | tuple):
                _check_windows(value, f"{key}.{index}", findings)
        return
    assert isinstance(values, Mapping)
    for name, value in values.items():
        if isinstance(value, Mapping | list | tuple):
            _check_windows(value, f"{key}.{name}", findings)
        high = values.get("max_" + name.removeprefix("min_")) if name.startswith("min_") else None
        both = isinstance(value, int | float) and isinstance(high, int | float)
        # A reward's value for the shortest response may well lie above that for the longest.
        if both and "_value_" not in name and value > high:  # type: ignore[operator]
            findings.at(f"{key}.{name}", f"{value:g} is above max_{name.removeprefix('min_')} {high:g}")


def _check_grpo_batch(stage: StageSpec, args: Args, findings: Findings, world_size: int) -> None:
    """Check that the generation batch consists of whole groups (`GRPOConfig.__post_init__`)."""
    key = f"{stage.name}.args"
    generations = args["num_generations"]
    if args.written("generation_batch_size") and args.written("steps_per_generation"):
        findings.at(
            f"{key}.generation_batch_size", "generation_batch_size and steps_per_generation exclude each other"
        )
        return
    per_step = args["per_device_train_batch_size"] * world_size
    processes = f"{world_size} process{'es' if world_size > 1 else ''}"
    batch = args["generation_batch_size"]
    if batch is not None and batch % per_step:
        findings.at(
            f"{key}.generation_batch_size",
            f"{batch} is no multiple of {per_step} = per_device_train_batch_size "
            f"{args['per_device_train_batch_size']} x {processes}",
        )
    elif batch is None:
        batch = per_step * (args["steps_per_generation"] or args["gradient_accumulation_steps"])
    if generations and batch % generations:
        findings.at(
            f"{key}.num_generations",
            f"the generation batch of {batch} (per_device_train_batch_size {args['per_device_train_batch_size']} x "
            f"{processes} x {batch // per_step} steps) is no multiple of num_generations {generations}",
            "whole groups in every batch",
            f"It would be with gradient_accumulation_steps a multiple of {_smallest_factor(per_step, generations)}.",
        )


def _smallest_factor(per_step: int, generations: int) -> int:
    """Return the least number of steps that makes whole groups."""
    return next(steps for steps in range(1, generations + 1) if per_step * steps % generations == 0)


def _check_grpo(stage: StageSpec, args: Args, findings: Findings) -> None:
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


def _check_dpo(stage: StageSpec, args: Args, findings: Findings) -> None:
    key = f"{stage.name}.args"
    losses, weights = args["loss_type"] or ["sigmoid"], args["loss_weights"]
    if weights is not None and len(weights) != len(losses):
        findings.at(f"{key}.loss_weights", f"{len(weights)} weights for {len(losses)} losses")
    if args["precompute_ref_log_probs"] and args["sync_ref_model"]:
        findings.at(f"{key}.sync_ref_model", "a reference scored once cannot follow the model", "one of the two")
    sample, pairs = stage.options.get("sample") or {}, stage.options.get("pairs") or {}
    longest = min(sample.get("max_tokens", 0), pairs.get("max_rejected_tokens") or sample.get("max_tokens", 0))
    limit = args["max_length"]
    if limit is not None and longest > limit:
        findings.at(
            f"{key}.max_length",
            f"{limit} is less than sample.max_tokens {longest}: the longest rejected responses would be dropped"
            + ("" if args.written("max_length") else " (it is TRL's default, not set here)"),
            f"max_length of {longest} and room for the prompt",
        )
    if pairs.get("chosen") == "self" and sample.get("n") == 1:
        findings.at(f"{stage.name}.sample.n", "one response cannot be right and wrong", "at least 2")


def _check_sft(stage: StageSpec, args: Args, findings: Findings) -> None:
    key = f"{stage.name}.args"
    if args["packing"] is True and args["max_length"] is None:
        findings.at(f"{key}.max_length", "packing needs a length to pack to", "a number of tokens")
    if args["padding_free"] and args["packing"] is False and args["max_length"] is not None:
        findings.at(f"{key}.padding_free", "TRL allows it without packing only if max_length is null")
    if args["completion_only_loss"] is False and args["assistant_only_loss"]:
        findings.at(f"{key}.assistant_only_loss", "contradicts completion_only_loss: false")
    stop = args["stop_after_epochs"] or args["num_train_epochs"]
    if args["schedule_epochs"] is not None and args["schedule_epochs"] < stop:
        findings.at(
            f"{key}.schedule_epochs",
            f"the schedule ends after {args['schedule_epochs']:g} of the {stop:g} epochs trained",
            f"at least {stop:g}",
        )
    if not args.written("max_length"):
        findings.note(
            f"{stage.name}: max_length is TRL's default of {args['max_length']} tokens; longer rows are lost"
        )


def _check_merge(stage: StageSpec, findings: Findings) -> None:
    key, args, count = f"{stage.name}.args", stage.args, len(stage.inputs)
    for name in ("weights", "densities"):
        values = args.get(name)
        if values is not None and len(values) != count:
            findings.at(f"{key}.{name}", f"{len(values)} {name} for {count} models", f"{count} numbers")
    method = args.get("method")
    if method in ("ties", "dare_ties") and stage.options.get("base") is None:
        findings.at(stage.name, f"{method} needs a base to take task vectors against", "base: model or a stage")
    if method in ("ties", "dare_ties") and args.get("densities") is None:
        findings.at(f"{key}.method", f"{method} needs densities", f"{count} numbers above 0 and at most 1")
    if method == "slerp" and count != 2:
        findings.at(f"{stage.name}.from", f"slerp goes between two models, here are {count}")
    weights = args.get("weights")
    if weights and args.get("normalize", True) and sum(weights) == 0:
        findings.at(f"{key}.weights", "sum to zero and cannot be normalised")


def _check_evaluate(stage: StageSpec, findings: Findings) -> None:
    block = findings.recipe.evaluate
    if block is None:
        return
    prefix = "evaluate" if stage.implicit else f"{stage.name}.args"

    def value(name: str) -> tuple[Any, str]:
        own = stage.args.get(name)
        return (own, f"{prefix}.{name}") if own is not None else (getattr(block, name), f"evaluate.{name}")

    n, n_key = value("n")
    ks, k_key = value("k")
    temperature, _ = value("temperature")
    for k in ks or ():
        if k > n:
            findings.at(k_key, f"pass@{k} needs {k} samples, n is {n}", f"k of at most {n}")
    if temperature == 0 and n > 1:
        findings.at(n_key, f"at temperature 0 all {n} samples are the same", "n: 1, or a temperature above 0")
