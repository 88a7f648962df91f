"""One-line summary of a finished stage; sizes and durations in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from light_r1.run_dir.manifest import RowCounts

_NUMBERS = {
    "reward": "reward",
    "rewards/margins": "margin",
    "loss": "loss",
    "eval_loss": "held-out loss",
    "mean_pass_rate": "mean pass rate",
}


def outcome_text(
    metrics: Mapping[str, float], *, rows: RowCounts | None, tokens: int | None, steps: int | None
) -> str:
    """Return the outcome of a stage: its scores if it has any, else rows, steps, tokens and its main numbers."""
    scores = list(_scores(metrics))
    return ", ".join(scores or _parts(metrics, rows, tokens, steps))


def _parts(
    metrics: Mapping[str, float], rows: RowCounts | None, tokens: int | None, steps: int | None
) -> Iterator[str]:
    if rows is not None:
        yield funnel_text(rows.seen, rows.kept, unit=rows.unit)
        yield from (f"{count:,} {reason}" for reason, count in rows.dropped.items())
    if steps:
        yield f"{steps:,} step{'s' if steps > 1 else ''}"
    if tokens:
        yield f"{tokens:,} tokens"
    for key, name in _NUMBERS.items():
        # The loss of a policy gradient says nothing about progress.
        if key in metrics and not (key == "loss" and "reward" in metrics):
            yield f"{name} {metrics[key]:.4g}"


def _scores(metrics: Mapping[str, float]) -> Iterator[str]:
    for key, value in metrics.items():
        benchmark, slash, name = key.rpartition("/")
        if slash and name.startswith("avg@"):
            score = f"{100 * value:.1f} ± {100 * metrics[f'{benchmark}/se']:.1f}%"
            cut, length = metrics[f"{benchmark}/truncated"], metrics[f"{benchmark}/tokens"]
            yield f"{benchmark} {name} {score} ({length:,.0f} tokens a response, {100 * cut:.0f}% cut)"


def funnel_text(rows_in: int, kept: int, *, unit: str) -> str:
    """Return how many rows, or pairs, came out of how many."""
    return f"{kept:,} of {rows_in:,} rows" if unit == "rows" else f"{kept:,} {unit} from {rows_in:,}"


def duration(seconds: float) -> str:
    """Return a time for people: `41 s`, `11 min 41 s`, `3 h 05 min`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def readable_bytes(size: float) -> str:
    """Return a size in words, `1.5 GB` (powers of 1000)."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
