"""The JSON Schema of recipes, for editors that complete and check YAML while one types.

Built from the same tables that validation uses: the source of the config classes, the options of the stages, the
signatures of the data tools. A stage is checked by its `type`. References between stages, files and data are beyond a
schema; `light-r1 check` looks at those.
"""

from __future__ import annotations

from typing import Any

from light_r1.recipe.bounds import CHOICES, limit_of
from light_r1.recipe.options.steps import STEPS, step_table
from light_r1.recipe.options.table import REQUIRED, UNKNOWN, Field, Table, table
from light_r1.recipe.options.types import FieldType
from light_r1.recipe.overlay import STAGE_KEYS, TOP_KEYS
from light_r1.recipe.stage_block import reward_names, reward_parameters, stage_type, stage_types, training_types

_TEXT = {"type": "string"}
_NAMES = {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]}
_BLOCKS = {
    "lora": "peft:LoraConfig",
    "quantization": "transformers:BitsAndBytesConfig",
}


def recipe_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a recipe file."""
    blocks: dict[str, Any] = {}
    model = _object(table("light_r1.recipe.spec:ModelSpec"), blocks)
    for name, dotted in _BLOCKS.items():
        model["properties"][name] = {"anyOf": [_object(table(dotted), blocks), {"type": "null"}]}
    blocks["model"] = model
    blocks["source"] = _object(table("light_r1.recipe.spec:SourceSpec"), blocks)
    evaluate = _object(table("light_r1.recipe.spec:EvaluateSpec"), blocks)
    sources = {"type": "object", "additionalProperties": {"$ref": "#/$defs/source"}}
    evaluate["properties"]["benchmarks"] = sources
    properties: dict[str, Any] = {
        "name": _TEXT,
        "extends": {"type": ["string", "null"]},
        "seed": {"type": "integer"},
        "output_dir": _TEXT,
        "handover": _field(table("light_r1.recipe.spec:Recipe").fields["handover"], blocks),
        "model": {"$ref": "#/$defs/model"},
        "chat": _object(table("light_r1.recipe.spec:ChatSpec"), blocks),
        "data": sources,
        "evaluate": {"anyOf": [evaluate, {"type": "null"}]},
        "sampler": {"type": "object", "properties": {"backend": _TEXT}, "required": ["backend"]},
        "defaults": _defaults(blocks),
        "stages": {"type": "array", "items": {"$ref": "#/$defs/stage"}},
    }
    assert set(properties) == set(TOP_KEYS)
    blocks["stage"] = _stage(blocks)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "light_r1 recipe",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "$defs": blocks,
    }


def _stage(blocks: dict[str, Any]) -> dict[str, Any]:
    """The keys of a stage, chosen by its type; a stage of a recipe that extends another may leave the type out."""
    types = list(stage_types())
    return {
        "type": "object",
        "properties": {
            "name": _TEXT,
            "type": {"anyOf": [{"enum": types}, {"type": "string", "pattern": "[.:]"}]},
            "from": _NAMES,
            "data": {"type": ["string", "null"]},
            "eval_data": {"type": ["string", "null"]},
            "model": {"$ref": "#/$defs/model"},
            "enabled": {"type": "boolean"},
        },
        "required": ["name"],
        "allOf": [
            {
                "if": {"properties": {"type": {"const": name}}, "required": ["type"]},
                "then": {"$ref": f"#/$defs/stage-{_add_stage(name, blocks)}"},
            }
            for name in types
        ],
    }


def _add_stage(name: str, blocks: dict[str, Any]) -> str:
    kind = stage_type(name)
    keys = dict.fromkeys(STAGE_KEYS, True)
    blocks[f"stage-{name}"] = {
        "type": "object",
        "properties": {**keys, **_options(kind.options, blocks), "args": _args(name, blocks)},
        "additionalProperties": False,
    }
    return name


def _args(name: str, blocks: dict[str, Any]) -> dict[str, Any]:
    blocks.setdefault(f"args-{name}", _object(stage_type(name).args, blocks))
    return {"$ref": f"#/$defs/args-{name}"}


def _options(options: Table, blocks: dict[str, Any]) -> dict[str, Any]:
    special = {"steps": _steps, "rewards": _rewards}
    return {
        name: special[name](blocks) if name in special else _field(field, blocks)
        for name, field in options.fields.items()
    }


def _steps(blocks: dict[str, Any]) -> dict[str, Any]:
    """Steps of a data stage: `sample`, the tools, or a function of one's own."""
    known = []
    for name in STEPS:
        properties = _object(step_table(name), blocks)["properties"]
        known.append(_exactly({"tool": {"const": name}, **properties}, "tool"))
    return {"type": "array", "items": {"anyOf": [*known, _own("tool")]}}


def _rewards(blocks: dict[str, Any]) -> dict[str, Any]:
    weight = {"weight": {"type": "number"}}
    forms: list[dict[str, Any]] = [{"enum": list(reward_names())}, {"type": "string", "pattern": ":"}]
    for name in reward_names():
        properties = _object(reward_parameters(name), blocks)["properties"]
        forms.append(_exactly({"name": {"const": name}, **weight, **properties}, "name"))
    return {"type": "array", "items": {"anyOf": [*forms, _own("name")]}}


def _exactly(properties: dict[str, Any], required: str) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [required], "additionalProperties": False}


def _own(key: str) -> dict[str, Any]:
    """A mapping that names a function of one's own, whose options are not known here."""
    return {"type": "object", "properties": {key: {"type": "string", "pattern": ":"}}, "required": [key]}


def _defaults(blocks: dict[str, Any]) -> dict[str, Any]:
    shared: dict[str, Any] = {}
    for name in training_types():
        shared |= _object(stage_type(name).args, blocks)["properties"]
    kinds = {
        name: {
            "type": "object",
            "properties": {
                **dict.fromkeys(STAGE_KEYS, True),
                **_options(stage_type(name).options, blocks),
                "args": _args(name, blocks),
            },
            "additionalProperties": False,
        }
        for name in stage_types()
    }
    args = {"type": "object", "properties": shared, "additionalProperties": False}
    return {"type": "object", "properties": {"args": args, **kinds}, "additionalProperties": False}


def _object(options: Table, blocks: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: _field(field, blocks) for name, field in options.fields.items()},
        "additionalProperties": options.open,
    }


def _field(field: Field, blocks: dict[str, Any]) -> dict[str, Any]:
    kind = field.type
    choices = CHOICES.get(f"{field.owner}.{field.name}")
    if choices is not None and kind.item is None:
        kind = kind.with_choices(choices)
    _add_blocks(kind, blocks)
    schema = kind.schema()
    limit = limit_of(field.owner, field.name)
    if limit is not None:
        bounds = (("Minimum", limit.low, limit.open_low), ("Maximum", limit.high, limit.open_high))
        for word, bound, open_end in bounds:
            if bound is not None:
                schema = {**schema, f"exclusive{word}" if open_end else word.lower(): bound}
    if field.help:
        schema = {**schema, "description": " ".join(field.help.split())}
    if field.default is not REQUIRED and field.default is not UNKNOWN:
        schema = {**schema, "default": field.default}
    return schema


def _add_blocks(kind: FieldType, blocks: dict[str, Any]) -> None:
    """Define the mapping types that a field refers to."""
    for inner in (kind.item, kind.values):
        if inner is not None:
            _add_blocks(inner, blocks)
    if kind.block is not None:
        name = kind.block.rpartition(":")[2]
        if name not in blocks:
            blocks[name] = {}
            blocks[name] = _object(table(kind.block), blocks)
