"""Number and mean length of the rows that a stage reads: counted where cheap, else estimated or bounded.

Nothing is downloaded and no large file is read whole: sizes of large files are divided by the bytes of their first
rows, and sets on the hub count as many rows as the recipe's `rows:` says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from data_tools.errors import DataToolsError
from data_tools.rows.columns import to_canonical
from data_tools.rows.files import read_rows
from data_tools.rows.row import Row
from light_r1.errors import LightR1Error
from light_r1.recipe.options.source import call_by_name
from light_r1.recipe.sources import find_file
from light_r1.recipe.spec import Recipe, SourceSpec

CHARACTERS_PER_TOKEN = 3.0
"""Of mathematical English with numbers and LaTeX under the tokenizers of Qwen2.5 and Llama 3; between 2.7 and 3.3."""

_READ_WHOLE = 64 << 20
_FIRST = 50


@dataclass(frozen=True, slots=True)
class Amount:
    """A number that is exact (""), estimated ("~") or an upper bound ("≤")."""

    value: float
    sign: str = ""

    def times(self, factor: Amount | float) -> Amount:
        """Return the product; the vaguer sign holds."""
        other = factor if isinstance(factor, Amount) else Amount(factor)
        return Amount(self.value * other.value, _vaguer(self.sign, other.sign))

    def plus(self, other: Amount) -> Amount:
        """Return the sum; the vaguer sign holds."""
        return Amount(self.value + other.value, _vaguer(self.sign, other.sign))

    def at_most(self) -> Amount:
        """Return this as an upper bound."""
        return Amount(self.value, "≤")


def _vaguer(one: str, other: str) -> str:
    return max(one, other, key=("", "~", "≤").index)


@dataclass(frozen=True, slots=True)
class RowsOf:
    """The rows of a source.

    Args:
        count: Their number, or None if nothing tells it.
        tokens: Mean tokens of problem and solution, or None.
    """

    count: Amount | None
    tokens: Amount | None = None


def rows_of(recipe: Recipe, name: str, stage_rows: Mapping[str, RowsOf]) -> RowsOf:
    """Return what is known about the rows of a named source of the recipe, or of an earlier stage (`stage_rows`)."""
    return (
        source_rows_of(recipe, recipe.data[name], stage_rows)
        if name in recipe.data
        else stage_rows.get(name, RowsOf(None))
    )


def source_rows_of(recipe: Recipe, source: SourceSpec, stage_rows: Mapping[str, RowsOf]) -> RowsOf:
    """Return what is known about the rows of one source, after `fraction` and `limit`."""
    if source.mix:
        known = _mixture(recipe, source, stage_rows)
    else:
        try:
            count, first = _counted(recipe, source)
        except DataToolsError:
            return RowsOf(Amount(source.rows) if source.rows is not None else None)
        known = RowsOf(Amount(source.rows) if source.rows is not None else count, _mean_tokens(source, first))
    if known.count is None:
        return known
    count = known.count.times(source.fraction)
    if source.limit is not None and source.limit < count.value:
        count = Amount(source.limit)
    return RowsOf(Amount(round(count.value), count.sign), known.tokens)


def questions_of(recipe: Recipe) -> RowsOf:
    """Return the questions of all benchmarks together."""
    total = Amount(0)
    for source in recipe.evaluate.benchmarks.values() if recipe.evaluate is not None else ():
        count = source_rows_of(recipe, source, {}).count
        if count is None:
            return RowsOf(None)
        total = total.plus(count)
    return RowsOf(total)


def _mixture(recipe: Recipe, source: SourceSpec, stage_rows: Mapping[str, RowsOf]) -> RowsOf:
    total, tokens = Amount(0), Amount(0)
    all_measured = True
    for part in source.mix:
        rows = rows_of(recipe, part.source, stage_rows)
        if rows.count is None:
            return RowsOf(Amount(source.rows) if source.rows is not None else None)
        total = total.plus(rows.count.times(part.fraction))
        if rows.tokens is None:
            all_measured = False
        else:
            tokens = tokens.plus(rows.tokens.times(rows.count.value * part.fraction))
    mean = tokens.times(1 / total.value) if all_measured and total.value else None
    return RowsOf(Amount(source.rows) if source.rows is not None else total, mean)


def _counted(recipe: Recipe, source: SourceSpec) -> tuple[Amount | None, list[Row]]:
    if source.hub is not None:
        return None, []
    if source.generator is not None:
        try:
            first = list(islice(call_by_name(source.generator, **source.options), _FIRST))
        except LightR1Error:
            return None, []
        n = source.options.get("n")
        # By convention a generator's `n` is its number of rows.
        return Amount(n) if isinstance(n, int) else None, first
    files = [find_file(recipe, path) for path in source.path]
    counts = [_file_rows(file) for file in files]
    first = list(islice(read_rows(files[0]), _FIRST)) if files else []
    total = Amount(0)
    for count in counts:
        total = total.plus(count)
    return total, first


def _file_rows(file: Path) -> Amount:
    if file.suffix == ".parquet":
        from data_tools.rows.table_files import parquet_length

        return Amount(parquet_length(file))
    if file.is_dir():
        return Amount(sum(1 for _ in read_rows(file)))
    size = file.stat().st_size
    if size <= _READ_WHOLE:
        return Amount(_lines(file) if file.suffix == ".jsonl" else sum(1 for _ in read_rows(file)))
    if file.suffix == ".jsonl":
        with file.open("rb") as stream:
            head = list(islice(stream, _FIRST))
        return Amount(round(size * len(head) / sum(map(len, head))), "~")
    first = list(islice(read_rows(file), _FIRST))
    return Amount(round(size * len(first) / max(1, sum(len(str(row)) for row in first))), "~")


def _lines(file: Path) -> int:
    with file.open("rb") as stream:
        return sum(1 for line in stream if line.strip())


def _mean_tokens(source: SourceSpec, rows: Iterable[Row]) -> Amount | None:
    lengths = [sum(map(len, _texts(to_canonical(row, source.columns)))) for row in rows]
    if not lengths:
        return None
    return Amount(sum(lengths) / len(lengths) / CHARACTERS_PER_TOKEN, "~")


def _texts(row: Row) -> Iterator[str]:
    """Yield the texts of a row that are trained on: `text`, or the conversation, or problem and solution."""
    chosen: list[Any] = [row.get("text")]
    if chosen == [None]:
        messages = row.get("messages") or []
        chosen = [row.get("problem"), row.get("solution")]
        if not row.get("solution") and messages:
            chosen = [message.get("content") for message in messages]
    yield from (text for text in chosen if isinstance(text, str))
