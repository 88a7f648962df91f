"""The shape of the code: which folder may import which, no circle of files, and what light commands leave unloaded."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.shared import ROOT

# The folders of each package, lowest floor first. A folder imports from lower floors and from itself.
FLOORS = {
    "light_r1": (
        "errors",
        "batch ranks tiny",
        "recipe models",
        "run_dir rollouts",
        "rewards report",
        "trainers",
        "stages",
        "run",
        "cli __init__",
    ),
    "data_tools": (
        "errors maths traces",
        "answers rows",
        "solutions problems rollouts engine",
        "stats __main__",
        "tools",
        "__init__",
    ),
}
# Beside their floors: what may be used alone does not know what it is used by.
APART = {
    "light_r1.trainers": ("light_r1.recipe", "light_r1.run_dir"),
    "light_r1.rollouts": ("light_r1.recipe",),
    "light_r1.models": ("light_r1.recipe",),
    "light_r1.rewards": ("light_r1.recipe", "light_r1.run_dir"),
    "light_r1.recipe": ("torch", "trl", "transformers"),
    "light_r1.run_dir": ("torch", "trl", "transformers"),
    "data_tools": ("light_r1",),
}


@cache
def modules() -> dict[str, Path]:
    """Dotted name -> file of every module of both packages."""
    files = [path for package in FLOORS for path in sorted((ROOT / package).rglob("*.py"))]
    names = [path.relative_to(ROOT).with_suffix("").parts for path in files]
    dotted = [".".join(parts[:-1] if parts[-1] == "__init__" else parts) for parts in names]
    return dict(zip(dotted, files, strict=True))


@cache
def imports(module: str) -> frozenset[str]:
    """What a module imports anywhere in it: in functions and for type checkers too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(modules()[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relative to itself, which says no floor"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in modules() else str(node.module) for name in inner}
    return frozenset(found)


def folder_of(module: str) -> tuple[str, str]:
    package, _, rest = module.partition(".")
    return package, rest.partition(".")[0] or "__init__"


def floor_of(module: str) -> int:
    package, folder = folder_of(module)
    return next(number for number, names in enumerate(FLOORS[package]) if folder in names.split())


def test_imports_go_down():
    climbing = [
        f"{module} imports {target}"
        for module in modules()
        for target in imports(module) & modules().keys()
        if folder_of(target) != folder_of(module)
        and folder_of(target)[0] == folder_of(module)[0]
        and floor_of(target) >= floor_of(module)
    ]
    assert not climbing, "\n".join(climbing)


def test_what_may_be_used_alone_does_not_know_its_users():
    wrong = [
        f"{module} imports {target}"
        for prefix, forbidden in APART.items()
        for module in modules()
        if module == prefix or module.startswith(f"{prefix}.")
        for target in imports(module)
        for name in forbidden
        if target == name or target.startswith(f"{name}.")
    ]
    assert not wrong, "\n".join(wrong)


def test_no_circle_of_files():
    reached: dict[str, set[str]] = {}
    for module in modules():
        pending, seen = list(imports(module)), set()
        while pending:
            current = pending.pop()
            if current in modules() and current not in seen:
                seen.add(current)
                pending += imports(current)
        reached[module] = seen
    circles = [module for module, seen in reached.items() if module in seen]
    assert not circles, f"each of these imports itself through others: {', '.join(circles)}"


def test_every_module_says_what_it_is():
    silent = [name for name, path in modules().items() if not ast.get_docstring(ast.parse(path.read_text("utf-8")))]
    assert not silent, f"no docstring: {', '.join(silent)}"
    vague = [name for name in modules() if name.rpartition(".")[2] in ("utils", "helpers", "common", "misc")]
    assert not vague, f"a file is a noun: {', '.join(vague)}"


@pytest.mark.parametrize(
    "code",
    [
        "import light_r1",
        "import data_tools; [getattr(data_tools, name) for name in data_tools.__all__ if name != 'shard']",
        "import light_r1.cli",
        "from light_r1 import load_recipe; load_recipe('recipes/tiny.yaml')",
        "from light_r1.run.check import load_checked; load_checked('recipes/tiny.yaml')",
    ],
)
def test_light_commands_load_nothing_heavy(code):
    heavy = "{'torch', 'transformers', 'trl', 'sympy', 'numpy'} & set(sys.modules)"
    check = f"{code}\nimport sys\nassert not {heavy}, {heavy}"
    done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
