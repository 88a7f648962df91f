"""Find classes, functions and literals in source code without importing it.

Modules are found as files and parsed with `ast`. Re-exports (`from .training_args import TrainingArguments`, also
inside `if TYPE_CHECKING`) are followed, so `trl:SFTConfig` leads to the class statement. Star imports are not.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from sysconfig import get_path
from typing import Any, TypeAlias

from data_tools.engine.source_file import source_file
from light_r1.errors import LightR1Error

Definition: TypeAlias = "ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef"


class SourceError(LightR1Error, LookupError):
    """A dotted path names no module, or nothing of that name in it."""


@dataclass(frozen=True, slots=True)
class Module:
    """A parsed module."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def package(self) -> str:
        """The package that relative imports of this module start from."""
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]


def split_dotted(dotted: str) -> tuple[str, str]:
    """Split `module:name` (or `module.name`) into its two parts."""
    module, separator, name = dotted.rpartition(":" if ":" in dotted else ".")
    if not (separator and module and name):
        raise SourceError(f"{dotted} is no dotted path of the form module:name")
    return module, name


def module_file(name: str) -> Path:
    """Return the source file of module `name`; its parent packages are not imported.

    Raises:
        SourceError: If there is no such module, or it has no Python source.
    """
    path = source_file(name)
    if path is None:
        raise SourceError(f"no module named {name} with Python source; is it beside where you start, or installed?")
    return path


@lru_cache(maxsize=256)
def read_module(name: str) -> Module:
    """Parse the source of module `name`; nothing is imported.

    Raises:
        SourceError: If there is no such module, it has no Python source, or it is no valid Python.
    """
    path = module_file(name)
    try:
        return Module(name, path, ast.parse(path.read_text(encoding="utf-8")))
    except SyntaxError as error:
        raise SourceError(f"{path}:{error.lineno}: {error.msg}") from error


def project_modules(name: str) -> dict[str, Path]:
    """Return the files of module `name` and of the modules of the same project that it imports, at any depth.

    Of the same project are modules of the same top package, and those that lie beside it without being installed
    there. Packages on the way to a module do not count, though Python runs them.

    Raises:
        SourceError: If there is no module `name`, or it has no Python source.
    """
    top = name.partition(".")[0]
    file = module_file(name)
    depth = name.count(".") + (file.name == "__init__.py")
    beside = file.parents[depth]
    pending, modules = {name: file}, dict[str, Path]()
    while pending:
        module, file = pending.popitem()
        modules[module] = file
        for imported in _imported(read_module(module)) - modules.keys():
            found_file = source_file(imported)
            if found_file is None:
                continue  # a module without source
            if imported.partition(".")[0] == top or _is_own(found_file, beside):
                pending[imported] = found_file
    return modules


def _imported(module: Module) -> set[str]:
    """Return the names that the module imports: modules, and what may be modules (`from package import name`)."""
    names = {alias.name for node in ast.walk(module.tree) if isinstance(node, ast.Import) for alias in node.names}
    for base, name in _import_map(module.name).values():
        inner = f"{base}.{name}"
        names.add(inner if source_file(inner) else base)
    return names


def _is_own(file: Path, beside: Path) -> bool:
    installed = {"site-packages", "dist-packages"} & set(file.parts) or file.is_relative_to(get_path("stdlib"))
    return not installed and file.is_relative_to(beside)


@lru_cache(maxsize=256)
def _import_map(module_name: str) -> dict[str, tuple[str, str]]:
    """Return local name -> (module, name there) of every `from ... import`, at any depth of the module."""
    module = read_module(module_name)
    imported: dict[str, tuple[str, str]] = {}
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.ImportFrom):
            continue
        base = node.module or ""
        if node.level:
            parents = module.package.split(".")
            parents = parents[: len(parents) - node.level + 1]
            base = ".".join([*parents, base] if base else parents)
        for alias in node.names:
            imported[alias.asname or alias.name] = (base, alias.name)
    return imported


@lru_cache(maxsize=1024)
def find_definition(module_name: str, name: str) -> tuple[Module, Definition]:
    """Return the class or function `name` of a module, following re-exports.

    Raises:
        SourceError: If it is not there.
    """
    for module, local in _followed(module_name, name):
        for node in module.tree.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name == local:
                return module, node
    raise SourceError(f"{module_name} has no class or function {name}")


def _followed(module_name: str, name: str) -> Iterator[tuple[Module, str]]:
    """Yield the modules that a name goes through, with its name there: `module_name`, then whence each imports it."""
    place: tuple[str, str] | None = (module_name, name)
    seen: set[tuple[str, str]] = set()
    while place is not None and place not in seen:  # modules may import a name from each other
        seen.add(place)
        yield read_module(place[0]), place[1]
        place = _import_map(place[0]).get(place[1])


