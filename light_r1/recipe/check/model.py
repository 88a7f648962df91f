"""The `model` block of a recipe or stage: which model, its config if made from nothing, adapters, quantisation."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from light_r1.errors import did_you_mean
from light_r1.recipe.check.findings import Findings
from light_r1.recipe.options.source import SourceError, assigned, find_definition, read_module, split_dotted
from light_r1.recipe.options.table import Table, table
from light_r1.recipe.spec import ModelSpec, StageSpec
from light_r1.recipe.stage_block import stage_type
from light_r1.recipe.typecheck import Faults, check_field
from light_r1.recipe.yaml_lines import Node

_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?\Z")
_SIZES = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "head_dim", "max_position_embeddings",
)  # fmt: skip
_ATTENTION = (
    "auto", "eager", "sdpa", "flash_attention_2", "flash_attention_3", "flash_attention_4", "flex_attention"
)  # fmt: skip


def check_model(model: ModelSpec, key: str, findings: Findings) -> None:
    """Check a model block."""
    if (model.name_or_path is None) == (model.init is None):
        fault = "has neither name_or_path nor init" if model.init is None else "has both name_or_path and init"
        findings.at(key, fault, "exactly one of them")
    if model.init is not None:
        _check_init(model.init, f"{key}.init", findings)
    if model.name_or_path is not None:
        _check_name(model.name_or_path, f"{key}.name_or_path", findings)
    attention = model.attn_implementation
    # A name with a slash is a kernel on the hub.
    if attention not in _ATTENTION and "/" not in attention:
        hint = did_you_mean(attention, _ATTENTION)
        findings.at(f"{key}.attn_implementation", f"{attention} is unknown", ", ".join(_ATTENTION), hint)


def check_stage_model(stage: StageSpec, findings: Findings) -> None:
    """Check a stage's model against what the stage does with it."""
    model, key = stage.model, f"{stage.name}.model"
    if stage.implicit:
        return
    own = findings.recipe.model
    if (model.name_or_path, model.attn_implementation) != (own.name_or_path, own.attn_implementation):
        check_model(model, key, findings)
    trains = stage_type(stage.type).trains
    if model.quantization and model.quantization.get("load_in_4bit") and model.quantization.get("load_in_8bit"):
        findings.at(f"{key}.quantization", "load_in_4bit and load_in_8bit exclude each other")
    if trains and model.quantization and not model.lora:
        findings.at(f"{key}.quantization", "quantised weights cannot be trained", "a lora block beside it")
    if trains and model.dtype == "float16" and not model.lora:
        findings.at(f"{key}.dtype", "float16 weights cannot be trained: small updates vanish", "bfloat16 or float32")
    if trains:
        _note_precision(stage, findings)
    longest, positions = stage.args.get("max_length"), _positions(model)
    if trains and longest is not None and positions is not None and longest > positions:
        findings.at(
            f"{stage.name}.args.max_length",
            f"{longest} is beyond the max_position_embeddings {positions} of the model made from init",
        )
    targets = (model.lora or {}).get("target_modules")
    if trains and targets is not None and "lm_head" in ([targets] if isinstance(targets, str) else targets):
        findings.at(
            f"{key}.lora.target_modules", "lm_head cannot have an adapter: TRL fuses it with the loss", "other layers"
        )


def _note_precision(stage: StageSpec, findings: Findings) -> None:
    """Say what is computed in where `bf16` or `fp16` of the args say something else than `dtype`."""
    model, args = stage.model, stage.args
    asked = [dtype for dtype, key in (("bfloat16", "bf16"), ("float16", "fp16")) if args.get(key)]
    off = {"bfloat16": args.get("bf16"), "float16": args.get("fp16")}.get(model.dtype) is False
    if asked and model.dtype not in asked:
        findings.note(f"{stage.name}: computes in {asked[0]}, as its args say; model.dtype is {model.dtype}")
    elif off and not asked and model.keeps_masters(sharded=False):
        findings.note(f"{stage.name}: computes in float32, as its args say; model.dtype is {model.dtype}")


def _positions(model: ModelSpec) -> int | None:
    """Return the longest row that a model made from nothing is made for."""
    config = (model.init or {}).get("config")
    longest = config.get("max_position_embeddings") if isinstance(config, Mapping) else None
    return longest if isinstance(longest, int) else None


def _check_name(name: str, key: str, findings: Findings) -> None:
    if name.startswith((".", "/", "~")):
        if not Path(name).expanduser().is_dir():
            findings.at(key, f"no folder {name}", "a model folder or a name on the hub")
    elif not _HUB_NAME.match(name) and not Path(name).is_dir():
        findings.at(key, f"{name!r} is neither a folder nor a name on the hub", "owner/name")
    elif not Path(name).is_dir():
        _check_neighbours(name, Path(name).parent, key, findings)


