from __future__ import annotations

from dataclasses import replace

import pytest

from light_r1.errors import RunDirError
from light_r1.recipe.read import load_recipe
from light_r1.run.verify import verify_outputs
from light_r1.run_dir.folder import RunDir
from light_r1.run_dir.manifest import Manifest, describe_outputs

TIMES = {"started": "2026-01-01T00:00:00+00:00", "ended": "2026-01-01T00:00:00+00:00", "seconds": 1.0}


@pytest.fixture
def recipe(tmp_path):
    """A run whose first two stages are done, each with a model folder of two files and its card."""
    recipe = replace(load_recipe("smoke"), output_dir=str(tmp_path))
    for spec in recipe.stages[:2]:
        folder = RunDir(tmp_path / recipe.name).stage(spec.name)
        (folder.output / "model").mkdir(parents=True)
        for name in ("model.safetensors", "config.json", "README.md"):
            (folder.output / "model" / name).write_text(f"{spec.name} {name}")
        outputs = describe_outputs(folder.path)
        folder.write_manifest(Manifest(stage=spec.name, type="sft", fingerprint="0", outputs=outputs, **TIMES))
    return recipe


def output(recipe, number: int):
    return RunDir(f"{recipe.output_dir}/{recipe.name}").stage(recipe.stages[number].name).output / "model"


def test_outputs_as_they_were_written_are_counted_and_the_card_may_change(recipe):
    (output(recipe, 0) / "README.md").write_text("scores that came later")
    assert verify_outputs(recipe) == 4


def test_every_file_that_is_not_as_it_was_written_is_named(recipe):
    (output(recipe, 0) / "config.json").unlink()
    file = output(recipe, 1) / "model.safetensors"
    file.write_text(file.read_text().upper())
    left = output(recipe, 1) / "model-00001-of-00002.safetensors"
    left.write_text("of another merge")
    with pytest.raises(RunDirError, match="3 outputs") as error:
        verify_outputs(recipe)
    for path, why in (
        (output(recipe, 0) / "config.json", "is missing"),
        (file, "has other bytes"),
        (left, "was not written by the stage"),
    ):
        assert f"{path} {why}" in str(error.value)


def test_a_run_that_has_not_begun_has_nothing_to_compare(tmp_path):
    assert verify_outputs(replace(load_recipe("smoke"), output_dir=str(tmp_path))) == 0
