"""The stage types, one file each, which holds all that the type needs, checks, estimates and advises.

A recipe may also name its own: `type: my_package.module:MyStage`. Samplers, trainers and rewards are not here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from light_r1.errors import LightR1Error, did_you_mean
from light_r1.recipe.options.source import class_attribute
from light_r1.recipe.stage_block import stage_type as read_stage_type

if TYPE_CHECKING:
    from light_r1.stages.base import Stage, StageJob, StageResult

STAGE_TYPES: dict[str, str] = {
    "data": "light_r1.stages.data:DataStage",
    "sft": "light_r1.stages.sft:SFTStage",
    "dpo": "light_r1.stages.dpo:DPOStage",
    "grpo": "light_r1.stages.grpo:GRPOStage",
    "merge": "light_r1.stages.merge:MergeStage",
    "evaluate": "light_r1.stages.evaluate:EvaluateStage",
}


def load_stage(stage_type: str) -> Stage:
    """Return the stage of a type or dotted path.

    Raises:
        LightR1Error: There is no such stage type.
    """
    module_name, _, class_name = STAGE_TYPES.get(stage_type, stage_type).partition(":")
    if not class_name:
        raise LightR1Error(
            f"stage type {stage_type!r} is not one of {', '.join(STAGE_TYPES)}, and not `module:Class`. "
            f"{did_you_mean(stage_type, STAGE_TYPES)}"
        )
    try:
        return getattr(import_module(module_name), class_name)()
    except (ImportError, AttributeError) as error:
        raise LightR1Error(f"stage type {stage_type!r}: {error}") from error


def described_stage(stage_type: str) -> Stage:
    """Return a stage as its source describes it; nothing of a type outside the package is imported.

    Such a type is represented by its nearest built-in base with the type's own class variables. Methods that it
    overrides are not seen: `load_stage` has them.

    Raises:
        SourceError: There is no such stage type.
    """
    kind = read_stage_type(stage_type)
    if stage_type in STAGE_TYPES or kind.dotted in STAGE_TYPES.values():
        return load_stage(stage_type)
    module_name, _, class_name = kind.built_in.partition(":")
    base = getattr(import_module(module_name), class_name)
    variables = import_module("light_r1.stages.base").Stage.__annotations__
    own = {name: value for name in variables if (value := class_attribute(kind.dotted, name)) is not None}
    return type(kind.dotted.partition(":")[2], (base,), {"run": _not_here, **own})()


def _not_here(self: Stage, job: StageJob) -> StageResult:
    raise AssertionError("a stage that is only described cannot run")
