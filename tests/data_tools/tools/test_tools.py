"""Every tool has one implementation and three ways in; its docstring is its contract."""

from __future__ import annotations

import ast
import inspect
from contextlib import suppress
from importlib import import_module
from itertools import islice
from pathlib import Path

import pytest

from data_tools.__main__ import main
from data_tools.engine.catalogue import TOOLS, load_tool, tool_doc, tool_path
from data_tools.engine.execution import Execution, executing
from data_tools.engine.fold import fold
from data_tools.engine.run_tool import canonical_rows
from data_tools.errors import DataToolsError
from data_tools.rows.columns import to_canonical
from data_tools.rows.files import read_rows, write_rows
from data_tools.rows.row import Dropped
from tests.shared import ROOT

RECIPES = ROOT / "recipes"
# What a tool needs, or what makes it drop something of the sample.
OPTIONS = {
    "balance": {"by": "source", "cap": 5},
    "convert": {"to": "messages"},
    "decontaminate": {"benchmarks": [str(RECIPES / "data" / "aime_2024_2025.jsonl")]},
    "difficulty": {"max_pass_rate": 0.9},
    "filter_language": {"unsure": "drop"},
    "filter_length": {"max_length": 3000},
    "filter_repetition": {"max_share": 0.0, "ngram": 10},
    "perturb": {"kind": "shuffle"},
    "segment": {"keep": "short"},
}


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """A file of 20 published problems with traces, pass rates and predictions."""
    path = tmp_path_factory.mktemp("sample") / "in.jsonl"
    rows = islice(read_rows(RECIPES / "data" / "gsm8k_traces.jsonl"), 20)
    write_rows(path, [{**row, "source": "ab"[n % 3 == 0], "prediction": row["answer"]} for n, row in enumerate(rows)])
    return path


def options_of(tool, folder):
    return {"page": str(folder / "page.html")} if tool == "stats" else OPTIONS.get(tool, {})


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_is_a_function_of_rows_with_keyword_options(tool):
    function = load_tool(tool)
    rows, *options = inspect.signature(function).parameters.values()
    assert rows.name == "rows" and rows.kind is rows.POSITIONAL_OR_KEYWORD
    assert all(option.kind is option.KEYWORD_ONLY for option in options)
    assert [option.name for option in options] == list(tool_doc(tool).options)
    defaults = {name: option.default for name, option in tool_doc(tool).options.items() if not option.required}
    assert defaults == {o.name: o.default for o in options if o.default is not o.empty}


@pytest.mark.parametrize("tool", TOOLS)
def test_every_option_and_the_tool_itself_are_explained(tool, capsys):
    doc = tool_doc(tool)
    assert doc.summary.endswith(".") and len(doc.summary) < 140
    assert [name for name, option in doc.options.items() if not option.help] == []
    with pytest.raises(SystemExit) as end:
        main([tool, "--help"])
    text = capsys.readouterr().out
    assert end.value.code == 0 and doc.summary in text
    assert all(f"--{name.replace('_', '-')}" in text for name in doc.options)


