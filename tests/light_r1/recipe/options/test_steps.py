from __future__ import annotations

import inspect
import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import pytest

from data_tools.engine.catalogue import TOOLS, load_tool, option_table
from data_tools.errors import DataToolsError
from light_r1.recipe.options.steps import STEPS, step_table
from light_r1.recipe.options.table import REQUIRED

OWN = "tests.data_tools.sample_tools"


def said_by_python(annotation: Any) -> tuple[set[str], tuple[Any, ...], bool]:
    """Kinds, choices and whether a list is taken, of a type that Python has evaluated."""
    if get_origin(annotation) in (Union, types.UnionType):
        parts = [said_by_python(part) for part in get_args(annotation)]
        kinds = set().union(*(part[0] for part in parts))
        return kinds, sum((part[1] for part in parts), ()), any(part[2] for part in parts)
    if get_origin(annotation) is Literal:
        return set(), get_args(annotation), False
    if get_origin(annotation) is list:
        kinds, choices, _ = said_by_python(*get_args(annotation))
        return kinds, choices, True
    names = {None: "none", type(None): "none", Path: "str"}
    return {names.get(annotation) or annotation.__name__}, (), False


@pytest.mark.parametrize("tool", [*TOOLS, f"{OWN}:every_type"])
def test_a_recipe_a_command_line_and_the_function_take_the_same_options(tool):
    function = load_tool(tool)
    real = inspect.signature(function).parameters.values()
    expected = {option.name: option for option in real if option.kind is option.KEYWORD_ONLY}
    in_recipes, on_command_lines = step_table(tool).fields, option_table(tool)
    assert list(in_recipes) == list(on_command_lines) == list(expected)
    for name, parameter in expected.items():
        field, option = in_recipes[name], on_command_lines[name]
        kinds, choices, many = said_by_python(eval(parameter.annotation, vars(inspect.getmodule(function))))
        one = field.type.item or field.type
        assert (set(one.kinds | field.type.kinds), one.choices, field.type.item is not None) == (kinds, choices, many)
        assert (option.choices, option.many, option.optional) == (choices, many, "none" in kinds)
        assert (field.default is REQUIRED) == option.required == (parameter.default is parameter.empty)
        assert option.required or field.default == option.default == parameter.default
        assert field.help == option.help


def test_sample_is_a_step_beside_the_tools():
    assert set(step_table("sample").fields) >= {"n", "max_tokens", "risk"}
    assert ("sample", *TOOLS) == STEPS


@pytest.fixture
def own_package(tmp_path, monkeypatch):
    folder = tmp_path / "own_steps"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise ImportError('reading must not import')\nfrom .keep import keep\n")
    (folder / "kinds.py").write_text("from typing import Literal\nWhich = Literal['first', 'last']\nLEAST = 3\n")
    (folder / "keep.py").write_text(
        "from .kinds import LEAST, Which as Where\n"
        "def keep(rows, *, where: Where = 'first', least: int = LEAST): ...\n"
        "def computed(rows, *, size: int = 2 * LEAST): ...\n"
        "def unsaid(rows, *, by: dict = {}): ...\n"
        "def unknown(rows, *, by: Nobody): ...\n"
        "def untyped(rows, *, by): ...\n"
    )
    (folder / "torn.py").write_text("def keep(rows, *\n")
    (tmp_path / "alone_steps.py").write_text("from ..kinds import Which\ndef keep(rows, *, where: Which): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    return folder


@pytest.mark.parametrize("tool", ["own_steps:keep", "own_steps.keep:keep"])
def test_a_tool_of_ones_own_is_read_through_imports_and_not_imported(own_package, tool):
    fields = step_table(tool).fields
    assert fields["where"].type.choices == ("first", "last")
    assert fields["least"].default == 3


@pytest.mark.parametrize(
    ("tool", "says"),
    [
        ("own_steps.keep:computed", r"option size: 2 \* LEAST is no literal"),
        ("own_steps.keep:unsaid", "option by: a command line cannot say the type dict"),
        ("own_steps.keep:unknown", "option by: a command line cannot say the type Nobody"),
        ("own_steps.keep:untyped", "option by has no type"),
        ("own_steps.keep:kept", "has no function 'kept'"),
        ("own_steps.torn:keep", r"torn\.py:1: "),
        ("own_steps.none:keep", "no module named 'own_steps.none'"),
        ("alone_steps:keep", r"alone_steps\.py:1: "),
        (":keep", "no module named ''"),
        ("own_steps.keep.keep", "no tool named"),
    ],
)
def test_a_tool_that_cannot_be_read_is_a_fault_and_no_crash(own_package, tool, says):
    with pytest.raises(DataToolsError, match=says):
        step_table(tool)
