from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from data_tools.rows.files import write_rows
from light_r1.errors import DataError
from light_r1.recipe.read import load_recipe
from light_r1.recipe.sources import find_file, load_rows, mixed_stages
from light_r1.recipe.spec import MixPart, SourceSpec
from light_r1.run.inputs import source_identity


@pytest.fixture
def recipe(tmp_path):
    write_rows(tmp_path / "rows.jsonl", [{"question": f"q{i}", "final": str(i)} for i in range(10)])
    sources = {
        "rows": SourceSpec(path=("rows.jsonl",), columns={"answer": "final"}),
        "some": SourceSpec(path=("rows.jsonl",), fraction=0.3),
        "first": SourceSpec(path=("rows.jsonl",), limit=4),
        "mix": SourceSpec(mix=(MixPart("rows", 0.5), MixPart("first"))),
        "made": SourceSpec(generator="light_r1.tiny:problems", options={"n": 3, "seed": 1, "max_steps": 3}),
    }
    base = load_recipe("smoke")
    return replace(base, data=sources, path=tmp_path / "recipe.yaml", files=(tmp_path / "recipe.yaml",))


def rows_of(recipe, name):
    """The rows of a source; stages have made the rows that `made_by` tells."""
    made = {"hard": [{"problem": f"h{i}"} for i in range(6)]}
    return load_rows(recipe, name, made.__getitem__)


def test_columns_are_mapped_and_detected(recipe):
    assert rows_of(recipe, "rows")[3] == {"problem": "q3", "answer": "3"}


def test_fraction_is_seeded_and_keeps_the_order(recipe):
    rows = [row["problem"] for row in rows_of(recipe, "some")]
    assert len(rows) == 3
    assert rows == sorted(rows)
    assert rows == [row["problem"] for row in rows_of(recipe, "some")]
    others = {tuple(r["problem"] for r in rows_of(replace(recipe, seed=seed), "some")) for seed in range(8)}
    assert len(others) > 1


def test_limit_and_mixture(recipe):
    assert [row["problem"] for row in rows_of(recipe, "first")] == ["q0", "q1", "q2", "q3"]
    mixed = [row["problem"] for row in rows_of(recipe, "mix")]
    assert len(mixed) == 5 + 4
    assert mixed != sorted(mixed)


def test_a_mixture_holds_the_rows_that_stages_made(recipe):
    parts = {
        "inner": SourceSpec(mix=(MixPart("hard", 0.5), MixPart("first"))),
        "outer": SourceSpec(mix=(MixPart("inner"),)),
    }
    recipe = replace(recipe, data=recipe.data | parts)
    problems = [row["problem"] for row in rows_of(recipe, "outer")]
    assert sum(problem.startswith("h") for problem in problems) == 3
    assert {"q0", "q1", "q2", "q3"} <= set(problems)
    assert mixed_stages(recipe, "outer") == ["hard"]
    assert mixed_stages(recipe, "mix") == []


def test_a_generator_is_called_with_its_options(recipe):
    rows = rows_of(recipe, "made")
    assert len(rows) == 3
    assert {"problem", "solution", "answer"} <= set(rows[0])


def test_the_identity_follows_content_and_settings_not_names(recipe, tmp_path):
    first = source_identity(recipe, recipe.data["rows"])
    assert first == source_identity(recipe, recipe.data["rows"])
    assert first != source_identity(recipe, recipe.data["first"])
    (tmp_path / "copy.jsonl").write_bytes((tmp_path / "rows.jsonl").read_bytes())
    assert first == source_identity(recipe, replace(recipe.data["rows"], path=("copy.jsonl",)))
    with (tmp_path / "rows.jsonl").open("a") as file:
        file.write('{"question": "more", "final": "1"}\n')
    assert first != source_identity(recipe, recipe.data["rows"])
    options = replace(recipe.data["made"], options={"n": 4, "seed": 1, "max_steps": 3})
    assert source_identity(recipe, recipe.data["made"]) != source_identity(recipe, options)


def test_the_hash_of_a_generator_follows_its_code_and_the_modules_it_imports(recipe, tmp_path, monkeypatch):
    (tmp_path / "rows_made.py").write_text("from words_made import WORD\ndef rows(): yield {'problem': WORD}\n")
    (tmp_path / "words_made.py").write_text("WORD = 'one'\n")
    monkeypatch.syspath_prepend(tmp_path)
    source = SourceSpec(generator="rows_made:rows")
    first = source_identity(recipe, source)
    (tmp_path / "words_made.py").write_text("WORD = 'two'\n")
    second = source_identity(recipe, source)
    (tmp_path / "rows_made.py").write_text("from words_made import WORD\ndef rows(): yield {'problem': WORD * 2}\n")
    assert len({identity["code"] for identity in (first, second, source_identity(recipe, source))}) == 3


def test_a_missing_file_names_both_places(recipe, tmp_path):
    with pytest.raises(DataError, match=r"nowhere.jsonl: no such file") as error:
        find_file(recipe, "nowhere.jsonl")
    assert str(tmp_path) in str(error.value)
    assert str(Path.cwd()) in str(error.value)