def literals(tree):
    return {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def modules_of(tool):
    """Return the syntax trees of a tool's module and of the modules of this package that it imports."""
    name = tool_path(tool).partition(":")[0]
    tree = ast.parse(Path(import_module(name).__file__).read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    near = [import_module(module) for module in imported if module.startswith("data_tools.")]
    return tree, [ast.parse(Path(module.__file__).read_text()) for module in near]


@pytest.mark.parametrize("tool", TOOLS)
def test_documented_reasons_exist_in_the_code_and_written_ones_are_documented(tool):
    tree, imported = modules_of(tool)
    written = {
        call.args[1].value
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id == "Dropped"
        and len(call.args) > 1
        and isinstance(call.args[1], ast.Constant)
    }
    siblings = [other for other in TOOLS if tool_path(other).partition(":")[0] == tool_path(tool).partition(":")[0]]
    documented = {reason for other in siblings for reason in tool_doc(other).drops}
    assert written <= documented
    everything = literals(tree).union(*map(literals, imported))
    docstrings = {ast.get_docstring(node, clean=False) for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    assert set(tool_doc(tool).drops) <= everything - docstrings


@pytest.mark.parametrize("tool", TOOLS)
def test_function_fold_and_command_give_the_same_rows(tool, sample, tmp_path):
    options = options_of(tool, tmp_path)
    results = list(load_tool(tool)(canonical_rows(sample), **options_as_paths(tool, options)))
    kept = [dict(row) for row in results if not isinstance(row, Dropped)]
    dropped = [item for item in results if isinstance(item, Dropped)]
    assert {item.reason for item in dropped} <= set(tool_doc(tool).drops)
    aside = []
    folded = fold(canonical_rows(sample), [(tool, options)], on_dropped=lambda _, item: aside.append(item))
    assert [dict(row) for row in folded] == kept
    assert [item.reason for item in aside] == [item.reason for item in dropped]
    assert main([tool, str(sample), str(tmp_path / "out.jsonl"), *words(options)]) == 0
    assert [dict(row) for row in read_rows(tmp_path / "out.jsonl")] == kept
    written = [(item["reason"], item["row"]) for item in read_rows(tmp_path / "out.jsonl.dropped.jsonl")]
    assert written == [(item.reason, item.row) for item in dropped]


ODD = [None, "", [], {}, 7, float("nan"), True, "x", ["a"], "\ud800", "\x00", "$" * 50, "\\boxed{" * 5]
GOOD = {"problem": "What is 1+1?", "solution": "<think>a</think>It is \\boxed{2}.", "answer": "2", "prediction": "2"}
GOOD |= {"source": "s", "n_correct": 1, "n": 2}


@pytest.mark.parametrize("tool", TOOLS)
def test_no_value_of_any_type_ends_a_run_that_skips_errors(tool, tmp_path):
    columns = (*GOOD, "messages", "responses", "pass_rate", "rejected", "system")
    rows = [{}, GOOD, *({**GOOD, column: value} for column in columns for value in ODD)]
    aside = []
    with executing(Execution(on_error="skip")):
        folded = fold(
            canonical(rows),
            [(tool, options_of(tool, tmp_path))],
            on_dropped=lambda _, item: aside.append(item),
            on_error="skip",
        )
        kept = list(folded)
    assert len(kept) + len(aside) == folded.counts[0].rows_in
    assert {item.reason for item in aside} <= {"malformed", *tool_doc(tool).drops}


def canonical(rows):
    for row in rows:
        with suppress(DataToolsError):
            yield to_canonical(row)


def options_as_paths(tool, options):
    table = tool_doc(tool).options
    return {n: [Path(p) for p in v] if "Path" in table[n].kinds else v for n, v in options.items()}


def words(options):
    found = []
    for name, value in options.items():
        values = value if isinstance(value, list) else [value]
        found += [f"--{name.replace('_', '-')}", *map(str, values)]
    return found


@pytest.mark.slow  # imports torch and writes a run folder
def test_recipe_steps_give_the_same_rows_as_commands(sample, tmp_path):
    import yaml

    from light_r1.run.__main__ import main as run

    stages = [
        {"name": tool, "type": "data", "data": "sample", "steps": [{"tool": tool, **options_of(tool, tmp_path)}]}
        for tool in TOOLS
    ]
    recipe = {"name": "all", "output_dir": str(tmp_path / "runs"), "model": {"name_or_path": "none/needed"}}
    recipe |= {"data": {"sample": {"path": str(sample)}}, "stages": stages}
    (tmp_path / "all.yaml").write_text(yaml.safe_dump(recipe))
    assert run([str(tmp_path / "all.yaml")]) == 0
    for tool in TOOLS:
        assert main([tool, str(sample), str(tmp_path / "out.jsonl"), *words(options_of(tool, tmp_path))]) == 0
        stage = tmp_path / "runs" / "all" / tool / "output" / "rows.jsonl"
        assert list(read_rows(stage)) == list(read_rows(tmp_path / "out.jsonl")), tool
