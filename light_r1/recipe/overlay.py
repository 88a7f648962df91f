"""Layers of a recipe: the files it extends, and `--set` overrides, merged into one tree.

Deepest wins: parent file, recipe file, override. Mappings are merged key by key, stages by name (the
parent's order, new ones after), every other list is replaced as a whole. Each value keeps the place it was
written at. Where two keys exclude each other (a source is a `path` or a `hub` set; a model has a
`name_or_path` or an `init`), the deeper layer's choice removes the other one with all that belongs to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from light_r1.errors import did_you_mean
from light_r1.recipe.shipped import find_recipe, shipped_recipes, shown
from light_r1.recipe.typecheck import Faults
from light_r1.recipe.yaml_lines import Node, Place, parse_yaml, read_yaml

TOP_KEYS = (
    "name", "extends", "seed", "output_dir", "handover", "model", "chat", "data", "evaluate", "sampler",
    "defaults", "stages",
)  # fmt: skip
STAGE_KEYS = ("name", "type", "from", "data", "eval_data", "model", "args", "enabled")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*\Z")
_RESERVED = {*TOP_KEYS} - {"evaluate"}
_EXCLUSIVE = (
    {
        "path": {"path", "rows"},
        "hub": {"hub", "config", "split", "data_files", "revision", "rows"},
        "generator": {"generator", "options", "rows"},
        "mix": {"mix", "rows"},
    },
    {"name_or_path": {"name_or_path", "revision"}, "init": {"init"}},
)


def read_layers(path: Path, faults: Faults) -> tuple[Node | None, tuple[Path, ...]]:
    """Read a recipe file and those it extends, merged.

    Returns:
        The tree (None if the recipe itself cannot be read), and the files, nearest first.
    """
    files: list[Path] = []
    layers: list[Node] = []
    current: Path | None = path
    while current is not None:
        files.append(current)
        node, problems = read_yaml(current, shown=shown(current))
        faults.problems.extend(problems)
        if node is not None and not isinstance(node.value, dict):
            faults.add(node.place, "a recipe is a mapping", expected="keys such as name, model, stages")
            node = None
        if node is None:
            break
        layers.append(_prepare(node, faults, top=not layers))
        current = _extended(node, current, files, faults)
    if not layers:
        return None, tuple(files)
    merged = layers[-1]
    for layer in reversed(layers[:-1]):
        merged = merge(merged, layer)
    return merged, tuple(files)


def _extended(node: Node, current: Path, files: Sequence[Path], faults: Faults) -> Path | None:
    extends = node.items.get("extends")
    if extends is None or extends.value is None:
        return None
    if not isinstance(extends.value, str):
        faults.at(extends, "is no file name", expected="a recipe file, or the name of a shipped recipe")
        return None
    parent = find_recipe(extends.value, beside=current.parent)
    if not parent.is_file():
        names = sorted(path.stem for path in shipped_recipes().glob("*.yaml"))
        hint = did_you_mean(Path(extends.value).stem, names)
        faults.at(extends, f"no recipe {extends.value} beside this file or among the shipped ones", hint=hint)
        return None
    if any(parent.resolve() == file.resolve() for file in files):
        faults.at(extends, f"{extends.value} extends this file in turn: a cycle")
        return None
    return parent


def _prepare(node: Node, faults: Faults, *, top: bool) -> Node:
    """Label the keys of one file and key its stages by name."""
    node.label("")
    if not top:
        node.items.pop("name", None)  # two recipes must not share a run folder
    stages = node.items.get("stages")
    if stages is not None and stages.value is not None:
        if isinstance(stages.value, list):
            stages.value = _by_name(stages.value, faults)
        else:
            faults.at(stages, "is not a list", expected="a list of stages, each with name and type")
            del node.items["stages"]
    return node


def _by_name(stages: Sequence[Node], faults: Faults) -> dict[str, Node]:
    named: dict[str, Node] = {}
    for node in stages:
        name_node = node.items.get("name")
        name = name_node.value if name_node is not None else None
        if not isinstance(node.value, dict):
            faults.at(node, "a stage is a mapping", expected="name, type, and the keys of that type")
        elif name_node is None:
            faults.at(node, "name is missing", expected="a name for the stage")
        elif not isinstance(name, str) or not _NAME.match(name):
            faults.at(name_node, f"{name!r} is no stage name", expected="letters, digits, - and _")
        elif name in _RESERVED:
            faults.at(name_node, f"{name} cannot be the name of a stage", expected="a name that is no key")
        elif name in named:
            faults.at(name_node, f"a second stage called {name}, the first is at {named[name].place}")
        else:
            node.label(name)
            named[name] = node
    return named


def merge(lower: Node, upper: Node) -> Node:
    """Return `upper` laid over `lower`; neither is changed."""
    if not (isinstance(lower.value, dict) and isinstance(upper.value, dict)):
        return upper
    below = _without_excluded(lower.value, upper.value)
    merged = {name: merge(below[name], node) if name in below else node for name, node in upper.value.items()}
    ordered = {name: merged.get(name, node) for name, node in below.items()}
    ordered.update(merged)
    return replace(upper, value=ordered)


def _without_excluded(lower: dict[str, Node], chosen: Iterable[str]) -> dict[str, Node]:
    chosen = set(chosen)
    dropped: set[str] = set()
    for group in _EXCLUSIVE:
        if chosen & group.keys() and not chosen & lower.keys() & group.keys():
            for key, owned in group.items():
                dropped |= owned if key not in chosen else set()
    return {name: node for name, node in lower.items() if name not in dropped}


def apply_override(root: Node, text: str, faults: Faults) -> None:
    """Set one value in the tree: `dpo.args.beta=0.1`, by stage name or top-level key.

    Args:
        root: The merged tree; changed in place.
        text: Key and YAML value.
        faults: Where faults are noted.
    """
    place = Place(f"--set {text}")
    key, equals, value_text = text.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        faults.add(place, "is no assignment", expected="key=value, e.g. dpo.args.beta=0.1")
        return
    value, problems = parse_yaml(value_text, str(place), place=place)
    faults.problems.extend(problems)
    if value is None:
        return
    stages = root.items["stages"].items if "stages" in root.items else {}
    if parts[0] in stages and not (parts[0] in TOP_KEYS and parts[1:2] and parts[1] not in _stage_words(stages)):
        tree = Node(stages, place)
    elif parts[0] in TOP_KEYS and parts[0] not in ("stages", "extends"):
        tree = root
    else:
        valid = [*stages, *(name for name in TOP_KEYS if name not in ("stages", "extends"))]
        faults.add(
            place,
            f"{key}: {parts[0]} is neither a stage nor a key of the recipe",
            expected=f"one of {', '.join(valid)}",
            hint=did_you_mean(parts[0], valid),
        )
        return
    _put(tree, parts, value, key, faults)


def _stage_words(stages: dict[str, Node]) -> set[str]:
    """Keys that make `evaluate.<key>` mean the stage called evaluate, not the block."""
    return set(STAGE_KEYS) | {key for stage in stages.values() for key in stage.items}


def _put(tree: Node, parts: Sequence[str], value: Node, key: str, faults: Faults) -> None:
    node = tree
    for depth, part in enumerate(parts):
        last = depth == len(parts) - 1
        if isinstance(node.value, list):
            if not part.isdecimal() or int(part) >= len(node.value):
                place, above = value.place, ".".join(parts[:depth])
                faults.add(place, f"{key}: {above} has no item {part}", expected=f"0 to {len(node.value) - 1}")
                return
            if last:
                node.value[int(part)] = value
            node = node.value[int(part)]
            continue
        if node.value is None:
            node.value = {}
        if not isinstance(node.value, dict):
            faults.add(value.place, f"{key}: {'.'.join(parts[:depth])} is a single value, it has no {part}")
            return
        if last:
            kept = _without_excluded(node.value, [part])
            node.value.clear()
            node.value.update(kept)
            node.value[part] = value
        elif part not in node.value:
            child = Node({}, value.place)
            child.label(".".join(parts[: depth + 1]))
            kept = _without_excluded(node.value, [part])
            node.value.clear()
            node.value.update(kept)
            node.value[part] = child
        node = node.value[part]
    value.label(key)
