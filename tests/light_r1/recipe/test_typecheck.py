from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from light_r1.recipe.options.table import Field, Table
from light_r1.recipe.options.types import FieldType, literal_type, union
from light_r1.recipe.typecheck import FAULTY, Faults, check_block, check_field, check_value
from light_r1.recipe.yaml_lines import parse_yaml

KINDS = ("bool", "int", "float", "str", "none")
VALUES = st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-5, 5) | st.text("abc 1é", max_size=4)


def node(text: str, key: str = "k"):
    found, problems = parse_yaml(text, "r.yaml")
    assert not problems
    found.label(key)
    return found


def check(text: str, kind: FieldType):
    faults = Faults()
    return check_value(node(text), kind, faults), [str(problem) for problem in faults.problems]


def fits(value, kinds) -> bool:
    """The naive reference: YAML has no numbers that are text, and an integer is a number."""
    if value is None:
        return "none" in kinds
    if isinstance(value, bool):
        return "bool" in kinds
    if isinstance(value, int):
        return bool({"int", "float"} & kinds)
    return ("float" if isinstance(value, float) else "str") in kinds


@given(VALUES, st.frozensets(st.sampled_from(KINDS), min_size=1))
def test_quoted_values_fit_exactly_their_kinds(value, kinds):
    result, problems = check(json.dumps(value, ensure_ascii=False), FieldType(kinds=kinds))
    if fits(value, kinds):
        assert (result, problems) == (value, [])
    else:
        assert result is FAULTY
        assert len(problems) == 1


@pytest.mark.parametrize(
    ("text", "value"), [("no", False), ("off", False), ("Yes", True), ("on", True), ("true", True)]
)
def test_words_for_yes_and_no_are_booleans_where_one_is_expected(text, value):
    assert check(text, FieldType(kinds=frozenset({"bool"}))) == (value, [])


def test_no_stays_a_word_where_text_is_expected():
    assert check("no", literal_type(("no", "steps", "epoch"))) == ("no", [])
    assert check("no", FieldType(kinds=frozenset({"str"}))) == ("no", [])


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        ("1.0", FieldType(kinds=frozenset({"int"})), "Write 1."),
        ('"1"', FieldType(kinds=frozenset({"int"})), "without quotes"),
        ("5", FieldType(kinds=frozenset({"str"})), 'Write "5".'),
        ("cosin", literal_type(("cosine", "linear")), "Did you mean cosine?"),
        ("[1, x]", FieldType(item=FieldType(kinds=frozenset({"int"}))), "k.1: is the text 'x'"),
        ("{a: 1}", FieldType(kinds=frozenset({"int"})), "is a mapping"),
        (".nan", FieldType(kinds=frozenset({"float"})), "Expected a number"),
    ],
)
def test_the_message_says_what_to_write(text, kind, says):
    result, problems = check(text, kind)
    assert result is FAULTY
    assert says in problems[0]


def test_one_word_is_a_list_of_one_as_in_trl():
    kind = union([FieldType(item=FieldType(kinds=frozenset({"str"})))])
    assert check("nca_pair", kind) == (["nca_pair"], [])


def test_bounds_and_choices_hold_by_class():
    faults = Faults()
    number = FieldType(kinds=frozenset({"float"}))
    assert check_field(node("0", "dpo.args.beta"), Field("beta", number, owner="DPOConfig"), faults) is FAULTY
    assert check_field(node("0"), Field("beta", number, owner="GRPOConfig"), faults) == 0.0
    assert [str(problem) for problem in faults.problems] == [
        "r.yaml:1: dpo.args.beta: 0 is out of range. Expected a number above 0."
    ]


def test_a_block_reports_unknown_missing_and_misplaced_keys():
    text = FieldType(kinds=frozenset({"str"}))
    options = Table("m:Config", {"name": Field("name", text), "path": Field("path", text, None)})
    faults = Faults()
    values = check_block(node("{pth: a, args: b}"), options, faults, also={"args": "It goes elsewhere."}, of="Config")
    assert values == {}
    assert [str(problem) for problem in faults.problems] == [
        "r.yaml:1: k.pth: no such option of Config. Did you mean path?",
        "r.yaml:1: k.args: no such option of Config. It goes elsewhere.",
        "r.yaml:1: k: name is missing. Expected name: text.",
    ]


def test_a_fault_is_noted_once():
    faults = Faults()
    for _ in range(2):
        faults.at(node("1"), "is wrong")
    assert len(faults.problems) == 1


def test_words_that_yaml_1_1_took_for_booleans_are_ambiguous_in_free_mappings():
    result, problems = check("{a: yes}", FieldType(kinds=frozenset({"any"})))
    assert result == {"a": "yes"}
    assert "ambiguous" in problems[0]
