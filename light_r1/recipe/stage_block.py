"""Parse one stage of a recipe's YAML into a `StageSpec`.

Which keys a stage may have is read from the source of its class: `args_class` names the config whose fields
are its `args`, `options_class` the dataclass of its further keys. Stage modules are not imported here, so a
stage of one's own may import what it likes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from data_tools.errors import DataToolsError
from light_r1.errors import did_you_mean
from light_r1.recipe.options.source import SourceError, class_attribute, literal, nearest_base
from light_r1.recipe.options.steps import STEPS, step_table
from light_r1.recipe.options.table import REQUIRED, Field, Table, table
from light_r1.recipe.options.types import NONE, FieldType, union
from light_r1.recipe.overlay import STAGE_KEYS, merge
from light_r1.recipe.spec import ModelSpec, StageSpec
from light_r1.recipe.typecheck import FAULTY, Faults, check_block, check_field
from light_r1.recipe.yaml_lines import Node, Place

_TEXT = FieldType(kinds=frozenset({"str"}))
_STAGE = "light_r1.stages.base:Stage"
_NONE = Table("recipe:none", {})
_FROM_CHAT = "think_tokens"  # the recipe's chat gives it to rewards that take it
_OWNED_BY_RUN = {
    "output_dir": "The run folder decides; set output_dir at the top of the recipe.",
    "resume_from_checkpoint": "A stage that was cut off resumes by itself.",
}


@dataclass(frozen=True, slots=True)
class StageType:
    """What the recipe needs to know about a stage class.

    Args:
        dotted: `module:Class`.
        built_in: `module:Class` of the type itself, or of its nearest base in this package.
        makes: `model`, `rows` or `scores`.
        data: Whether the stage must name its rows (`required`), may (`optional`), or cannot (`none`).
        models: How many models `from` may name: the least and the most.
        held_out: Whether it may have `eval_data`.
        trains: Whether it updates weights.
        args: Fields of its config class.
        options: Further keys of the stage.
    """

    dotted: str
    built_in: str
    makes: str
    data: str
    models: tuple[int, int | None]
    held_out: bool
    trains: bool
    args: Table
    options: Table


@lru_cache(maxsize=1)
def stage_types() -> dict[str, str]:
    """Return the built-in stage types: name -> `module:Class`."""
    types: dict[str, str] = literal("light_r1.stages:STAGE_TYPES")
    return types


@lru_cache(maxsize=64)
def stage_type(name: str) -> StageType:
    """Read a stage type from source.

    Raises:
        SourceError: If there is none of that name.
    """
    dotted = stage_types().get(name, name)
    built_in = nearest_base(dotted, {*stage_types().values(), _STAGE})
    makes = class_attribute(dotted, "makes")
    if built_in is None or makes is None:
        raise SourceError(f"{dotted} is no Stage: it {'does not set makes' if built_in else 'derives from none'}")
    args_class, options_class = class_attribute(dotted, "args_class"), class_attribute(dotted, "options_class")
    args = table(args_class) if args_class else _NONE
    options = table(options_class) if options_class else _NONE
    for own, usual in ((args, "args_class"), (options, "options_class")):
        usual_class = class_attribute(built_in, usual)
        if usual_class and not table(usual_class).fields.keys() <= own.fields.keys():
            built_in = _STAGE  # it takes other settings than its base, which therefore cannot judge them
    return StageType(
        dotted,
        built_in,
        makes,
        data=class_attribute(dotted, "data"),
        models=class_attribute(dotted, "models"),
        held_out=class_attribute(dotted, "held_out"),
        trains=class_attribute(dotted, "trains"),
        args=args,
        options=options,
    )


def training_types() -> list[str]:
    """Return the names of the built-in stage types that update weights."""
    return [name for name in stage_types() if stage_type(name).trains]


def check_defaults(node: Node | None, faults: Faults) -> dict[str, Node]:
    """Check the keys of `defaults:` and return them: `args`, and one mapping per stage type."""
    if node is None or node.value is None:
        return {}
    if not isinstance(node.value, dict):
        faults.at(node, "is no mapping", expected="args, and mappings by stage type")
        return {}
    valid = ["args", *stage_types()]
    for name, child in node.value.items():
        if name not in valid:
            faults.at(child, "no such default", expected="args or a stage type", hint=did_you_mean(name, valid))
        elif not isinstance(child.value, dict):
            faults.at(child, "is no mapping", expected="a mapping")
    kept = {name: child for name, child in node.value.items() if name in valid and child.items}
    tables = [stage_type(name).args for name in training_types()]
    shared = kept["args"].items if "args" in kept else {}
    for name, child in shared.items():
        if not any(name in options.fields for options in tables):
            every = {field: None for options in tables for field in options.fields}
            faults.at(child, "no training stage has this option", hint=did_you_mean(name, every))
    return kept


def build_stage(
    name: str, node: Node, defaults: Mapping[str, Node], model: Node | None, faults: Faults
) -> StageSpec | None:
    """Check one stage and return it; None if even its type is not known.

    Args:
        name: The stage's name.
        node: The stage as written.
        defaults: What `check_defaults` returned.
        model: The recipe's model block.
        faults: Where faults are noted.
    """
    type_node = node.items.get("type")
    if type_node is None or not isinstance(type_node.value, str):
        faults.at(type_node or node, "type is missing", expected=f"one of {', '.join(stage_types())}")
        return None
    try:
        kind = stage_type(type_node.value)
    except SourceError as error:
        hint = did_you_mean(type_node.value, stage_types())
        expected = f"one of {', '.join(stage_types())}, or module:Class of a Stage"
        faults.at(type_node, f"no such stage type ({error})", expected=expected, hint=hint)
        return None
    node = _with_defaults(type_node.value, kind, node, defaults)
    values = check_block(
        node,
        _stage_table(kind),
        faults,
        also={field: f"Did you mean {name}.args.{field}?" for field in kind.args.fields},
        skip=("args", "model", *kind.options.fields),
    )
    return StageSpec(
        name=name,
        type=type_node.value,
        makes=kind.makes,
        inputs=_inputs(values.get("from")),
        data=values.get("data"),
        eval_data=values.get("eval_data"),
        args=_args(node, kind, faults),
        options=_options(node, kind, faults),
        model=stage_model(model, node, faults),
        enabled=values.get("enabled", True),
    )


def _with_defaults(name: str, kind: StageType, node: Node, defaults: Mapping[str, Node]) -> Node:
    """Lay the stage over the defaults of its type, over those of all training stages."""
    lower = Node({}, node.place)
    if "args" in defaults and (kind.trains or (":" in name and kind.makes == "model")):
        shared = {f: child for f, child in defaults["args"].items.items() if f in kind.args.fields}
        if shared:
            lower = Node({"args": Node(shared, defaults["args"].place)}, node.place)
    if name in defaults:
        lower = merge(lower, defaults[name])
    return merge(lower, node)


def _stage_table(kind: StageType) -> Table:
    """The keys every stage has, and those of this type."""
    many = FieldType(kinds=frozenset({"str"}), item=_TEXT)
    optional = union([_TEXT, NONE])
    mapping = FieldType(block=kind.args.source)
    common = {
        "name": Field("name", _TEXT, None),
        "type": Field("type", _TEXT, None),
        "from": Field("from", many, None),
        "data": Field("data", optional, None),
        "eval_data": Field("eval_data", optional, None),
        "model": Field("model", mapping, None),
        "args": Field("args", mapping, None),
        "enabled": Field("enabled", FieldType(kinds=frozenset({"bool"})), True),
    }
    assert set(common) == set(STAGE_KEYS)
    return Table("recipe:stage", {**common, **kind.options.fields})


def _inputs(value: str | list[str] | None) -> tuple[str, ...]:
    if value is None:
        return ("model",)
    return (value,) if isinstance(value, str) else tuple(value)


def _args(node: Node, kind: StageType, faults: Faults) -> dict[str, Any]:
    args = node.items.get("args")
    if args is None or args.value is None:
        args = Node({}, node.place, key=f"{node.key}.args")
    for name, reason in _OWNED_BY_RUN.items():
        if name in args.items:
            faults.at(args.items[name], "cannot be set for a stage", hint=reason)
    elsewhere = {key: f"{key} is a key of the stage, not of its args." for key in kind.options.fields}
    return check_block(args, kind.args, faults, also=elsewhere, of=kind.args.name if kind.args.fields else "")


def _options(node: Node, kind: StageType, faults: Faults) -> dict[str, Any]:
    """Check the keys that only this type has."""
    values: dict[str, Any] = {}
    for name, option in kind.options.fields.items():
        child = node.items.get(name)
        if child is None:
            if option.default is REQUIRED:
                faults.at(node, f"{name} is missing", expected=f"{name}: {option.type.describe()}")
            continue
        if name == "steps":
            value: Any = _list_of(child, _step, faults)
        elif name == "rewards":
            value = _list_of(child, _reward, faults)
        else:
            value = check_field(child, option, faults)
        if value is not FAULTY:
            values[name] = value
    return values


def _list_of(node: Node, build: Any, faults: Faults) -> list[Any]:
    if not isinstance(node.value, list) or not node.value:
        faults.at(node, "is no list with something in it", expected="a list")
        return []
    return [built for built in (build(item, faults) for item in node.value) if built is not FAULTY]


def _step(node: Node, faults: Faults) -> Any:
    """One step of a data stage: `{tool: dedup, threshold: 0.9}`."""
    tool = node.items.get("tool")
    if tool is None or not isinstance(tool.value, str):
        faults.at(tool or node, "names no tool", expected="tool: <name>, and its options")
        return FAULTY
    try:
        options = step_table(tool.value)
    except DataToolsError as error:
        what = f"{tool.value}: {error}" if ":" in tool.value else f"no tool called {tool.value}"
        expected = f"one of {', '.join(STEPS)}, or module:function"
        faults.at(tool, what, expected=expected, hint=did_you_mean(tool.value, STEPS))
        return FAULTY
    return {"tool": tool.value, **check_block(node, options, faults, skip=("tool",), of=options.name)}


def reward_parameters(name: str) -> Table:
    """Return the parameters of a reward: those of its factory, or none for a plain function.

    Raises:
        SourceError: If there is no such reward.
    """
    dotted = reward_names().get(name, name)
    parameters = table(dotted)
    return parameters if parameters.name.startswith("get_") else Table(dotted, {})


def reward_names() -> dict[str, str]:
    """Return the built-in rewards: name -> `module:function`."""
    rewards: dict[str, str] = literal("light_r1.rewards:REWARDS")
    return rewards


def _reward(node: Node, faults: Faults) -> Any:
    """One reward: a name, or `{name: cosine, weight: 1.0, max_len: 24000}`."""
    name_node = node if isinstance(node.value, str) else node.items.get("name")
    if name_node is None or not isinstance(name_node.value, str):
        faults.at(node, "names no reward", expected="a name, or a mapping with name")
        return FAULTY
    name = name_node.value
    try:
        parameters = reward_parameters(name)
    except SourceError as error:
        hint = did_you_mean(name, reward_names())
        faults.at(name_node, f"no such reward ({error})", expected=", ".join(reward_names()), hint=hint)
        return FAULTY
    if name_node is node:
        for parameter in parameters.fields.values():
            if parameter.default is REQUIRED and parameter.name != _FROM_CHAT:
                faults.at(node, f"{name} needs {parameter.name}", expected=f"{{name: {name}, {parameter.name}: ...}}")
        return name
    weight = Field("weight", FieldType(kinds=frozenset({"float"})), 1.0)
    open_table = Table(parameters.source, {"weight": weight, **parameters.fields}, parameters.open)
    known = (_FROM_CHAT,) if _FROM_CHAT not in node.items else ()
    return {"name": name, **check_block(node, open_table, faults, skip=("name", *known), of=parameters.name)}


_PEFT = {"lora": "peft:LoraConfig", "quantization": "transformers:BitsAndBytesConfig"}


def stage_model(model: Node | None, stage: Node | None, faults: Faults) -> ModelSpec:
    """Return the model block with the stage's own `model:` laid over it."""
    own = stage.items.get("model") if stage is not None else None
    node = model or Node({}, Place(""))
    if own is not None and own.value is not None:
        node = merge(node, own)
    values = check_block(node, table("light_r1.recipe.spec:ModelSpec"), faults, skip=_PEFT)
    for name, dotted in _PEFT.items():
        child = node.items.get(name)
        if child is None or child.value is None:
            continue
        values[name] = check_block(child, table(dotted), faults, of=table(dotted).name)
    names = {spec.name for spec in fields(ModelSpec)}
    return ModelSpec(**{name: value for name, value in values.items() if name in names})