def resolve(module: Module, expression: ast.expr) -> tuple[Module, Definition]:
    """Find the definition of a name (`SFTConfig`) or attribute (`trl.SFTConfig`) used in `module`.

    Raises:
        SourceError: If there is no class or function of that name.
    """
    if isinstance(expression, ast.Subscript):
        return resolve(module, expression.value)
    return find_definition(*_named_by(module, expression))


def resolve_assigned(module: Module, expression: ast.expr) -> tuple[Module, ast.expr] | None:
    """Find what a name or attribute used in `module` is assigned; None if it is a class or function, or nothing.

    Raises:
        SourceError: If a module on the way has no Python source.
    """
    for place, name in _followed(*_named_by(module, expression)):
        if (value := assigned(place.tree.body, name)) is not None:
            return place, value
    return None


def _named_by(module: Module, expression: ast.expr) -> tuple[str, str]:
    """Return the module and the name in it an expression means; after `from a import b`, `b.c.D` is in `a.b.c`."""
    owner, _, name = ast.unparse(expression).rpartition(".")
    first, dot, rest = owner.partition(".")
    if imported := _import_map(module.name).get(first):
        first = ".".join(imported)
    else:
        renamed = (alias for node in ast.walk(module.tree) if isinstance(node, ast.Import) for alias in node.names)
        first = next((alias.name for alias in renamed if alias.asname == first), first)
    return f"{first}{dot}{rest}" or module.name, name


def bases(module: Module, node: ast.ClassDef) -> Iterator[tuple[Module, ast.ClassDef]]:
    """Yield the base classes whose source can be found (not builtins, not C extensions)."""
    for base in node.bases:
        try:
            place = resolve_assigned(module, base) or (module, base)  # `Base = SFTStage` names another class
            base_module, base_node = resolve(*place)
        except SourceError:
            continue
        if isinstance(base_node, ast.ClassDef):
            yield base_module, base_node


def assigned(body: Sequence[ast.stmt], name: str) -> ast.expr | None:
    """Return the expression that `name` is assigned in the body of a module or class, if it is."""
    for node in body:
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign):
            targets = [node.target]
        else:
            continue
        if node.value is not None and any(isinstance(t, ast.Name) and t.id == name for t in targets):
            return node.value
    return None


def literal(dotted: str) -> Any:
    """Return the literal that `module:NAME` is assigned, e.g. `data_tools.engine.catalogue:TOOLS`.

    Raises:
        SourceError: If there is no such module or name, or its value is no literal.
    """
    module_name, name = split_dotted(dotted)
    expression = assigned(read_module(module_name).tree.body, name)
    if expression is None:
        raise SourceError(f"{module_name} does not define {name}")
    try:
        return ast.literal_eval(expression)
    except ValueError as error:
        raise SourceError(f"{dotted} is not a literal") from error


def dict_keys(dotted: str) -> tuple[str, ...]:
    """Return the keys of the dictionary that `module:NAME` is assigned, whatever its values are.

    Raises:
        SourceError: If there is no such module or name, or it is no dictionary with literal keys.
    """
    module_name, name = split_dotted(dotted)
    expression = assigned(read_module(module_name).tree.body, name)
    if not isinstance(expression, ast.Dict):
        raise SourceError(f"{dotted} is no dictionary")
    return tuple(ast.literal_eval(key) for key in expression.keys if key is not None)


def class_attribute(dotted: str, name: str) -> Any:
    """Return the literal value of a class attribute, looked up along the base classes; None if unset.

    Raises:
        SourceError: If `dotted` is not a class, or the value is no literal.
    """
    pending: list[tuple[Module, Definition]] = [find_definition(*split_dotted(dotted))]
    while pending:
        module, node = pending.pop(0)
        if not isinstance(node, ast.ClassDef):
            raise SourceError(f"{dotted} is not a class")
        expression = assigned(node.body, name)
        if expression is not None:
            try:
                return ast.literal_eval(expression)
            except ValueError as error:
                raise SourceError(f"{module.name}:{node.name}.{name} is not a literal") from error
        pending = [*bases(module, node), *pending]
    return None


def nearest_base(dotted: str, known: Collection[str]) -> str | None:
    """Return which of the `known` classes (`module:Class`) a class is, or derives from first; None if from none.

    Raises:
        SourceError: If `dotted` is not a class.
    """
    pending: list[tuple[Module, Definition]] = [find_definition(*split_dotted(dotted))]
    while pending:
        module, node = pending.pop(0)
        if not isinstance(node, ast.ClassDef):
            raise SourceError(f"{dotted} is not a class")
        if (name := f"{module.name}:{node.name}") in known:
            return name
        pending = [*bases(module, node), *pending]
    return None


def call_by_name(name: str, **options: Any) -> Any:
    """Call the function named `package.module:function`.

    Raises:
        LightR1Error: The module or the function does not exist, or it does not take these options.
    """
    module_name, _, attribute = name.partition(":")
    try:
        function = getattr(import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise LightR1Error(f"{name!r} cannot be called: {error}. Expected `package.module:function`.") from error
    return function(**options)
