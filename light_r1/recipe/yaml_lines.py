"""YAML with the file and line of every key, and without the traps of YAML 1.1.

`read_yaml` returns a tree of `Node`s. Scalars follow the YAML 1.2 core rules: `1e-5` is a number, `no` and
`off` are words, not booleans. A duplicate key is a problem, not a silent winner. Merge keys (`<<`) and
aliases work. Nothing here knows what a recipe is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from light_r1.errors import Problem

Scalar: TypeAlias = "str | int | float | bool | None"

_INT = re.compile(r"[-+]?[0-9][0-9_]*\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_INFINITE = re.compile(r"([-+]?)\.(inf|Inf|INF)\Z")
_WORDS: dict[str, Scalar] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
    ".nan": float("nan"), ".NaN": float("nan"), ".NAN": float("nan"),
}  # fmt: skip
# Tags that plain values get by themselves; anything else was written to build an object.
_PLAIN_TAGS = {
    f"tag:yaml.org,2002:{name}"
    for name in ("null", "bool", "int", "float", "str", "timestamp", "seq", "map", "merge", "value")
}
# The C parser gives the same events about ten times faster; PyYAML wheels carry it, source builds may not.
_LOADER: Any = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value was written: a file and its line (from 1), or a command-line option (line 0)."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(slots=True)
class Node:
    """A YAML value with its place.

    Args:
        value: A mapping of nodes, a list of nodes, or a scalar.
        place: File and line of the key (for list items: of the item).
        plain: Whether a scalar was written without quotes.
        key: The dotted key under which it was written; filled in by `label`.
    """

    value: dict[str, Node] | list[Node] | Scalar
    place: Place
    plain: bool = False
    key: str = ""

    @property
    def items(self) -> dict[str, Node]:
        """The mapping, or an empty one when this is something else."""
        return self.value if isinstance(self.value, dict) else {}

    def data(self) -> Any:
        """Return the plain Python value: dicts, lists and scalars."""
        if isinstance(self.value, dict):
            return {key: node.data() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.data() for node in self.value]
        return self.value

    def label(self, key: str) -> None:
        """Name this node and all below it by their dotted keys, starting from `key`."""
        self.key = key
        for name, node in self.below():
            node.label(f"{key}.{name}" if key else name)

    def below(self) -> list[tuple[str, Node]]:
        """Return (key or index, node) of everything directly below."""
        if isinstance(self.value, dict):
            return list(self.value.items())
        if isinstance(self.value, list):
            return [(str(index), node) for index, node in enumerate(self.value)]
        return []

    def walk(self) -> Iterator[Node]:
        """Yield this node and every node below it."""
        yield self
        for _, node in self.below():
            yield from node.walk()


def scalar(text: str) -> Scalar:
    """Read an unquoted YAML scalar by the YAML 1.2 core rules.

    >>> scalar("1e-5"), scalar("no"), scalar("true"), scalar("~"), scalar("1_000")
    (1e-05, 'no', True, None, 1000)
    """
    if text in _WORDS:
        return _WORDS[text]
    if _INT.match(text):
        return int(text.replace("_", ""))
    if _FLOAT.match(text):
        return float(text.replace("_", ""))
    infinite = _INFINITE.match(text)
    if infinite:
        return float(infinite.group(1) + "inf")
    return text


def read_yaml(path: Path, *, shown: str | None = None) -> tuple[Node | None, list[Problem]]:
    """Read one YAML file.

    Args:
        path: The file.
        shown: How the file is called in messages; its path if not given.

    Returns:
        The tree, and what is wrong with the file. The tree is None when nothing could be read.
    """
    name = shown or str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None, [Problem(name, "no such file", "a recipe file")]
    except IsADirectoryError:
        return None, [Problem(name, "is a folder", "a recipe file")]
    except UnicodeDecodeError as error:
        return None, [Problem(name, f"is not UTF-8 text (byte {error.start})", "a YAML file")]
    return parse_yaml(text, name)


def parse_yaml(text: str, name: str, *, place: Place | None = None) -> tuple[Node | None, list[Problem]]:
    """Parse YAML text; with `place`, every node gets that place instead of lines of `name`."""
    try:
        root = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = place or Place(name, mark.line + 1 if mark else 1)
        return None, [Problem(str(where), f"not valid YAML: {error.problem or error.context}")]
    except yaml.YAMLError as error:
        return None, [Problem(str(place or Place(name, 1)), f"not valid YAML: {error}")]
    if root is None:
        return Node(None, place or Place(name, 1), plain=True), []
    builder = _Builder(name, place)
    return builder.build(root, builder.place_of(root)), builder.problems


@dataclass(slots=True)
class _Builder:
    """Turns PyYAML's composed nodes into ours."""

    file: str
    fixed: Place | None
    problems: list[Problem] = field(default_factory=list)
    open_ids: set[int] = field(default_factory=set)

    def place_of(self, node: yaml.Node) -> Place:
        return self.fixed or Place(self.file, node.start_mark.line + 1)

    def build(self, node: yaml.Node, place: Place) -> Node:
        if id(node) in self.open_ids:
            self.problems.append(Problem(str(place), "an alias contains itself"))
            return Node(None, place)
        if node.tag not in _PLAIN_TAGS:
            self.problems.append(Problem(str(place), f"the tag {node.tag} is not allowed", "a plain value"))
        if isinstance(node, yaml.ScalarNode):
            plain = not node.style  # None in Python, empty from the C parser
            return Node(scalar(node.value) if plain else node.value, place, plain=plain)
        self.open_ids.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            built = Node([self.build(item, self.place_of(item)) for item in node.value], place)
        else:
            assert isinstance(node, yaml.MappingNode)
            built = Node(self.build_mapping(node), place)
        self.open_ids.discard(id(node))
        return built

    def build_mapping(self, node: yaml.MappingNode) -> dict[str, Node]:
        mapping: dict[str, Node] = {}
        merged: list[Node] = []
        for key_node, value_node in node.value:
            place = self.place_of(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.append(Problem(str(place), "a key is not a word", "a key of plain text"))
                continue
            key = key_node.value
            if key == "<<" and not key_node.style:
                merged.append(self.build(value_node, place))
            elif key in mapping:
                first = mapping[key].place
                self.problems.append(
                    Problem(str(place), f"{key}: duplicate key, first written at {first}", "each key once")
                )
            else:
                mapping[key] = self.build(value_node, place)
        for node_to_merge in merged:
            parts = node_to_merge.value if isinstance(node_to_merge.value, list) else [node_to_merge]
            for part in parts:
                if not isinstance(part.value, dict):
                    self.problems.append(Problem(str(part.place), "<<: merges something that is no mapping"))
                mapping = {**part.items, **mapping}
        return mapping
