"""Recipe data sources become rows with canonical columns, and their content a hash.

A source is a file (or several), a hub data set, a Python generator, or a mixture of other sources. Cleaning is not
done here: that is what `data_tools` and `data` stages are for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from data_tools.columns import to_canonical
from data_tools.rows import Row, read_rows
from light_r1.errors import DataError
from light_r1.fingerprint import code_hash, file_hash
from light_r1.named import call_by_name
from light_r1.specs import Recipe, SourceSpec


def load_rows(recipe: Recipe, name: str) -> list[Row]:
    """Return all rows of a named source.

    Raises:
        DataError: Its files do not exist or cannot be read.
    """
    return source_rows(recipe, recipe.data[name], name)


def source_rows(recipe: Recipe, source: SourceSpec, name: str) -> list[Row]:
    """Return the rows of one source: read, mapped to canonical columns, then thinned by `fraction` and `limit`."""
    if source.mix:
        rows = [
            row
            for part in source.mix
            for row in _thinned(load_rows(recipe, part.source), part.fraction, f"{recipe.seed}:{name}:{part.source}")
        ]
        Random(f"{recipe.seed}:{name}").shuffle(rows)
    else:
        rows = [to_canonical(row, source.columns) for row in _raw_rows(recipe, source, name)]
    rows = _thinned(rows, source.fraction, f"{recipe.seed}:{name}")
    return list(islice(rows, source.limit))


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


def source_hash(recipe: Recipe, source: SourceSpec, *, cache: Path | None = None) -> str:
    """Return the identity of a source's rows: its settings and the bytes, code or revision behind them."""
    identity: dict[str, Any] = {key: value for key, value in asdict(source).items() if key not in ("rows", "path")}
    identity["seed"] = recipe.seed if source.fraction < 1 or source.mix else None
    if source.mix:
        identity["parts"] = [source_hash(recipe, recipe.data[part.source], cache=cache) for part in source.mix]
    elif source.generator is not None:
        identity["code"] = code_hash(source.generator.partition(":")[0])
    else:
        identity["files"] = [file_hash(find_file(recipe, path), cache=cache) for path in source.path]
    text = json.dumps(identity, sort_keys=True, ensure_ascii=True, default=list)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
