from __future__ import annotations

import pytest

from light_r1.errors import LightR1Error
from light_r1.recipe.new import new_recipe
from light_r1.recipe.read import load_recipe, resolved
from light_r1.recipe.shipped import shipped_recipes
from light_r1.run.check import load_checked


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("extend", [False, True])
@pytest.mark.parametrize("source", ["tiny", "light_r1_7b_ds"])
def test_a_new_recipe_is_the_old_one_under_its_own_name(source, extend):
    (path,) = new_recipe("mine", source=source, extend=extend)
    assert path.name == "mine.yaml"
    ours, theirs = resolved(load_checked(path).recipe), resolved(load_recipe(source))
    assert ours.pop("name") == "mine"
    assert theirs.pop("name") == source
    assert ours == theirs


def test_a_copy_is_the_file_with_its_comments():
    text = new_recipe("copy", source="tiny")[0].read_text()
    assert text == (shipped_recipes() / "tiny.yaml").read_text().replace("name: tiny", "name: copy", 1)


def test_nothing_is_overwritten_and_unknown_sources_are_named():
    new_recipe("mine", source="tiny")
    with pytest.raises(LightR1Error, match="exists already"):
        new_recipe("mine", source="tiny")
    with pytest.raises(LightR1Error, match="Did you mean light_r1_7b_ds"):
        new_recipe("other", source="light_r1_7b")


@pytest.mark.parametrize("extend", [False, True])
@pytest.mark.parametrize("source", sorted(path.stem for path in shipped_recipes().glob("*.yaml")))
def test_every_shipped_recipe_starts_one_that_is_without_fault(source, extend):
    path, *copied = new_recipe("own/mine", source=source, extend=extend)
    load_checked(path)
    assert all(copy.exists() and copy.is_relative_to("own") for copy in copied)
    assert bool(copied) == (not extend and "path: data/" in (shipped_recipes() / f"{source}.yaml").read_text())


def test_data_that_is_there_is_not_overwritten(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/gsm8k_traces.jsonl").write_text("mine")
    _, *copied = new_recipe("mine", source="gsm8k_traces")
    assert (tmp_path / "data/gsm8k_traces.jsonl").read_text() == "mine"
    assert tmp_path / "data/gsm8k_tokenizer" in [tmp_path / path for path in copied]
    assert (tmp_path / "data/gsm8k_tokenizer/tokenizer.json").exists()
