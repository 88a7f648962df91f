"""The `extract` tool: the final answer of each worked solution."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from data_tools.engine.execution import per_row
from data_tools.rows.columns import text
from data_tools.rows.row import Dropped, Row
from data_tools.solutions.final_answer import extract_answer


def extract(
    rows: Iterable[Row],
    *,
    column: str = "solution",
    overwrite: bool = False,
    min_confidence: float = 0.0,
) -> Iterator[Row | Dropped]:
    """Write the final answer of each solution into the row: `answer`, `answer_method`, `answer_confidence`.

    Args:
        rows: Rows with a solution; a `problem` column is used where there is one.
        column: The column of the solution.
        overwrite: Replace an answer that the row has already; by default such a row passes unchanged.
        min_confidence: Drop answers below this confidence (0 to 1).

    Drops:
        no_answer: The solution states no answer, or none that is likely enough; the match names the reason.
        low_confidence: An answer was found, with a confidence below min_confidence.
    """
    return per_row(check_extract, rows, column=column, overwrite=overwrite, min_confidence=min_confidence)


def check_extract(row: Row, *, column: str, overwrite: bool, min_confidence: float) -> Row | Dropped:
    """Extract the answer of one row; see `extract`."""
    if not overwrite and str(row.get("answer") or "").strip():
        return row
    problem = row.get("problem")
    extraction = extract_answer(text(row, column), problem if isinstance(problem, str) else None)
    if extraction.answer is None:
        return Dropped(row, "no_answer", extraction.method)
    confidence = round(extraction.confidence, 4)
    new = {**row, "answer": extraction.answer, "answer_method": extraction.method, "answer_confidence": confidence}
    return Dropped(new, "low_confidence", confidence) if extraction.confidence < min_confidence else new
