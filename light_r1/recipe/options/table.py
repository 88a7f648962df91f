"""Option tables read from source code, nothing imported.

TRL's configs take seconds to import; their field names, types, choices and defaults stand in the source.
`table` reads them with `ast` along the base classes. The same reader serves the configs of this package,
`peft.LoraConfig`, the option dataclasses of stages, and the signatures of plain functions.

Left out: defaults computed at run time (shown as `UNKNOWN`), and what a `__post_init__` changes. The real
config object is built before any weights are loaded and settles those.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from light_r1.recipe.options.source import (
    Definition,
    Module,
    SourceError,
    bases,
    find_definition,
    read_module,
    resolve,
    resolve_assigned,
    split_dotted,
)
from light_r1.recipe.options.types import ANY, NONE, FieldType, literal_type, type_of_default, union


class _Mark:
    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


REQUIRED = _Mark("REQUIRED")
"""Default of a field that has none."""
UNKNOWN = _Mark("UNKNOWN")
"""Default of a field whose default is computed when the program runs."""


@dataclass(frozen=True, slots=True)
class Field:
    """One option.

    Args:
        name: Name of the field or argument.
        type: Values it takes, choices folded in.
        default: Its default, or `REQUIRED`, or `UNKNOWN`.
        help: Help text of the field's metadata.
        owner: Name of the class that defines it (empty for functions).
    """

    name: str
    type: FieldType
    default: Any = REQUIRED
    help: str = ""
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """The options of one class or function.

    Args:
        source: Dotted path it was read from.
        fields: Name -> option, in the order of definition.
        open: Whether other keyword arguments are taken too (`**kwargs` of a function).
    """

    source: str
    fields: dict[str, Field]
    open: bool = False

    @property
    def name(self) -> str:
        """The bare name of the class or function."""
        return split_dotted(self.source)[1]


@lru_cache(maxsize=256)
def table(dotted: str) -> Table:
    """Read the options of a dataclass, a class with its own `__init__`, or a function.

    Args:
        dotted: `module:Name`.

    Raises:
        SourceError: If there is no such module or name.
    """
    module, node = find_definition(*split_dotted(dotted))
    if not isinstance(node, ast.ClassDef):
        return _signature(module, node, dotted)
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            arguments = _signature(module, statement, dotted).fields
            return Table(dotted, {name: replace(option, owner=node.name) for name, option in arguments.items()})
    return Table(dotted, _class_fields(module, node))


def _is_dataclass(node: ast.ClassDef) -> bool:
    # `strict` of huggingface_hub makes the configs of transformers dataclasses.
    marks = [ast.unparse(decorator) for decorator in node.decorator_list]
    return any("dataclass" in mark or mark.startswith("strict") for mark in marks)


def _class_fields(module: Module, node: ast.ClassDef) -> dict[str, Field]:
    fields: dict[str, Field] = {}
    for base_module, base in reversed(list(bases(module, node))):
        fields.update(_class_fields(base_module, base))
    if not _is_dataclass(node):
        return fields
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            option = _class_field(module, node.name, statement)
            if option is not None:
                fields[option.name] = option
    return fields


def _class_field(module: Module, owner: str, statement: ast.AnnAssign) -> Field | None:
    """Read one annotated line of a dataclass; None for what is no constructor argument."""
    annotation = ast.unparse(statement.annotation)
    if "ClassVar" in annotation or annotation == "KW_ONLY":
        return None
    name = ast.unparse(statement.target)
    kind = read_type(module.name, statement.annotation)
    value = statement.value
    if not (isinstance(value, ast.Call) and ast.unparse(value.func).rpartition(".")[2] == "field"):
        return Field(name, kind, REQUIRED if value is None else _value(value), owner=owner)
    keywords = {keyword.arg: keyword.value for keyword in value.keywords}
    if "init" in keywords and _value(keywords["init"]) is False:
        return None
    default: Any = REQUIRED
    if "default" in keywords:
        default = _value(keywords["default"])
    elif "default_factory" in keywords:
        default = {"list": [], "dict": {}, "tuple": ()}.get(ast.unparse(keywords["default_factory"]), UNKNOWN)
    metadata = _metadata(keywords.get("metadata"))
    choices = metadata.get("choices")
    if isinstance(choices, list | tuple):
        kind = kind.with_choices(tuple(choices))
    return Field(name, kind, default, str(metadata.get("help", "")), owner)


def _metadata(node: ast.expr | None) -> dict[str, Any]:
    if not isinstance(node, ast.Dict):
        return {}
    return {_value(key): _value(value) for key, value in zip(node.keys, node.values, strict=True) if key}


def _value(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return UNKNOWN


def _signature(module: Module, node: Definition, dotted: str) -> Table:
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    missing: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
    pairs = list(zip(positional, [*missing, *arguments.defaults], strict=True))
    pairs += list(zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True))
    fields = {}
    for argument, default_node in pairs:
        if argument.arg in ("self", "cls"):
            continue
        default = REQUIRED if default_node is None else _value(default_node)
        if argument.annotation is not None:
            kind = read_type(module.name, argument.annotation)
        else:
            kind = type_of_default(None if default in (REQUIRED, UNKNOWN) else default)
        fields[argument.arg] = Field(argument.arg, kind, default)
    return Table(dotted, fields, open=arguments.kwarg is not None)


_SIMPLE = {"bool": "bool", "int": "int", "float": "float", "str": "str", "None": "none", "Path": "str"}
_LISTS = {"list", "List", "tuple", "Tuple", "Sequence", "set", "Iterable"}
_MAPPINGS = {"dict", "Dict", "Mapping"}


def read_type(module_name: str, node: ast.expr) -> FieldType:
    """Turn an annotation used in a module into a `FieldType`; what it does not know takes any value."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return read_type(module_name, ast.parse(node.value, mode="eval").body)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return union([read_type(module_name, node.left), read_type(module_name, node.right)])
    if isinstance(node, ast.Subscript):
        return _subscript_type(module_name, node)
    name = ast.unparse(node).rpartition(".")[2]
    if name in _SIMPLE:
        return FieldType(kinds=frozenset({_SIMPLE[name]}))
    if name in _LISTS:
        return FieldType(item=ANY)
    if name in _MAPPINGS:
        return FieldType(values=ANY)
    return _named_type(module_name, node)


