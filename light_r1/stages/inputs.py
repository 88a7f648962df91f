"""The rows a stage reads, as lists or as a data set with just the columns a trainer needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from data_tools.rows import Row, read_rows
from light_r1.errors import DataError
from light_r1.sources import load_rows
from light_r1.stages.base import StageJob

_TRAINED = ("text", "problem", "solution", "messages", "system")


def stage_rows(job: StageJob, name: str) -> list[Row]:
    """Return the rows of a source or of an earlier data stage."""
    artifact = job.inputs.get(name)
    rows = list(read_rows(artifact.path)) if artifact else load_rows(job.recipe, name)
    if not rows:
        raise DataError(f"{job.spec.name}: data {name!r} has no rows")
    return rows


def training_dataset(job: StageJob, name: str, *extra: str) -> Any:
    """Return a `datasets.Dataset` of the columns that rendering reads, and `extra` ones where they exist."""
    return as_dataset(stage_rows(job, name), (*_TRAINED, *extra))


def as_dataset(rows: Sequence[Row], columns: Sequence[str]) -> Any:
    """Return a `datasets.Dataset` of the given columns, leaving out those that no row has."""
    from datasets import Dataset

    present = [column for column in columns if any(row.get(column) is not None for row in rows)]
    return Dataset.from_list([{column: row.get(column) for column in present} for row in rows])
