"""The options of a tool, read from the source of its function.

The keyword-only arguments of a tool are its command-line flags and its keys in a recipe. They are read with
`ast`, so that checking a recipe or printing help imports neither numpy nor torch. Types are those that both
a command line and YAML can say: bool, int, float, str, Path, Literal, a list of one of those, also `| None`.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import resolve_name
from typing import Any

from data_tools.engine.option_values import _SCALARS, Option, check_value
from data_tools.engine.source_file import source_file
from data_tools.errors import DataToolsError, did_you_mean

TOOLS: dict[str, str] = {
    "extract": "data_tools.tools.extract:extract",
    "gradable": "data_tools.tools.gradable:gradable",
    "dedup": "data_tools.tools.dedup:dedup",
    "decontaminate": "data_tools.tools.decontaminate:decontaminate",
    "difficulty": "data_tools.tools.difficulty:difficulty",
    "segment": "data_tools.tools.select:segment",
    "balance": "data_tools.tools.select:balance",
    "perturb": "data_tools.tools.perturb:perturb",
    "verify": "data_tools.tools.verify:verify_rows",
    "normalize_think": "data_tools.tools.think:normalize_think",
    "convert": "data_tools.tools.convert:convert",
    "filter_length": "data_tools.tools.filters:filter_length",
    "filter_repetition": "data_tools.tools.filters:filter_repetition",
    "filter_language": "data_tools.tools.filters:filter_language",
    "stats": "data_tools.tools.stats:stats",
}


@dataclass(frozen=True, slots=True)
class ToolDoc:
    """What the source of a tool says.

    Args:
        summary: First line of the docstring.
        text: The whole docstring.
        options: Its options by name, in order of the signature.
        needs: Column that must be text in every row -> explanation, from the Needs section.
        drops: Reason -> explanation, from the Drops section.
    """

    summary: str
    text: str
    options: Mapping[str, Option]
    needs: Mapping[str, str]
    drops: Mapping[str, str]


def tool_path(tool: str) -> str:
    """Return `module:function` of a tool's name; a dotted path of that form stands for itself.

    Raises:
        DataToolsError: If there is no such tool; the message names the nearest one.
    """
    if ":" in tool:
        return tool
    if tool in TOOLS:
        return TOOLS[tool]
    near = did_you_mean(tool.replace("-", "_"), TOOLS, cutoff=0.5)
    hint = near or f"The tools are {', '.join(sorted(TOOLS))}."
    raise DataToolsError(f"no tool named {tool!r}. {hint}")


def load_tool(tool: str) -> Callable[..., Any]:
    """Import a tool's function."""
    module, _, function = tool_path(tool).partition(":")
    loaded: Callable[..., Any] = vars(importlib.import_module(module))[function]
    return loaded


@cache
def tool_doc(tool: str) -> ToolDoc:
    """Read a tool's docstring and options from its source, without importing it.

    Args:
        tool: A name in `TOOLS`, or `module:function`.

    Raises:
        DataToolsError: If the tool, its module or its function does not exist, or an option has a type that
            a command line cannot say.
    """
    module, _, name = tool_path(tool).partition(":")
    node, module = _definition(name, module)
    if not isinstance(node, ast.FunctionDef):
        raise DataToolsError(f"{module} has no function {name!r}")
    text = ast.get_docstring(node) or ""
    helps, written = _section(text, "Args"), _section(text, "Writes")
    options = {
        argument.arg: replace(
            _option(argument, default, module, helps.get(argument.arg, "")), written=argument.arg in written
        )
        for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    }
    return ToolDoc(text.partition("\n")[0], text, options, _section(text, "Needs"), _section(text, "Drops"))


def option_table(tool: str) -> Mapping[str, Option]:
    """Return a tool's options by name, without importing it; see `tool_doc`."""
    return tool_doc(tool).options


def option_faults(tool: str, options: Mapping[str, Any]) -> list[str]:
    """List what is wrong with a tool's options, one sentence each; empty if nothing is."""
    table = option_table(tool)
    faults = []
    for name, value in options.items():
        if name not in table:
            hint = did_you_mean(name.replace("-", "_"), table) or f"It has {', '.join(table) or 'none'}."
            faults.append(f"{tool} has no option {name}. {hint}")
            continue
        try:
            check_value(table[name], value)
        except DataToolsError as error:
            faults.append(f"{tool}.{error}")
    missing = [name for name, option in table.items() if option.required and name not in options]
    return faults + [f"{tool} needs {name}: {table[name].help or table[name].expected}" for name in missing]


