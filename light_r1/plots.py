"""Pictures of a run: scores by stage, learning curves, response lengths, the data funnel, pass rates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from data_tools.rows import read_rows
from light_r1.run_summary import RunSummary, StageSummary, score_name

_CURVES: dict[str, tuple[tuple[str, str], ...]] = {
    "sft": (("loss", "loss"), ("eval_loss", "held-out loss")),
    "dpo": (("rewards/margins", "margin"), ("loss", "loss")),
    "grpo": (("reward", "reward"), ("entropy", "entropy")),
}
_LENGTHS = (
    ("completions/mean_length", "mean length"),
    ("completions/max_length", "longest"),
    ("context/max_completion_length", "context"),
)
_SIZE = (7.0, 3.2)


def draw_all(run: RunSummary, folder: Path) -> dict[str, Path]:
    """Draw every picture that the run has data for.

    Args:
        run: The run.
        folder: Where the PNG files go.

    Returns:
        Title -> file, in the order of the report.
    """
    import matplotlib

    matplotlib.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    drawn: dict[str, Path] = {}

    def save(title: str, name: str, draw: Callable[[Any], None]) -> None:
        from matplotlib import pyplot

        figure, axes = pyplot.subplots(figsize=_SIZE, dpi=110)
        draw(axes)
        axes.spines[["top", "right"]].set_visible(False)
        figure.tight_layout()
        figure.savefig(folder / name)
        pyplot.close(figure)
        drawn[title] = folder / name

    for benchmark in run.benchmarks:
        save(f"Scores on {benchmark}", f"scores-{benchmark}.png", partial(_scores, run=run, benchmark=benchmark))
    for stage in run.stages:
        for key, label in _CURVES.get(stage.type, ()):
            if _has(stage, key):
                file = f"{stage.name}-{label.replace(' ', '-')}.png"
                save(f"{stage.name}: {label}", file, partial(_curve, stage=stage, keys=[(key, label)]))
        if any(_has(stage, key) for key, _ in _LENGTHS):
            file = f"{stage.name}-length.png"
            save(f"{stage.name}: response length", file, partial(_curve, stage=stage, keys=_LENGTHS))
        rates = _pass_rates(stage)
        if rates:
            save(f"{stage.name}: pass rates", f"{stage.name}-pass-rates.png", partial(_histogram, rates=rates))
    funnel = [stage for stage in run.stages if stage.manifest and stage.manifest.get("rows")]
    if funnel:
        save("Data funnel", "funnel.png", partial(_funnel, stages=funnel))
    return drawn


def _has(stage: StageSummary, key: str) -> bool:
    return sum(key in event for event in stage.curve) > 1


def _scores(axes: Any, run: RunSummary, benchmark: str) -> None:
    scored = [stage for stage in run.stages if benchmark in stage.scores]
    name = score_name(scored[0].scores[benchmark])
    values = [100 * stage.scores[benchmark][name] for stage in scored]
    errors = [100 * stage.scores[benchmark]["se"] for stage in scored]
    axes.errorbar(range(len(scored)), values, yerr=errors, fmt="o-", capsize=4)
    axes.set_xticks(range(len(scored)), [stage.name for stage in scored])
    axes.set_ylabel(f"{name} on {benchmark}, % ± SE")
    axes.set_ylim(0, max(1.0, 1.15 * max(values)))


def _curve(axes: Any, stage: StageSummary, keys: Sequence[tuple[str, str]]) -> None:
    for key, label in keys:
        points = [(event["step"], event[key]) for event in stage.curve if key in event and "step" in event]
        if points:
            axes.plot(*zip(*points, strict=True), label=label, marker="." if len(points) < 30 else None)
    axes.set_xlabel("optimizer step")
    if len(keys) > 1:
        axes.legend(frameon=False)
    else:
        axes.set_ylabel(keys[0][1])


def _pass_rates(stage: StageSummary) -> list[float]:
    """Return the pass rates that a data stage has sampled, those of the rows it dropped as well."""
    if stage.type != "data" or not stage.manifest:
        return []
    rows = list(read_rows(stage.folder / "output/rows.jsonl"))
    dropped = stage.folder / "dropped.jsonl"
    rows += [entry["row"] for entry in read_rows(dropped)] if dropped.exists() else []
    return [row["pass_rate"] for row in rows if isinstance(row.get("pass_rate"), int | float)]


def _histogram(axes: Any, rates: Sequence[float]) -> None:
    axes.hist(rates, bins=[i / 10 for i in range(11)], rwidth=0.9)
    axes.set_xlabel("pass rate")
    axes.set_ylabel("problems")


def _funnel(axes: Any, stages: Sequence[StageSummary]) -> None:
    names = [stage.name for stage in stages][::-1]
    counts = [stage.manifest["rows"] for stage in stages if stage.manifest][::-1]
    axes.barh(names, [count["in"] for count in counts], color="0.85", label="in")
    axes.barh(names, [count["kept"] for count in counts], height=0.5, label="kept")
    for index, count in enumerate(counts):
        axes.text(count["in"], index, f" {count['kept']:,} of {count['in']:,}", va="center", fontsize=8)
    axes.set_xlabel("rows (pairs for dpo)")
    axes.margins(x=0.25)
    axes.legend(frameon=False, loc="lower right")
