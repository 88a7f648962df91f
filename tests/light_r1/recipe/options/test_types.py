from __future__ import annotations

import pytest

from light_r1.recipe.options.types import ANY, NONE, FieldType, literal_type, type_of_default, union

INT, TEXT, FLOAT = (FieldType(kinds=frozenset({kind})) for kind in ("int", "str", "float"))


@pytest.mark.parametrize(
    ("kind", "words", "schema"),
    [
        (INT, "an integer", {"type": "integer"}),
        (union([INT, NONE]), "an integer or null", {"type": ["integer", "null"]}),
        (union([INT, FLOAT]), "a number", {"type": ["integer", "number"]}),
        (literal_type(("a", "b")), "one of a, b", {"enum": ["a", "b"]}),
        (literal_type(("a", None)), "a or null", {"anyOf": [{"enum": ["a"]}, {"type": "null"}]}),
        (FieldType(item=INT), "a list of (an integer)", {"type": "array", "items": {"type": "integer"}}),
        (FieldType(values=ANY), "a mapping", {"type": "object", "additionalProperties": {}}),
        (FieldType(block="a.b:C"), "a mapping", {"$ref": "#/$defs/C"}),
        (ANY, "any value", {}),
    ],
)
def test_types_in_words_and_as_schema(kind, words, schema):
    assert kind.describe() == words
    assert kind.schema() == schema


def test_an_enum_beside_text_takes_its_values_only():
    assert union([literal_type(("cosine", "linear")), TEXT]) == literal_type(("cosine", "linear"))


def test_what_takes_anything_keeps_taking_anything():
    assert union([INT, ANY]).any


@pytest.mark.parametrize(
    ("default", "kinds"), [(True, {"bool"}), (1, {"int"}), (1.0, {"float"}), ("a", {"str"}), (None, {"any"})]
)
def test_a_default_tells_the_type(default, kinds):
    assert type_of_default(default).kinds == kinds