def check_options(tool: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with values of the declared types (a YAML list of paths becomes Paths).

    Raises:
        DataToolsError: With all faults of `option_faults`.
    """
    if faults := option_faults(tool, options):
        raise DataToolsError("\n".join(faults))
    table = option_table(tool)
    return {name: check_value(table[name], value) for name, value in options.items()}


@cache
def _parse(module: str) -> ast.Module:
    file = source_file(module)
    if file is None:
        raise DataToolsError(f"no module named {module!r} with Python source")
    try:
        return ast.parse(file.read_bytes())
    except SyntaxError as error:
        raise DataToolsError(f"{file}:{error.lineno}: {error.msg}") from error


def _option(argument: ast.arg, default: ast.expr | None, module: str, text: str) -> Option:
    if argument.annotation is None:
        raise DataToolsError(f"option {argument.arg} has no type")
    option = _typed(Option(argument.arg, required=default is None, help=text), argument.annotation, module)
    return option if default is None else replace(option, default=_constant(option.name, default, module))


def _typed(option: Option, node: ast.expr, module: str) -> Option:
    """Add one annotation to what an option accepts."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _typed(_typed(option, node.left, module), node.right, module)
    if isinstance(node, ast.Constant) and node.value is None:
        return replace(option, optional=True)
    if isinstance(node, ast.Name) and node.id in _SCALARS:
        return replace(option, kinds=(*option.kinds, node.id))
    if isinstance(node, ast.Name):
        alias, where = _definition(node.id, module)
        if isinstance(alias, ast.expr):
            return _typed(option, alias, where)
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        if node.value.id == "list":
            return _typed(replace(option, many=True), node.slice, module)
        if node.value.id == "Literal":
            return replace(option, choices=option.choices + _literal_values(option.name, node.slice))
    raise DataToolsError(f"option {option.name}: a command line cannot say the type {ast.unparse(node)}")


def _literal_values(name: str, node: ast.expr) -> tuple[Any, ...]:
    values = _literal(name, node)
    return values if isinstance(values, tuple) else (values,)


def _constant(name: str, node: ast.expr, module: str) -> Any:
    """Return the value of an option's default: a literal, or the name of a module constant."""
    if isinstance(node, ast.Name):
        value, where = _definition(node.id, module)
        if isinstance(value, ast.expr):
            return _constant(name, value, where)
    return _literal(name, node)


def _literal(name: str, node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise DataToolsError(f"option {name}: {ast.unparse(node)} is no literal") from None


def _definition(name: str, module: str) -> tuple[ast.FunctionDef | ast.expr | None, str]:
    """Find the function or value that a module-level name stands for, also through imports, and its module."""
    for node in _parse(module).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return node, module
        if isinstance(node, ast.Assign) and name in [ast.unparse(target) for target in node.targets]:
            return node.value, module
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name and node.value is not None:
            return node.value, module
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _definition(alias.name, _imported_from(node, module))
    return None, module


def _imported_from(node: ast.ImportFrom, module: str) -> str:
    file = source_file(module)
    package = module if file is not None and file.name == "__init__.py" else module.rpartition(".")[0]
    try:
        return resolve_name("." * node.level + (node.module or ""), package)
    except ImportError as error:
        raise DataToolsError(f"{file}:{node.lineno}: {error}") from error


def _section(text: str, title: str) -> dict[str, str]:
    """Return `name -> text` of one Google-style section of a docstring."""
    match = re.search(rf"^{title}:\n((?:[ \t]+.*\n?|\n)*)", text, re.MULTILINE)
    if match is None:
        return {}
    entries: dict[str, str] = {}
    name = ""
    for line in match.group(1).splitlines():
        head = re.match(r"(?: {4}|\t)([a-z_][a-z0-9_]*)(?: \(.*?\))?: ?(.*)", line)
        if head:
            name = head.group(1)
            entries[name] = head.group(2).strip()
        elif name and line.strip():
            entries[name] += f" {line.strip()}"
    return entries
