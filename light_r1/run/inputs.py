"""Hashes of a stage's inputs: the part of its fingerprint that its settings do not hold.

Earlier stages by their fingerprints, data by its bytes, a model folder by its files, and functions that the recipe
names by dotted path (rewards, data tools, tokenizers) by their code. Models on the hub are identified by name and
revision, which are settings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from light_r1.recipe.sources import _START, find_file, starts_from_the_model, tokenizer_folder
from light_r1.recipe.spec import Recipe, SourceSpec, StageSpec
from light_r1.run_dir.fingerprint import DIGITS
from light_r1.run_dir.hashes import code_hash, file_hash, model_folder_hash
from light_r1.stages.base import Stage


def input_hashes(
    spec: StageSpec, stage: Stage, recipe: Recipe, fingerprints: Mapping[str, str], *, cache: Path
) -> dict[str, Any]:
    """Return a hash of each input of a stage, by name; of a data source, its settings and hashes.

    Args:
        spec: The stage.
        stage: Its type.
        recipe: The recipe.
        fingerprints: Fingerprints of the earlier stages that it reads.
        cache: File that remembers the hashes of data files.

    Raises:
        DataError: A file is missing.
    """
    hashes: dict[str, Any] = dict(fingerprints)
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


def _named_code(spec: StageSpec, init: Mapping[str, Any]) -> Iterator[str]:
    """Yield the modules of what the recipe names by dotted path: the stage's type, and functions that it calls."""
    rewards = (entry if isinstance(entry, str) else entry["name"] for entry in spec.options.get("rewards", []))
    tools = (step["tool"] for step in spec.options.get("steps", []))
    for dotted in (spec.type, *rewards, *tools, init.get("tokenizer", "")):
        module, colon, _ = dotted.partition(":")
        if colon:
            yield module


def source_identity(recipe: Recipe, source: SourceSpec, *, cache: Path | None = None) -> dict[str, Any]:
    """Return what a source's rows follow from: the settings it has, and hashes of the files or code behind them.

    Settings are in it as written, so that a stage that reruns can say which one has changed. The rows that stages
    made are told by the fingerprints of those, and here by their names only.
    """
    default = asdict(SourceSpec())
    settings = {key: value for key, value in asdict(source).items() if key not in ("rows", "path")}
    identity: dict[str, Any] = {key: value for key, value in settings.items() if value != default[key]}
    if source.fraction < 1 or source.mix:
        identity["seed"] = recipe.seed
    if source.mix:
        sources = {part.source: recipe.data[part.source] for part in source.mix if part.source in recipe.data}
        identity["parts"] = {name: source_identity(recipe, part, cache=cache) for name, part in sources.items()}
    elif source.generator is not None:
        identity["code"] = code_hash(source.generator.partition(":")[0])
    elif source.path:
        identity["content"] = [file_hash(find_file(recipe, path), cache=cache)[:DIGITS] for path in source.path]
    return identity
