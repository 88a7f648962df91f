"""The stage types. A recipe may also name its own: `type: my_package.module:MyStage`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from light_r1.errors import LightR1Error, did_you_mean

if TYPE_CHECKING:
    from light_r1.stages.base import Stage

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
