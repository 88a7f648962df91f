"""The first rows of every local data set: columns, roles, gold answers, thoughts.

What a stage needs of its rows follows from its type and settings: traces for SFT; problem, answer and a
teacher's solution for semi-on-policy DPO; the columns that GRPO's rewards take. 50 rows are read of each
source that a stage names. Sets on the hub are not read. Behind a `data` stage whose steps may add or rewrite
columns, the rows are what those steps make of them, so only the source's own reading is checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from data_tools.answers.gradable import why_ungradable
from data_tools.rows.columns import to_canonical
from data_tools.rows.files import read_rows
from data_tools.rows.row import Row
from light_r1.errors import EXPLAINED, DataError, LightR1Error, did_you_mean
from light_r1.recipe.check.findings import Findings, failure_text
from light_r1.recipe.options.source import call_by_name
from light_r1.recipe.spec import SourceSpec

ROWS = 50
# Tools after which rows may have other columns, or other contents in them, than their source has.
REWRITES = ("convert", "extract", "perturb")
# Tools that repair or drop faulty rows: behind them only what is wrong with every row is a fault.
MENDS = ("normalize_think",)


@dataclass(frozen=True, slots=True)
class Sample:
    """The first rows of one source.

    Args:
        key: Dotted key of the source.
        rows: (place, row with canonical columns) of those that could be read.
        mended: Whether a step in between mends rows, or drops those that it cannot mend.
    """

    key: str
    rows: tuple[tuple[str, Row], ...]
    mended: bool = False

    @property
    def columns(self) -> list[str]:
        """Columns that have a value in some row."""
        return sorted({name for _, row in self.rows for name, value in row.items() if value is not None})

    def has(self, *columns: str) -> bool:
        """Whether all of `columns` occur."""
        return set(columns) <= set(self.columns)


def note_copies(sample: Sample, findings: Findings) -> None:
    """Note a source that asks the same question more than once."""
    questions = {str(row["problem"]) for _, row in sample.rows}
    if len(questions) < len(sample.rows):
        findings.note(f"{sample.key}: the first {len(sample.rows)} rows ask {len(questions)} different questions")


def note_unread(findings: Findings) -> None:
    """Note the sources that are on the hub, whose rows are not read."""
    recipe = findings.recipe
    sources = {f"data.{name}": source for name, source in recipe.data.items()}
    if recipe.evaluate is not None:
        sources |= {f"evaluate.benchmarks.{name}": source for name, source in recipe.evaluate.benchmarks.items()}
    unread = [f"{key} ({source.hub})" for key, source in sources.items() if source.hub is not None]
    if unread:
        findings.note(f"on the hub, so not read: {', '.join(unread)}")


def origins(name: str | None, findings: Findings, depth: int = 0) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the sources behind a name, each with the tools of the data stages and mixtures between."""
    data = findings.recipe.data
    if name is None or depth > len(data) + len(findings.recipe.stages):
        return
    if name in data:
        yield name, ()
        for part in data[name].mix:
            yield from origins(part.source, findings, depth + 1)
        return
    for stage in findings.recipe.stages:
        if stage.name == name and stage.data is not None:
            tools = tuple(step["tool"] for step in stage.options.get("steps", []))
            for source, steps in origins(stage.data, findings, depth + 1):
                yield source, (*steps, *tools)


def read_sample(source: SourceSpec, key: str, findings: Findings) -> Sample | None:
    """Read the first rows of a source; None if there are none to look at."""
    if source == SourceSpec() or source.hub is not None or source.mix or findings.told(f"{key}.generator"):
        return None
    rows: list[tuple[str, Row]] = []
    try:
        for place, row in _first_rows(source, findings):
            rows.append((place, to_canonical(row, source.columns)))
    except (*EXPLAINED, TypeError) as error:
        findings.at(key, str(error).rstrip(".").replace("--columns ", f"{key}.columns: "))
        if not rows:
            return None
    if not rows and all(findings.file(path) for path in source.path):
        findings.at(key, "has no rows")
    return Sample(key, tuple(rows)) if rows else None


def _first_rows(source: SourceSpec, findings: Findings) -> Iterator[tuple[str, Row]]:
    if source.generator is not None:
        for number, row in enumerate(_generated(source.generator, source.options), start=1):
            yield f"row {number}", row
        return
    each = max(5, ROWS // max(1, len(source.path)))
    for path in source.path:
        file = findings.file(path)
        if file is not None:
            for number, row in enumerate(islice(read_rows(file), each), start=1):
                yield f"{path} row {number}", row


def _generated(generator: str, options: Mapping[str, Any]) -> Iterator[Row]:
    """Yield the first rows that a function makes.

    Raises:
        DataError: Its code failed, whatever with; the message has the line.
    """
    try:
        yield from islice(call_by_name(generator, **options), ROWS)
    except LightR1Error:
        raise
    except Exception as error:
        raise DataError(failure_text(generator, error)) from error


def need(sample: Sample, columns: tuple[str, ...], who: str, findings: Findings) -> bool:
    """Report those of `columns` that the data does not have."""
    missing = [column for column in columns if column not in sample.columns]
    for column in missing:
        findings.at(
            sample.key,
            f"no column {column}, which {who} needs; the columns are {', '.join(sample.columns)}",
            hint=did_you_mean(column, sample.columns) or f"Name it with columns: {{{column}: ...}}.",
        )
    for column in columns:
        if column not in missing and column != "answer":  # which may be a list, and has a check of its own
            report_first(
                sample, f"{column} is empty or no text", lambda row, c=column: not _has_text(row.get(c)), findings
            )
    return not missing


def _has_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def report_first(sample: Sample, what: str, is_fault: Any, findings: Findings) -> int:
    """Report the first row with a fault and how many there are; return their number."""
    faulty = [place for place, row in sample.rows if is_fault(row)]
    if sample.mended and len(faulty) < len(sample.rows):
        return 0
    if faulty:
        more = f" ({len(faulty)} of the first {len(sample.rows)} rows)" if len(faulty) > 1 else ""
        findings.at(sample.key, f"{faulty[0]}: {what}{more}")
    return len(faulty)


def check_answers(sample: Sample, findings: Findings) -> None:
    """Check that gold answers are something the verifier can compare with."""
    reasons = {place: why_ungradable(row.get("answer"), allow_text=True) for place, row in sample.rows}
    faults = {place: reason and reason.sentence for place, reason in reasons.items()}
    faulty = [place for place, fault in faults.items() if fault]
    if not faulty or (sample.mended and len(faulty) < len(faults)):
        return
    first = faulty[0]
    if len(faulty) <= 0.1 * len(faults) and faults[first] not in ("is empty", "is missing"):
        findings.note(f"{sample.key}: {first}: answer {faults[first]} ({len(faulty)} of the first {len(faults)} rows)")
        return
    more = f" ({len(faulty)} of the first {len(faults)} rows)" if len(faulty) > 1 else ""
    findings.at(sample.key, f"{first}: answer {faults[first]}{more}", "an answer the verifier can grade")
