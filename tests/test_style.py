"""The shape of the code: sizes, who imports whom, and what stays out of the project's text."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted([*(ROOT / "light_r1").rglob("*.py"), *(ROOT / "data_tools").rglob("*.py")])
MAX_LINES, MAX_FUNCTION = 400, 65

# Package prefix -> what it must not import. The direction is errors <- recipe <- stages <- run.
FORBIDDEN = {
    "data_tools": ("light_r1",),
    "light_r1.trainers": ("light_r1.recipe", "light_r1.run", "light_r1.run_dir", "light_r1.stages", "light_r1.specs"),
    "light_r1.samplers": ("light_r1.recipe", "light_r1.run", "light_r1.run_dir", "light_r1.stages", "light_r1.specs"),
    "light_r1.chat": ("light_r1.recipe", "light_r1.stages", "light_r1.trainers"),
    "light_r1.models": ("light_r1.recipe", "light_r1.stages", "light_r1.trainers"),
    "light_r1.rewards": ("light_r1.recipe", "light_r1.stages", "light_r1.trainers"),
    "light_r1.pairs": ("light_r1.recipe", "light_r1.stages", "light_r1.trainers"),
    "light_r1.merge": ("light_r1.recipe", "light_r1.stages", "light_r1.trainers"),
    "light_r1.metrics": ("light_r1.recipe", "light_r1.stages", "light_r1.trainers", "torch"),
    "light_r1.recipe": ("light_r1.run", "light_r1.run_dir", "light_r1.trainers", "torch", "trl"),
    "light_r1.run_dir": ("light_r1.recipe", "light_r1.stages", "light_r1.trainers", "torch"),
    "light_r1.errors": ("light_r1",),
}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> set[str]:
    """Imported modules, those for type checkers only left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(tree)
    return found


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_sizes(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= MAX_LINES, "a file this long holds two nouns"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < MAX_FUNCTION, f"{node.name} is too long"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_import_direction(path):
    module = name_of(path)
    for prefix, forbidden in FORBIDDEN.items():
        if module == prefix or module.startswith(f"{prefix}."):
            for imported in imports(path):
                wrong = [f for f in forbidden if imported == f or imported.startswith(f"{f}.")]
                assert not wrong, f"{module} must not import {imported}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_says_what_it_is(path):
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text)), "no module docstring"
    assert path.stem not in ("utils", "helpers", "common", "misc")


@pytest.mark.parametrize(
    "code",
    [
        "import light_r1",
        "import data_tools",
        "import light_r1.cli",
        "from light_r1.recipe import load_recipe; load_recipe('recipes/tiny.yaml')",
        "from light_r1.check import load_checked; load_checked('recipes/tiny.yaml')",
    ],
)
def test_light_commands_load_no_torch(code):
    heavy = "{'torch', 'transformers', 'trl', 'sympy'} & set(sys.modules)"
    check = f"{code}\nimport sys\nassert not {heavy}, {heavy}"
    done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
