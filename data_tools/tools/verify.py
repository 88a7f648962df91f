"""The `verify` tool: judge a column of predictions against a column of answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from data_tools.answers.verify import Verdict, verify
from data_tools.engine.execution import per_row
from data_tools.errors import DataToolsError
from data_tools.rows.columns import missing_column
from data_tools.rows.row import Dropped, Row, place_of


def verify_rows(
    rows: Iterable[Row],
    *,
    prediction: str = "prediction",
    answer: str = "answer",
    keep: list[str] | None = None,
) -> Iterator[Row | Dropped]:
    """Judge predictions against answers; adds `correct`, `outcome` and `reason`.

    A prediction is a bare answer or a whole model output, an answer a text or a list of which each is right. A list
    of predictions is judged one by one: the three columns become lists and `pass_rate` is added; `keep` does not
    look at such a row.

    Args:
        rows: Rows with both columns.
        prediction: Column of the predictions.
        answer: Column of the gold answers.
        keep: Outcomes of the rows to keep (right, wrong, unparsable); all by default.

    Drops:
        right: The prediction is right and `keep` does not list it.
        wrong: The prediction is wrong and `keep` does not list it.
        unparsable: One side could not be read and `keep` does not list it.
    """
    yield from per_row(check_verify, rows, prediction=prediction, answer=answer, keep=keep)


def check_verify(row: Row, *, prediction: str, answer: str, keep: list[str] | None) -> Row | Dropped:
    """Judge one row; see `verify_rows`.

    Raises:
        DataToolsError: A column is missing, or is neither a text nor a list of texts.
    """
    golds = _texts(row, answer)
    predictions = _texts(row, prediction)
    verdicts = [verify(text, golds) for text in predictions]
    if isinstance(row[prediction], list):
        return {
            **row,
            "correct": [verdict.correct for verdict in verdicts],
            "outcome": [verdict.outcome for verdict in verdicts],
            "reason": [verdict.reason for verdict in verdicts],
            "pass_rate": sum(verdict.correct for verdict in verdicts) / len(verdicts) if verdicts else None,
        }
    judged = _with_verdict(row, verdicts[0])
    if keep is not None and verdicts[0].outcome not in keep:
        return Dropped(judged, verdicts[0].outcome, verdicts[0].reason)
    return judged


def _with_verdict(row: Row, verdict: Verdict) -> Row:
    return {**row, "correct": verdict.correct, "outcome": verdict.outcome, "reason": verdict.reason}


def _texts(row: Row, column: str) -> list[str]:
    """Return a column as texts; numbers are written out as JSON writes them."""
    if column not in row:
        raise DataToolsError(missing_column(row, column))
    value = row[column]
    texts = []
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, bool) or not isinstance(item, str | int | float):
            raise DataToolsError(f"{place_of(row)}: column {column!r} holds {type(item).__name__}, expected text")
        texts.append(str(item))
    return texts
