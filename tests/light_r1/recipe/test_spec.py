from __future__ import annotations

import pytest

from light_r1.models.chat import FAMILIES
from light_r1.recipe.bounds import CHOICES
from light_r1.recipe.read import load_recipe
from light_r1.recipe.spec import MixPart, SourceSpec, Where
from light_r1.recipe.yaml_lines import Place


def test_a_source_knows_its_kind():
    assert SourceSpec(path=("a",)).kind == "path"
    assert SourceSpec(hub="a/b").kind == "hub"
    assert SourceSpec(generator="m:f").kind == "generator"
    assert SourceSpec(mix=(MixPart("a"),)).kind == "mix"


def test_a_recipe_may_name_every_chat_family():
    assert CHOICES["ChatSpec.template"] == ("auto", *FAMILIES)


def test_where_falls_back_to_what_encloses_a_key():
    where = Where({"a": Place("r", 1), "a.b": Place("r", 2)}, Place("r", 9))
    assert [where.near(key).line for key in ("a.b.c", "a.b", "a.x", "z")] == [2, 2, 1, 9]
    assert dict(where) == {"a": Place("r", 1), "a.b": Place("r", 2)}
    assert len(where) == 2


def test_stages_are_found_by_name():
    recipe = load_recipe("tiny")
    assert recipe.stage("dpo").type == "dpo"
    with pytest.raises(KeyError):
        recipe.stage("nothing")
