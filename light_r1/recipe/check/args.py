"""Settings of a stage that exclude or need each other.

TRL and transformers find these out after the model is loaded (`num_generations` does not divide the batch),
hours later (a schedule longer than the run), or never (a clip bound without effect).
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from light_r1.batch import Batch, batch_of
from light_r1.errors import LightR1Error, did_you_mean
from light_r1.recipe.check.findings import Findings
from light_r1.recipe.options.source import find_definition, split_dotted
from light_r1.recipe.options.table import REQUIRED, UNKNOWN, table
from light_r1.recipe.spec import StageSpec
from light_r1.recipe.stage_block import stage_type


class UnknownSetting(LightR1Error, KeyError):
    """What a stage type inherits asks for a setting that its own config class does not have."""

    def __str__(self) -> str:
        return str(self.args[0])


class Args:
    """The args of a stage with the defaults of its config class behind them."""

    def __init__(self, stage: StageSpec) -> None:
        self.stage = stage
        self._fields = stage_type(stage.type).args.fields

    def __getitem__(self, name: str) -> Any:
        if name in self.stage.args:
            return self.stage.args[name]
        if name not in self._fields:
            raise UnknownSetting(f"{self.stage.type} has no setting {name}, which its base asks for")
        default = self._fields[name].default
        return None if default is REQUIRED or default is UNKNOWN else default

    def has(self, name: str) -> bool:
        """Whether the config class has this field."""
        return name in self._fields

    def written(self, name: str) -> bool:
        """Whether the recipe sets it."""
        return name in self.stage.args

    @property
    def has_batch(self) -> bool:
        """Whether the config class has the settings that an optimizer step's batch follows from."""
        return self.has("per_device_train_batch_size") and self.has("gradient_accumulation_steps")

    @property
    def global_batch_size(self) -> int | None:
        """Sequences per optimizer step; `None` where it follows from the accumulation."""
        return self["global_batch_size"] if self.has("global_batch_size") else None

    @property
    def group(self) -> int:
        """What a batch must be a multiple of: the completions of a prompt in GRPO."""
        return self["num_generations"] if self.has("num_generations") else 1

    def batch(self, processes: int) -> Batch:
        """Return the batch of an optimizer step of so many processes.

        Raises:
            StageError: `global_batch_size` cannot be split over them.
        """
        return batch_of(
            self.global_batch_size,
            per_device=self["per_device_train_batch_size"],
            accumulation=self["gradient_accumulation_steps"],
            processes=processes,
            group=self.group,
        )

    @property
    def recomputes(self) -> bool:
        """Whether activations are computed again in the backward pass; the newer of two names of it counts."""
        newer = self["activation_checkpointing"] if self.has("activation_checkpointing") else None
        return bool(self["gradient_checkpointing"] if newer is None else newer)


def check_args(stage: StageSpec, findings: Findings) -> None:
    """Check what is the same for every stage type: training arguments, and every pair of min and max."""
    args = Args(stage)
    if args.has("learning_rate") and args.has("bf16"):
        _check_training(stage, args, findings)
    if args.global_batch_size is not None:
        _check_global_batch(args, f"{stage.name}.args", findings)
    _check_windows(stage.args, f"{stage.name}.args", findings)
    _check_windows(stage.options, stage.name, findings)


def _check_training(stage: StageSpec, args: Args, findings: Findings) -> None:
    name = f"{stage.name}.args"
    if args["bf16"] and args["fp16"]:
        findings.at(f"{name}.fp16", "bf16 and fp16 exclude each other", "one of them")
    if args["deepspeed"] and args["fsdp"]:
        findings.at(f"{name}.fsdp", "deepspeed and fsdp exclude each other", "one of them")
    if args["eval_strategy"] != "no" and stage.eval_data is None:
        hint = "Add eval_data to the stage." if stage_type(stage.type).held_out else "Use an evaluate stage."
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


