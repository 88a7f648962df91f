from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from light_r1.recipe.yaml_lines import Place, parse_yaml, read_yaml, scalar

TEXT = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\u2028\u2029\x85\ufeff"), max_size=12
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_json_is_read_as_json_reads_it(value):
    node, problems = parse_yaml(json.dumps(value, ensure_ascii=False), "r.yaml")
    assert not problems
    assert node.data() == value


@given(st.text(max_size=60))
def test_any_text_gives_values_or_problems(text):
    node, problems = parse_yaml(text, "r.yaml")
    assert node is not None or problems
    assert all(str(problem).startswith("r.yaml:") for problem in problems)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5), ("1.0e-5", 1e-5), ("5", 5), ("1_000", 1000), (".5", 0.5), ("-3", -3), ("0x1F", "0x1F"),
        ("no", "no"), ("off", "off"), ("yes", "yes"), ("true", True), ("False", False), ("null", None), ("~", None),
        ("12:30:45", "12:30:45"), ("2024-01-01", "2024-01-01"), ("1.2.3", "1.2.3"), ("", None),
    ],
)  # fmt: skip
def test_scalars_follow_the_core_rules(text, value):
    found = scalar(text)
    assert found == value
    assert type(found) is type(value)


def test_infinity_is_a_number():
    assert scalar(".inf") == math.inf
    assert scalar("-.inf") == -math.inf


def test_every_key_and_item_knows_its_line():
    node, _ = parse_yaml("a: 1\nb:\n  c: [x,\n      y]\n  d:\n    - e: 2\n", "r.yaml")
    node.label("")
    lines = {inner.key: inner.place.line for inner in node.walk()}
    assert lines == {"": 1, "a": 1, "b": 2, "b.c": 3, "b.c.0": 3, "b.c.1": 4, "b.d": 5, "b.d.0": 6, "b.d.0.e": 6}


def test_duplicate_keys_are_refused_at_any_depth():
    _, problems = parse_yaml("a:\n  b: 1\n  c: 2\n  b: 3\n", "r.yaml")
    assert [str(problem) for problem in problems] == [
        "r.yaml:4: b: duplicate key, first written at r.yaml:2. Expected each key once."
    ]


def test_aliases_and_merge_keys_work():
    node, problems = parse_yaml("base: &b {x: 1, y: 2}\nmore:\n  <<: *b\n  y: 3\n", "r.yaml")
    assert not problems
    assert node.data()["more"] == {"x": 1, "y": 3}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [1, 2", "not valid YAML"),
        ("a: 1\n\tb: 2", "not valid YAML"),
        ("a: !!python/object:os.system {}", "tag"),
        ("a: &x [*x]", "alias contains itself"),
        ("? [a, b]\n: 1", "key is not a word"),
        ("a: 1\n<<: 5", "merges something"),
    ],
)
def test_what_is_no_recipe_is_said_with_its_line(text, says):
    _, problems = parse_yaml(text, "r.yaml")
    assert any(says in str(problem) and str(problem).startswith("r.yaml:") for problem in problems)


def test_files_that_cannot_be_read_are_problems(tmp_path):
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    for name, says in (("none.yaml", "no such file"), ("", "is a folder"), ("binary.yaml", "not UTF-8")):
        node, problems = read_yaml(tmp_path / name)
        assert node is None
        assert says in problems[0].what


def test_command_line_values_have_their_own_place():
    node, _ = parse_yaml("{a: [1]}", "x", place=Place("--set k=v"))
    assert {str(inner.place) for inner in node.walk()} == {"--set k=v"}
