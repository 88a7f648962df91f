"""Read a recipe file into a `Recipe`: `extends`, then `defaults`, the stage, `--set`; the deepest wins.

`load_recipe` checks everything that the file alone can tell: keys, types, choices and bounds at every level.
`light_r1.recipe.check.graph` adds what needs the whole picture: the graph of stages, files, columns, combinations.
Nothing here imports torch or reads anything but YAML and source code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from light_r1.errors import Problem, RecipeError, did_you_mean
from light_r1.recipe.options.source import SourceError, literal
from light_r1.recipe.options.table import Field, Table, table
from light_r1.recipe.options.types import FieldType
from light_r1.recipe.overlay import TOP_KEYS, apply_override, read_layers
from light_r1.recipe.shipped import find_recipe, shown
from light_r1.recipe.spec import (
    ChatSpec,
    EvaluateSpec,
    MixPart,
    ModelSpec,
    Recipe,
    SamplerSpec,
    SourceSpec,
    StageSpec,
    Where,
)
from light_r1.recipe.stage_block import build_stage, check_defaults, stage_model
from light_r1.recipe.typecheck import FAULTY, Faults, check_block, check_field
from light_r1.recipe.yaml_lines import Node, Place

__all__ = [
    "ChatSpec",
    "EvaluateSpec",
    "MixPart",
    "ModelSpec",
    "Recipe",
    "SamplerSpec",
    "SourceSpec",
    "StageSpec",
    "Where",
    "load_recipe",
    "read_recipe",
    "resolved",
]

_TEXT = FieldType(kinds=frozenset({"str"}))
_GIVEN_TO_SAMPLERS = ("model", "chat", "batch_size")
_HUB_KEYS = ("config", "split", "data_files", "revision")


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe.

    Args:
        path: A file, or the name of a shipped recipe.
        overrides: `key=value` texts, e.g. `dpo.args.beta=0.1`, by stage name or top-level key.

    Raises:
        RecipeError: With every fault that the file alone can tell.
    """
    recipe, problems = read_recipe(path, overrides)
    if problems:
        raise RecipeError(problems)
    return recipe


def read_recipe(path: str | Path, overrides: Sequence[str] = ()) -> tuple[Recipe, list[Problem]]:
    """Read a recipe as far as possible, and return what is wrong with it.

    Raises:
        RecipeError: If the file cannot be read at all.
    """
    faults = Faults()
    file = find_recipe(path)
    root, files = read_layers(file, faults)
    if root is None:
        raise RecipeError(faults.problems)
    for override in overrides:
        apply_override(root, override, faults)
    for name, node in root.items.items():
        if name not in TOP_KEYS:
            faults.at(node, "no such key of a recipe", hint=did_you_mean(name, TOP_KEYS))
    where = Where(_places(root), Place(shown(file), 1))
    model_node = root.items.get("model")
    stages = _stages(root, model_node, faults)
    evaluate = _evaluate(root.items.get("evaluate"), faults)
    recipe = Recipe(
        name=_top(root, "name", _TEXT, file.stem, faults),
        seed=_top(root, "seed", FieldType(kinds=frozenset({"int"})), 42, faults),
        output_dir=_top(root, "output_dir", _TEXT, "runs", faults),
        model=stage_model(model_node, None, faults),
        chat=_chat(root.items.get("chat"), faults),
        data=_sources(root.items.get("data"), faults),
        evaluate=evaluate,
        sampler=_sampler(root.items.get("sampler"), faults),
        stages=_with_evaluations(stages, evaluate),
        handover=_top(
            root, "handover", table("light_r1.recipe.spec:Recipe").fields["handover"].type, "logprobs", faults
        ),
        path=file,
        where=where,
        files=files,
    )
    return recipe, faults.problems


