"""What goes into a stage, as hashes: the half of its fingerprint that its settings do not tell.

Earlier stages by their fingerprints, data by its bytes, a model folder by its files, and functions that the recipe
names by dotted path (rewards, data tools, tokenizers) by their code. Models on the hub are identified by name and
revision, which are settings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from light_r1.errors import DataError
from light_r1.fingerprint import code_hash, file_hash, model_folder_hash
from light_r1.sources import find_file, mixed_stages, source_identity
from light_r1.specs import Recipe, StageSpec
from light_r1.stages.base import Stage

_START = "model"


def stages_needed(spec: StageSpec, recipe: Recipe) -> list[str]:
    """Return the names of the earlier stages that a stage reads."""
    named = [*spec.inputs, spec.data, spec.eval_data, spec.options.get("base")]
    named += [stage for name in named if name in recipe.data for stage in mixed_stages(recipe, name)]
    stages = {stage.name for stage in recipe.stages}
    return list(dict.fromkeys(name for name in named if name in stages))


def input_hashes(
    spec: StageSpec, stage: Stage, recipe: Recipe, made: Mapping[str, str], *, cache: Path
) -> dict[str, Any]:
    """Return a hash of each input of a stage, by name; of a data source, its settings and hashes.

    Args:
        spec: The stage.
        stage: Its type.
        recipe: The recipe.
        made: Fingerprints of the earlier stages that it reads.
        cache: File that remembers the hashes of data files.

    Raises:
        DataError: A file is missing.
    """
    hashes: dict[str, Any] = dict(made)
    for name in (spec.data, spec.eval_data):
        if name is not None and name not in hashes:
            hashes[name] = source_identity(recipe, recipe.data[name], cache=cache)
    if "evaluate" in stage.reads and recipe.evaluate is not None:
        for name, source in recipe.evaluate.benchmarks.items():
            hashes[f"evaluate.benchmarks.{name}"] = source_identity(recipe, source, cache=cache)
    for name, file in stage.files(spec, recipe).items():
        hashes[name] = file_hash(file, cache=cache)
    from_start = stage.uses_model(spec) and starts_from_the_model(spec)
    folder = spec.model.name_or_path
    if from_start and folder is not None and Path(folder).is_dir():
        hashes[_START] = model_folder_hash(folder)
    if from_start and (tokenizer := tokenizer_folder(spec, recipe)) is not None:
        hashes["tokenizer"] = file_hash(tokenizer, cache=cache)
    for module in _named_code(spec, (spec.model.init or {}) if from_start else {}):
        hashes[f"code of {module}"] = code_hash(module)
    return hashes


def starts_from_the_model(spec: StageSpec) -> bool:
    """Return whether a stage reads the recipe's `model`, rather than only what earlier stages made."""
    return not spec.inputs or _START in (*spec.inputs, spec.options.get("base"))


def tokenizer_folder(spec: StageSpec, recipe: Recipe) -> Path | None:
    """Return the local folder of the tokenizer of a model made from nothing; None if it is made, or of the hub."""
    name = (spec.model.init or {}).get("tokenizer", ":")
    if ":" in name:
        return None
    try:
        return find_file(recipe, name)
    except DataError:
        return None


def _named_code(spec: StageSpec, init: Mapping[str, Any]) -> Iterator[str]:
    """Yield the modules of functions that the stage calls by dotted path."""
    rewards = (entry if isinstance(entry, str) else entry["name"] for entry in spec.options.get("rewards", []))
    tools = (step["tool"] for step in spec.options.get("steps", []))
    for dotted in (*rewards, *tools, init.get("tokenizer", "")):
        module, colon, _ = dotted.partition(":")
        if colon:
            yield module
