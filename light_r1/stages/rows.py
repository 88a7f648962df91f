"""The rows a stage reads, as lists or as a data set with just the columns a trainer needs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from data_tools.rows.files import read_rows
from data_tools.rows.row import Row
from light_r1.errors import DataError
from light_r1.recipe.sources import load_rows
from light_r1.stages.base import StageJob

_TRAINED = ("problem", "solution", "messages", "system")


def stage_rows(job: StageJob, name: str) -> list[Row]:
    """Return the rows of a source or of an earlier data stage."""
    rows = _made_by(job, name) if name in job.inputs else load_rows(job.recipe, name, partial(_made_by, job))
    if not rows:
        raise DataError(f"data {name!r} has no rows")
    return rows


def _made_by(job: StageJob, name: str) -> list[Row]:
    return list(read_rows(job.inputs[name].path))


def training_dataset(job: StageJob, name: str, *extra: str) -> Any:
    """Return a `datasets.Dataset` of the columns that rendering reads, and `extra` ones where they exist."""
    return as_dataset(stage_rows(job, name), (*_TRAINED, *extra))


def as_dataset(rows: Sequence[Row], columns: Sequence[str]) -> Any:
    """Return a `datasets.Dataset` of the given columns, leaving out those that no row has."""
    from datasets import Dataset

    present = [column for column in columns if any(row.get(column) is not None for row in rows)]
    return Dataset.from_list([{column: row.get(column) for column in present} for row in rows])
