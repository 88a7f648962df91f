"""Data sources of a recipe as rows with canonical columns: files, hub data sets, generators, mixtures.

A source is a file (or several), a hub data set, a Python generator, or a mixture of other sources and of the rows that
earlier stages made. Cleaning is not done here: that is what `data_tools` and `data` stages are for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from random import Random

from data_tools.rows.columns import to_canonical
from data_tools.rows.files import read_rows
from data_tools.rows.row import Row
from light_r1.errors import DataError
from light_r1.recipe.options.source import call_by_name
from light_r1.recipe.spec import Recipe, SourceSpec, StageSpec


def load_rows(recipe: Recipe, name: str, made_by: Callable[[str], list[Row]]) -> list[Row]:
    """Return all rows of a named source.

    Args:
        recipe: The recipe.
        name: A source of the recipe.
        made_by: Gives the rows that an earlier stage made, for mixtures.

    Raises:
        DataError: Its files do not exist or cannot be read.
    """
    source = recipe.data[name]
    if not source.mix:
        return source_rows(recipe, source, name)
    rows = []
    for part in source.mix:
        part_rows = load_rows(recipe, part.source, made_by) if part.source in recipe.data else made_by(part.source)
        rows += _thinned(part_rows, part.fraction, f"{recipe.seed}:{name}:{part.source}")
    Random(f"{recipe.seed}:{name}").shuffle(rows)
    return _cut(recipe, source, name, rows)


def source_rows(recipe: Recipe, source: SourceSpec, name: str) -> list[Row]:
    """Return the rows of a source that is no mixture: read, mapped to canonical columns, thinned as it says."""
    return _cut(recipe, source, name, [to_canonical(row, source.columns) for row in _raw_rows(recipe, source, name)])


def _cut(recipe: Recipe, source: SourceSpec, name: str, rows: list[Row]) -> list[Row]:
    rows = _thinned(rows, source.fraction, f"{recipe.seed}:{name}")
    return list(islice(rows, source.limit))


def mixed_stages(recipe: Recipe, name: str) -> list[str]:
    """Return the stages whose rows a source mixes in, itself or through other mixtures."""
    stages: list[str] = []
    for part in recipe.data[name].mix:
        stages += mixed_stages(recipe, part.source) if part.source in recipe.data else [part.source]
    return stages


def _raw_rows(recipe: Recipe, source: SourceSpec, name: str) -> Iterable[Row]:
    if source.generator is not None:
        yield from call_by_name(source.generator, **source.options)
    elif source.hub is not None:
        from datasets import load_dataset

        yield from load_dataset(
            source.hub,
            source.config,
            split=source.split,
            data_files=source.data_files,
            revision=source.revision,
        )
    else:
        for path in source.path:
            yield from read_rows(find_file(recipe, path))


def find_file(recipe: Recipe, path: str) -> Path:
    """Return a data file named by a recipe: beside the recipe file, else relative to the current directory.

    Raises:
        DataError: It is in neither place.
    """
    for base in (*(file.parent for file in (recipe.path, *recipe.files)), Path.cwd()):
        if (base / path).exists():
            return base / path
    raise DataError(f"{path}: no such file beside {recipe.path} or in {Path.cwd()}")


def _thinned(rows: list[Row], fraction: float, key: str) -> list[Row]:
    """Keep a share of the rows, chosen by seed and kept in order."""
    if fraction >= 1:
        return rows
    chosen = Random(key).sample(range(len(rows)), round(fraction * len(rows)))
    return [rows[index] for index in sorted(chosen)]


_START = "model"


def stages_needed(spec: StageSpec, recipe: Recipe) -> list[str]:
    """Return the names of the earlier stages that a stage reads."""
    named = [*spec.inputs, spec.data, spec.eval_data, spec.options.get("base")]
    named += [stage for name in named if name in recipe.data for stage in mixed_stages(recipe, name)]
    stages = {stage.name for stage in recipe.stages}
    return list(dict.fromkeys(name for name in named if name in stages))


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
