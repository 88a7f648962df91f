"""The `difficulty` tool: keep the problems whose pass rate for a model lies in a window.

Filters of papers are presets; a threshold that a paper never published is a required argument. This module
only counts: sampling is the business of whoever fills the rollout store.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from data_tools.engine.execution import per_row
from data_tools.errors import DataToolsError
from data_tools.rollouts.pass_rates import (
    Interval,
    Window,
    count_correct,
    published_rate,
    store_counts,
    wilson_interval,
)
from data_tools.rollouts.store import prompt_id
from data_tools.rows.columns import missing_column
from data_tools.rows.row import Dropped, Row, place_of

Preset = Literal["light-r1-stage1", "light-r1-stage2", "light-r1-grpo", "open-r1", "open-r1-dapo", "limr"]

_STRICT = {"min_inclusive": False, "max_inclusive": False}
_PRESETS: dict[str, dict[str, Any]] = {
    # Light-R1 (arXiv 2503.10460) §3.1.3: pass rate < alpha; stage 2 also drops all right and all wrong.
    "light-r1-stage1": {"max_inclusive": False},
    "light-r1-stage2": {"max_inclusive": False, "mixed": True},
    # §4: "between 0.25 and 0.625"; whether the bounds belong to it is not published, so both are options.
    "light-r1-grpo": {"min_pass_rate": 0.25, "max_pass_rate": 0.625},
    # open-r1, scripts/pass_rate_filtering: its defaults, and those of its DAPO recipe.
    "open-r1": {"min_pass_rate": 0.1, "max_pass_rate": 0.9, **_STRICT},
    "open-r1-dapo": {"min_pass_rate": 0.1, "max_pass_rate": 0.6, **_STRICT},
    # LIMR (arXiv 2502.11886): LIM score of at least 0.6; keeps exactly its 1,389 published problems.
    "limr": {"score_column": "score", "min_score": 0.6},
}
_WINDOW_FIELDS = {
    "low": "min_pass_rate",
    "high": "max_pass_rate",
    "mixed": "mixed",
    "low_inclusive": "min_inclusive",
    "high_inclusive": "max_inclusive",
}
_UNPUBLISHED = {"light-r1-stage1": "max_pass_rate", "light-r1-stage2": "max_pass_rate"}


def difficulty(
    rows: Iterable[Row],
    *,
    preset: Preset | None = None,
    min_pass_rate: float | None = None,
    max_pass_rate: float | None = None,
    min_inclusive: bool | None = None,
    max_inclusive: bool | None = None,
    mixed: bool | None = None,
    interval: Interval = "point",
    confidence: float = 0.95,
    min_n: int = 1,
    rollouts: Path | None = None,
    model: str | None = None,
    rate_column: str | None = None,
    score_column: str | None = None,
    min_score: float | None = None,
    max_score: float | None = None,
) -> Iterator[Row | Dropped]:
    """Keep problems whose pass rate under a model lies in a window.

    The pass rate comes from the rollout store, else `rate_column`, else the row's `responses` or `rollouts` (items
    with `correct`; null is not judged), else `n_correct` and `n`, else `pass_rate`. Adds `n_correct`, `n` (judged
    samples), `pass_rate`, `pass_rate_low`, `pass_rate_high` (its interval); without bounds it does no more.

    Args:
        rows: Problems.
        preset: A paper's filter; options beside it override it. The light-r1 stages need max_pass_rate (unpublished).
        min_pass_rate: Lower bound.
        max_pass_rate: Upper bound.
        min_inclusive: Keep a rate equal to the lower bound (default true).
        max_inclusive: Keep a rate equal to the upper bound (default true).
        mixed: Drop problems whose samples are all right or all wrong (default false).
        interval: Compared with the bounds: the `point`, or the Wilson interval, which `overlaps` or is `inside`.
        confidence: Of the Wilson interval.
        min_n: Judged samples that a problem must have.
        rollouts: A rollout store (JSONL) to count from, matched by problem text.
        model: Count only this model's rollouts in the store.
        rate_column: A published pass rate: a number from 0 to 1, or text `k/n`.
        score_column: A published score to filter by instead (LIMR `score`, a `difficulty`).
        min_score: Keep scores of at least this.
        max_score: Keep scores of at most this.

    Drops:
        too_easy: Pass rate above the window.
        too_hard: Pass rate below the window.
        all_right: Every sample is right (mixed).
        all_wrong: Every sample is wrong (mixed).
        uncertain: The interval reaches out of the window (interval inside).
        too_few_samples: Fewer judged samples than min_n.
        no_rollouts: No judged sample.
        no_score: The score is null.
        low_score: The score is below min_score.
        high_score: The score is above max_score.
    """
    bounds: dict[str, Any] = {"min_pass_rate": min_pass_rate, "max_pass_rate": max_pass_rate, "mixed": mixed}
    bounds |= {"min_inclusive": min_inclusive, "max_inclusive": max_inclusive}
    bounds |= {"score_column": score_column, "min_score": min_score, "max_score": max_score}
    options = _with_preset(preset, bounds)
    compared: dict[str, Any] = {"interval": interval, "confidence": confidence, "min_n": min_n}
    criteria = _criteria(options, stored=rollouts is not None, rate_column=rate_column, **compared)
    counted = rows if rollouts is None else _with_counts(rows, store_counts(rollouts, model=model))
    return per_row(check_difficulty, counted, criteria=criteria)


def window_of(*, preset: Preset | None = None, interval: Interval = "point", **options: Any) -> Window | None:
    """Return the window of pass rates that options of `difficulty` keep.

    Args:
        preset: See `difficulty`.
        interval: See `difficulty`.
        **options: Its other options.

    Returns:
        None where no bound is given, or where an interval or a published rate or score decides instead of the counts
        of a row's samples.

    Raises:
        DataToolsError: If a preset lacks a bound that its paper does not publish, or the bounds are no window.
    """
    settled = _with_preset(preset, options)
    elsewhere = interval != "point" or any(name in settled for name in ("rollouts", "rate_column", "score_column"))
    bounds = {field: settled[name] for field, name in _WINDOW_FIELDS.items() if name in settled}
    return None if elsewhere or not bounds else Window(**bounds)


@dataclass(frozen=True, slots=True)
class Criteria:
    """The options of `difficulty`, settled.

    Args:
        window: Pass rates to keep.
        interval: What is compared with the window.
        confidence: Of the Wilson interval.
        min_n: Judged samples that a problem must have.
        rated: Whether pass rates are asked for at all.
        stored: Whether `n_correct` and `n` come from a rollout store and outrank the row's own samples.
        rate_column: Column of a published pass rate.
        score_column: Column of a published score.
        min_score: Lowest score kept.
        max_score: Highest score kept.
    """

    window: Window
    interval: Interval
    confidence: float
    min_n: int
    rated: bool
    stored: bool
    rate_column: str | None
    score_column: str | None
    min_score: float | None
    max_score: float | None


def _criteria(options: Mapping[str, Any], *, stored: bool, rate_column: str | None, **compared: Any) -> Criteria:
    """Settle what is compared with what; rates are asked for unless only a score is to decide."""
    bounds = {field: options[name] for field, name in _WINDOW_FIELDS.items() if name in options}
    return Criteria(
        window=Window(**bounds),
        rated=bool(bounds) or stored or rate_column is not None or "score_column" not in options,
        stored=stored,
        rate_column=rate_column,
        score_column=options.get("score_column"),
        min_score=options.get("min_score"),
        max_score=options.get("max_score"),
        **compared,
    )


def check_difficulty(row: Row, *, criteria: Criteria) -> Row | Dropped:
    """Add a row's pass rate, and drop the row if it is outside the window; see `difficulty`."""
    if criteria.score_column is not None and (reason := _score_reason(row, criteria)):
        return Dropped(row, reason)
    if not criteria.rated:
        return row
    rate, counts = _rate(row, criteria)
    if rate is None:
        return Dropped(row, "no_rollouts")
    if counts is None:
        if criteria.interval != "point" or criteria.min_n > 1:
            raise DataToolsError(f"{place_of(row)}: an interval or min_n needs counts; the row has only a rate")
        reason = criteria.window.reason(rate)
        return Dropped(row, reason) if reason else {**row, "pass_rate": rate}
    low, high = wilson_interval(*counts, confidence=criteria.confidence)
    counted = {"n_correct": counts[0], "n": counts[1], "pass_rate": rate}
    counted |= {"pass_rate_low": low, "pass_rate_high": high}
    if counts[1] < criteria.min_n:
        return Dropped({**row, **counted}, "too_few_samples")
    reason = criteria.window.interval_reason(rate, (low, high), interval=criteria.interval)
    return Dropped({**row, **counted}, reason) if reason else {**row, **counted}