def _subscript_type(module_name: str, node: ast.Subscript) -> FieldType:
    name = ast.unparse(node.value).rpartition(".")[2]
    inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if name == "Literal":
        return literal_type(tuple(ast.literal_eval(value) for value in inner))
    if name == "Union":
        return union([read_type(module_name, value) for value in inner])
    if name == "Optional":
        return union([read_type(module_name, inner[0]), NONE])
    if name in _LISTS:
        return FieldType(item=read_type(module_name, inner[0]))
    if name in _MAPPINGS:
        return FieldType(values=read_type(module_name, inner[-1]))
    if name == "Annotated":
        return read_type(module_name, inner[0])
    return ANY


def _named_type(module_name: str, node: ast.expr) -> FieldType:
    """An enum becomes its values, a dataclass a block with its own table, anything else takes any value."""
    module = read_module(module_name)
    try:
        alias = resolve_assigned(module, node)
        if alias is not None:
            return read_type(alias[0].name, alias[1])
        module, definition = resolve(module, node)
    except SourceError:
        return ANY
    if not isinstance(definition, ast.ClassDef):
        return ANY
    if any("Enum" in ast.unparse(base) for base in definition.bases):
        values = [_value(line.value) for line in definition.body if isinstance(line, ast.Assign)]
        return literal_type(tuple(value for value in values if value is not UNKNOWN))
    if _is_dataclass(definition):
        return FieldType(block=f"{module.name}:{definition.name}")
    return ANY