def resolved(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe as plain JSON values, with everything merged in and no places."""
    values = {
        field.name: getattr(recipe, field.name)
        for field in fields(recipe)
        if field.name not in ("path", "where", "files", "stages", "data", "evaluate")
    }
    plain = {
        name: asdict(value) if hasattr(value, "__dataclass_fields__") else value for name, value in values.items()
    }
    plain["data"] = {name: asdict(source) for name, source in recipe.data.items()}
    plain["evaluate"] = asdict(recipe.evaluate) if recipe.evaluate else None
    plain["stages"] = [asdict(stage) for stage in recipe.stages]
    return plain


def _places(root: Node) -> dict[str, Place]:
    """Dotted key -> place; stages by name (with what `defaults` and `model` lend them), and as `stages.<name>`."""
    places: dict[str, Place] = {}

    def visit(node: Node, key: str) -> None:
        if key:
            places.setdefault(key, node.place)
        for name, child in node.below():
            visit(child, f"{key}.{name}" if key else name)

    visit(root, "")
    stages, defaults, model = (root.items.get(key, Node({}, root.place)) for key in ("stages", "defaults", "model"))
    for name, node in stages.items.items():
        visit(node, name)
        kind = node.items["type"].value if "type" in node.items else None
        if isinstance(kind, str) and kind in defaults.items:
            visit(defaults.items[kind], name)
        if "args" in defaults.items:
            visit(defaults.items["args"], f"{name}.args")
        visit(model, f"{name}.model")
    return places


def _top(root: Node, name: str, kind: FieldType, default: Any, faults: Faults) -> Any:
    node = root.items.get(name)
    if node is None or node.value is None:
        return default
    value = check_field(node, Field(name, kind), faults)
    return default if value is FAULTY else value


def _stages(root: Node, model: Node | None, faults: Faults) -> list[StageSpec]:
    defaults = check_defaults(root.items.get("defaults"), faults)
    node = root.items.get("stages")
    if node is None or not node.items:
        if not any(problem.what.startswith("stages: ") for problem in faults.problems):
            faults.at(node or root, "stages is missing", expected="a list of stages, each with name and type")
        return []
    built = [build_stage(name, stage, defaults, model, faults) for name, stage in node.items.items()]
    return [stage for stage in built if stage is not None]


def _with_evaluations(stages: Sequence[StageSpec], evaluate: EvaluateSpec | None) -> tuple[StageSpec, ...]:
    """Add `<stage>.evaluate` behind the stages that `evaluate.after` names, unless it is there by hand."""
    if evaluate is None or evaluate.after == "none":
        return tuple(stages)
    by_hand = {stage.inputs for stage in stages if stage.makes == "scores" and stage.enabled}
    result: list[StageSpec] = []
    for stage in stages:
        result.append(stage)
        wanted = evaluate.after == "all" or stage.name in evaluate.after
        if wanted and stage.makes == "model" and (stage.name,) not in by_hand:
            result.append(
                StageSpec(
                    name=f"{stage.name}.evaluate",
                    type="evaluate",
                    makes="scores",
                    inputs=(stage.name,),
                    model=stage.model,
                    enabled=stage.enabled,
                    implicit=True,
                )
            )
    return tuple(result)


def _chat(node: Node | None, faults: Faults) -> ChatSpec:
    if node is None or node.value is None:
        return ChatSpec()
    values = check_block(node, table("light_r1.recipe.spec:ChatSpec"), faults)
    if "think_tokens" in values:
        values["think_tokens"] = tuple(values["think_tokens"])
    return ChatSpec(**values)


def _sources(node: Node | None, faults: Faults) -> dict[str, SourceSpec]:
    if node is None or node.value is None:
        return {}
    if not isinstance(node.value, dict):
        faults.at(node, "is no mapping", expected="named sources")
        return {}
    return {name: _source(child, faults) for name, child in node.value.items()}


def _source(node: Node, faults: Faults) -> SourceSpec:
    options = table("light_r1.recipe.spec:SourceSpec")
    values = check_block(node, options, faults, skip=("options",))
    kinds = [kind for kind in ("path", "hub", "generator", "mix") if kind in node.items]
    if isinstance(node.value, dict) and len(kinds) != 1:
        fault = f"has {' and '.join(kinds)}" if kinds else "has no rows"
        faults.at(node, fault, expected="exactly one of path, hub, generator, mix")
    for key in _HUB_KEYS:
        if key in node.items and kinds and "hub" not in kinds:
            faults.at(node.items[key], f"goes with hub, this source is a {kinds[0]}")
    if "options" in node.items:
        values["options"] = _generator_options(node, values.get("generator"), faults)
    if "path" in values:
        values["path"] = tuple(values["path"])
    values["mix"] = tuple(MixPart(**part) for part in values.get("mix", []) if "source" in part)
    return SourceSpec(**values)


def _generator_options(node: Node, generator: str | None, faults: Faults) -> dict[str, Any]:
    options = node.items["options"]
    if generator is None:
        faults.at(options, "goes with generator", expected="a generator beside it")
        return {}
    try:
        return check_block(options, table(generator), faults, of=table(generator).name)
    except SourceError:
        return options.data() if isinstance(options.value, dict) else {}


def _evaluate(node: Node | None, faults: Faults) -> EvaluateSpec | None:
    if node is None or node.value is None:
        return None
    values = check_block(node, table("light_r1.recipe.spec:EvaluateSpec"), faults, skip=("benchmarks",))
    for name in ("k", "after"):
        if isinstance(values.get(name), list):
            values[name] = tuple(values[name])
    return EvaluateSpec(**values, benchmarks=_sources(node.items.get("benchmarks"), faults))


def _sampler(node: Node | None, faults: Faults) -> SamplerSpec:
    if node is None or node.value is None:
        return SamplerSpec()
    backends: dict[str, str] = literal("light_r1.rollouts.sampler:SAMPLERS")
    chosen = node.items.get("backend")
    name = "hf" if chosen is None else chosen.value
    fields_of = {"backend": Field("backend", _TEXT, "hf")}
    try:
        dotted = backends.get(name, name) if isinstance(name, str) else ""
        own = table(dotted).fields
    except SourceError:
        hint = did_you_mean(str(name), backends)
        faults.at(chosen or node, f"no sampler {name}", expected=f"one of {', '.join(backends)}", hint=hint)
        return SamplerSpec()
    fields_of |= {key: option for key, option in own.items() if key not in _GIVEN_TO_SAMPLERS}
    values = check_block(node, Table("recipe:sampler", fields_of), faults)
    return SamplerSpec(values.pop("backend", "hf"), values)