def _rate(row: Row, criteria: Criteria) -> tuple[float | None, tuple[int, int] | None]:
    """Return a row's pass rate (None without judged samples) and, where known, its counts."""
    if criteria.stored:
        counts: tuple[int, int] | None = (row["n_correct"], row["n"])
    elif criteria.rate_column is not None:
        return published_rate(row, criteria.rate_column)
    else:
        counts = count_correct(row)
        if counts is None and "pass_rate" in row:
            return published_rate(row, "pass_rate")
    if counts is None:
        raise DataToolsError(
            f"{place_of(row)}: no pass rate: expected `responses`, `n_correct` and `n`, or `pass_rate`; else name a "
            f"--rate-column, a --score-column or a store of --rollouts. The columns are {', '.join(sorted(row))}."
        )
    return (counts[0] / counts[1] if counts[1] else None), counts


def _score_reason(row: Row, criteria: Criteria) -> str | None:
    """Return why a row's published score is outside the bounds, or None if it is inside."""
    column = criteria.score_column or ""
    if column not in row:
        raise DataToolsError(missing_column(row, column))
    score = row[column]
    if score is None:
        return "no_score"
    if not isinstance(score, int | float) or isinstance(score, bool):
        raise DataToolsError(f"{place_of(row)}: column `{column}` holds no number: {score!r}")
    if criteria.min_score is not None and score < criteria.min_score:
        return "low_score"
    return "high_score" if criteria.max_score is not None and score > criteria.max_score else None


def _with_counts(rows: Iterable[Row], counts: Mapping[str, tuple[int, int]]) -> Iterator[Row]:
    """Put a store's counts into the rows; 0 of 0 where it has none."""
    for row in rows:
        n_correct, n = counts.get(prompt_id(row), (0, 0))
        yield {**row, "n_correct": n_correct, "n": n}


def _with_preset(preset: Preset | None, bounds: Mapping[str, Any]) -> dict[str, Any]:
    """Return a preset's options with the given ones (not None) on top."""
    bounds = {name: value for name, value in bounds.items() if value is not None}
    missing = _UNPUBLISHED.get(preset or "")
    if missing and missing not in bounds:
        raise DataToolsError(
            f"preset {preset} needs {missing}: the paper keeps pass rates below a threshold alpha and never "
            f"prints its value (Light-R1, arXiv 2503.10460 §3.1.3)"
        )
    return {**(_PRESETS[preset] if preset else {}), **bounds}