def _check_global_batch(args: Args, name: str, findings: Findings) -> None:
    """Check what would make another batch beside `global_batch_size`; whether it can be split is the stage's check."""
    if args.written("gradient_accumulation_steps") and args["gradient_accumulation_steps"] is not None:
        hint = "It follows from global_batch_size; null takes back what is inherited."
        findings.at(f"{name}.gradient_accumulation_steps", "global_batch_size is set too", "one of the two", hint)
    if args["auto_find_batch_size"]:
        hint = "A smaller per_device_train_batch_size leaves the batch as it is."
        findings.at(f"{name}.auto_find_batch_size", "would make another batch than global_batch_size", "false", hint)
    accelerator = args["accelerator_config"]
    if isinstance(accelerator, Mapping):
        if accelerator.get("split_batches"):
            what = "split_batches shares a batch of one process among all of them"
            findings.at(f"{name}.accelerator_config", what, "false beside global_batch_size")
        if "num_steps" in (accelerator.get("gradient_accumulation_kwargs") or {}):
            what = "gradient_accumulation_kwargs.num_steps takes the place of the accumulation"
            findings.at(f"{name}.accelerator_config", what, "global_batch_size alone")


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
_CHECKPOINTING = {  # who takes it, and the mapping out of which it takes names one by one
    "torch.utils.checkpoint:checkpoint": "kwargs",
    "transformers.trainer:Trainer": "gc_kwargs",
    "trl.trainer.sft_trainer:SFTTrainer": "args.gradient_checkpointing_kwargs",
}


def _check_keywords(args: Args, name: str, findings: Findings) -> None:
    """Check mappings that are passed on as keyword arguments, and the DeepSpeed file."""
    function = _SCHEDULES.get(str(args["lr_scheduler_type"]))
    if function is not None:
        taken = [n for n in table(f"transformers.optimization:{function}").fields if n not in _SCHEDULE_GIVEN]
        _check_names(args, "lr_scheduler_kwargs", name, taken, findings)
    rate = args["lr_scheduler_kwargs"] or {}
    if str(args["lr_scheduler_type"]).endswith("with_min_lr") and len({"min_lr", "min_lr_rate"} & set(rate)) != 1:
        fault = "needs min_lr or min_lr_rate" if not rate else "takes one of min_lr and min_lr_rate"
        findings.at(f"{name}.lr_scheduler_type", f"{args['lr_scheduler_type']} {fault}", "lr_scheduler_kwargs with it")
    if args["lr_scheduler_type"] == "warmup_stable_decay" and "num_decay_steps" not in rate:
        key = f"{name}.lr_scheduler_type"
        findings.at(key, "warmup_stable_decay needs num_decay_steps", "lr_scheduler_kwargs with it")
    for option in ("gradient_checkpointing_kwargs", "activation_checkpointing_kwargs"):
        if args.has(option) and args[option]:
            _check_names(args, option, name, _checkpointing_names(), findings)
    deepspeed = args["deepspeed"]
    if isinstance(deepspeed, str) and not Path(deepspeed).is_file():
        findings.at(f"{name}.deepspeed", f"no file {deepspeed}", "a DeepSpeed config", "Or leave it to accelerate.")


@lru_cache(maxsize=1)
def _checkpointing_names() -> list[str]:
    """Return what checkpointing takes by name, as PyTorch, transformers and TRL have it installed."""
    names: list[str] = []
    for taker, mapping in _CHECKPOINTING.items():
        _, node = find_definition(*split_dotted(taker))
        if isinstance(node, ast.FunctionDef):
            names += [argument.arg for argument in node.args.kwonlyargs if argument.arg != "context_fn"]  # a function
        calls = (part for part in ast.walk(node) if isinstance(part, ast.Call) and part.args)
        names += [ast.literal_eval(part.args[0]) for part in calls if ast.unparse(part.func) == f"{mapping}.pop"]
    return names


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
