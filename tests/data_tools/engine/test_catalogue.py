"""A tool's signature is its command line and its recipe keys."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from data_tools.engine.catalogue import TOOLS, check_options, option_faults, option_table, tool_doc
from data_tools.engine.option_values import parse_text
from data_tools.errors import DataToolsError

SHORT = "tests.data_tools.sample_tools:keep_short"
EVERY = "tests.data_tools.sample_tools:every_type"


def test_docstring_and_signature_are_read():
    doc = tool_doc(SHORT)
    assert doc.summary == "Keep short problems."
    assert doc.drops == {"too_long": "Longer than max_chars."}
    assert doc.options["max_chars"].default == 5
    assert doc.options["max_chars"].help == "Longest problem kept, in characters."
    assert tool_doc("tests.data_tools.sample_tools:keep_first_of_each").needs == {
        "problem": "Compared letter by letter."
    }


def test_a_tool_says_which_of_its_files_it_writes():
    options = {(tool, name): option for tool in TOOLS for name, option in tool_doc(tool).options.items()}
    files = {place for place, option in options.items() if "Path" in option.kinds}
    assert {place for place in files if options[place].written} == {("dedup", "clusters")}
    assert {place for place in files if not options[place].written} == {
        ("decontaminate", "benchmarks"),
        ("difficulty", "rollouts"),
        ("filter_length", "tokenizer"),
        ("perturb", "steps"),
    }


def test_reading_imports_nothing():
    code = (
        "import sys; from data_tools.engine.catalogue import tool_doc; tool_doc('dedup'); tool_doc('stats');"
        "assert not {'torch', 'numpy', 'sympy', 'matplotlib', 'data_tools.tools.stats'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("needed", 3, 3),
        ("flag", True, True),
        ("rate", 1, 1.0),
        ("rate", "1e-5", 1e-5),
        ("size", "large", "large"),
        ("level", 2, 2),
        ("files", ["a", Path("b")], [Path("a"), Path("b")]),
        ("files", None, None),
        ("threshold", "mean", "mean"),
        ("threshold", 2, 2.0),
    ],
)
def test_yaml_values_get_the_declared_type(name, value, found):
    checked = check_options(EVERY, {"needed": 1, name: value})[name]
    assert checked == found and type(checked) is type(found)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("needed", True, "expected int, found True"),
        ("needed", 1.5, "expected int, found 1.5"),
        ("flag", 1, "expected bool"),
        ("rate", "fast", "expected float"),
        ("size", "larg", "Did you mean large"),
        ("level", True, "expected one of 1, 2"),
        ("files", "a", "expected a list of Path, or null"),
        ("threshold", "median", "expected float or one of mean"),
        ("nedded", 1, "no option nedded. Did you mean needed"),
    ],
)
def test_wrong_values_are_named_with_what_was_expected(name, value, message):
    with pytest.raises(DataToolsError, match=message):
        check_options(EVERY, {"needed": 1, name: value})


def test_all_faults_come_at_once():
    faults = option_faults(EVERY, {"flag": 3, "sise": "small"})
    assert len(faults) == 3
    assert any("needs needed: A number that has no default." in fault for fault in faults)


@pytest.mark.parametrize(
    ("name", "words", "found"),
    [
        ("needed", ["-3"], -3),
        ("flag", ["true"], True),
        ("rate", ["1e-5"], 1e-5),
        ("level", ["2"], 2),
        ("files", ["a", "b"], [Path("a"), Path("b")]),
        ("files", ["none"], None),
        ("names", ["x"], ["x"]),
        ("threshold", ["mean"], "mean"),
        ("threshold", ["247"], 247.0),
    ],
)
def test_words_of_a_command_line_get_the_declared_type(name, words, found):
    value = parse_text(option_table(EVERY)[name], words)
    assert value == found and type(value) is type(found)


@pytest.mark.parametrize(("name", "words"), [("needed", ["x"]), ("rate", ["1", "2"]), ("size", ["tiny"])])
def test_words_of_the_wrong_type_are_refused(name, words):
    with pytest.raises(DataToolsError, match=name):
        parse_text(option_table(EVERY)[name], words)


@pytest.mark.parametrize(
    ("tool", "message"),
    [
        ("difficult", "Did you mean difficulty"),
        ("no.such.module:f", "no module named"),
        ("data_tools.rows.files:nothing", "has no function 'nothing'"),
        ("tests.data_tools.sample_tools:untypable", "cannot say the type dict"),
    ],
)
def test_tools_that_cannot_be_read_are_named(tool, message):
    with pytest.raises(DataToolsError, match=message):
        tool_doc(tool)