def _check_neighbours(name: str, folder: Path, key: str, findings: Findings) -> None:
    """Report a name that might be one of the hub, but is nearly that of a folder here."""
    path = Path(name)
    beside = (
        [child.name for child in folder.iterdir() if child.is_dir()] if path.parent.name and folder.is_dir() else []
    )
    if hint := did_you_mean(path.name, beside):
        findings.at(key, f"no folder {name} here", "a folder that is there, or a name on the hub", hint)


def _check_init(init: Mapping[str, Any], key: str, findings: Findings) -> None:
    for name in init:
        if name not in ("tokenizer", "config"):
            hint = did_you_mean(name, ("tokenizer", "config"))
            findings.at(f"{key}.{name}", "no such key of init", "tokenizer and config", hint)
    config = init.get("config")
    if not isinstance(config, Mapping) or "model_type" not in config:
        findings.at(f"{key}.config", "model_type is missing", "fields of a transformers config, with model_type")
    else:
        _check_config(config, f"{key}.config", findings)
    tokenizer = init.get("tokenizer")
    if not isinstance(tokenizer, str):
        findings.at(f"{key}.tokenizer", "is missing", "module:function, or the name of a tokenizer")
    elif ":" in tokenizer:
        check_dotted(tokenizer, f"{key}.tokenizer", findings)
    elif findings.file(tokenizer) is None:
        parent = findings.file(str(Path(tokenizer).parent))
        if parent is not None:
            _check_neighbours(tokenizer, parent, f"{key}.tokenizer", findings)


def check_dotted(dotted: str, key: str, findings: Findings) -> None:
    """Report a `module:name` that does not exist."""
    try:
        find_definition(*split_dotted(dotted))
    except SourceError as error:
        findings.at(key, f"{dotted} cannot be found: {error}", "module:function")


def _config_table(model_type: str) -> Table | None:
    """Return the fields of the config class of a model type, read from the source of transformers."""
    name = f"transformers.models.{model_type}.configuration_{model_type}"
    for node in read_module(name).tree.body:
        if isinstance(node, ast.ClassDef):
            value = assigned(node.body, "model_type")
            if isinstance(value, ast.Constant) and value.value == model_type:
                return table(f"{name}:{node.name}")
    return None


def _check_config(config: Mapping[str, Any], key: str, findings: Findings) -> None:
    model_type = config["model_type"]
    try:
        options = _config_table(str(model_type))
    except SourceError:
        findings.at(f"{key}.model_type", f"transformers has no model type {model_type}", "such as qwen2")
        return
    faults = Faults()
    for name, value in config.items():
        field = options.fields.get(name) if options is not None else None
        place = findings.recipe.where.near(f"{key}.{name}")
        if field is not None:
            check_field(_node(value, place, f"{key}.{name}"), field, faults)
        elif options is not None and (hint := did_you_mean(name, options.fields)) and name != "model_type":
            # Configs take any key; only what looks like a slip is a fault.
            faults.add(place, f"{key}.{name}: no such field of the config of {model_type}", hint=hint)
    findings.extend(faults.problems)
    if not faults.problems:
        _check_heads(config, key, findings)


def _node(value: Any, place: Any, key: str) -> Node:
    if isinstance(value, dict):
        return Node({name: _node(item, place, f"{key}.{name}") for name, item in value.items()}, place, key=key)
    if isinstance(value, list):
        return Node([_node(item, place, key) for item in value], place, key=key)
    return Node(value, place, plain=True, key=key)


def _check_heads(config: Mapping[str, Any], key: str, findings: Findings) -> None:
    """Check that sizes are sizes, that the width splits into heads, and the heads into groups."""
    empty = [name for name in _SIZES if name in config and config[name] is not None and config[name] < 1]
    for name in empty:
        findings.at(f"{key}.{name}", f"{config[name]} is out of range", "at least 1")
    if empty:
        return
    width, heads = config.get("hidden_size"), config.get("num_attention_heads")
    groups = config.get("num_key_value_heads")
    if width and heads and config.get("head_dim") is None and width % (2 * heads):
        findings.at(
            f"{key}.hidden_size",
            f"{width} does not split into {heads} heads of an even width (num_attention_heads)",
            f"a multiple of {2 * heads}",
        )
    if heads and groups and heads % groups:
        findings.at(f"{key}.num_key_value_heads", f"{groups} does not divide num_attention_heads {heads}")
