"""What a step of a data stage may be, and the options that it takes: those of a tool, or of `sample`."""

from __future__ import annotations

from dataclasses import replace

from data_tools.engine.catalogue import TOOLS, option_table, tool_path
from data_tools.engine.option_values import Option
from light_r1.recipe.options.table import REQUIRED, Field, Table, table
from light_r1.recipe.options.types import FieldType

STEPS = ("sample", *TOOLS)


def step_table(tool: str) -> Table:
    """Return the options of a step.

    Args:
        tool: One of `STEPS`, or `module:function`.

    Raises:
        DataToolsError: There is no such tool, or its options cannot be read.
    """
    if tool == "sample":
        return table("light_r1.stages.sampling:SampleStepOptions")
    fields = {name: _field(option) for name, option in option_table(tool).items()}
    return Table(tool_path(tool), fields)


def _field(option: Option) -> Field:
    one = FieldType(frozenset("str" if kind == "Path" else kind for kind in option.kinds), option.choices)
    kind = FieldType(item=one) if option.many else one
    if option.optional:
        kind = replace(kind, kinds=kind.kinds | {"none"})
    return Field(option.name, kind, REQUIRED if option.required else option.default, option.help)
