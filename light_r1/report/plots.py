"""Plots of a run: scores and lengths by stage, learning curves, GRPO metrics, the data funnel, pass rates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from data_tools.rows.files import read_rows, written_whole
from light_r1.report.summary import FunnelRow, RunSummary, StageSummary, score_name

_SIZE = (7.0, 3.2)
_NOISY = 30  # points from which on a curve is drawn smoothed, over the faint points
_LIMIT = "context"  # the line that is a setting, not a measurement


@dataclass(frozen=True, slots=True)
class Panel:
    """What one picture of a stage's training shows.

    Args:
        title: Its title; also the name of its file.
        lines: (logged key, label); a `*` in a key stands for one name, which becomes the label.
        ylabel: Label of the axis.
        with_reward: Draw it only where a reward is logged (True), only where none is (False), or wherever its metrics
            are.
    """

    title: str
    lines: tuple[tuple[str, str], ...]
    ylabel: str
    with_reward: bool | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that was drawn.

    Args:
        title: Its title.
        path: Its file.
        section: `scores`, `data`, or the name of the stage it is about.
    """

    title: str
    path: Path
    section: str


_REWARD = "reward"  # logged by reinforcement learning alone, whose loss says nothing about progress
PANELS = (
    Panel(
        "implicit rewards",
        (("rewards/margins", "margin"), ("rewards/chosen", "chosen"), ("rewards/rejected", "rejected")),
        "implicit reward",
    ),
    Panel("loss", (("loss", "training"), ("eval_loss", "held out")), "loss", with_reward=False),
    Panel("loss by difficulty", (("difficulty/*/loss", ""),), "loss", with_reward=False),
    Panel("reward", ((_REWARD, "all, weighted"), ("rewards/*/mean", "")), "mean reward", with_reward=True),
    Panel(
        "response length",
        (
            ("context/max_completion_length", _LIMIT),
            ("completions/max_length", "longest"),
            ("completions/mean_length", "mean"),
            ("completions/mean_terminated_length", "mean of finished"),
        ),
        "tokens",
    ),
    Panel("truncated share", (("completions/clipped_ratio", "truncated"),), "share of responses"),
    Panel("entropy", (("entropy", "entropy"),), "nats per token", with_reward=True),
    Panel(
        "clip share",
        (
            ("clip_ratio/region_mean", "either side"),
            ("clip_ratio/low_mean", "low side"),
            ("clip_ratio/high_mean", "high side"),
        ),
        "share of tokens",
    ),
    Panel("KL", (("kl", "KL"),), "KL to the reference"),
    Panel("groups without signal", (("frac_reward_zero_std", "all rewards equal"),), "share of groups"),
)


def draw_all(run: RunSummary, folder: Path) -> list[Picture]:
    """Draw every picture that the run has data for.

    Args:
        run: The run.
        folder: Where the PNG files go.

    Returns:
        The pictures, in the order of the report.
    """
    import matplotlib

    matplotlib.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    return [_draw(folder, *planned) for planned in [*_of_scores(run), *_of_data(run), *_of_training(run)]]


Planned = tuple[str, str, Callable[[Any], None]]


def _draw(folder: Path, section: str, title: str, draw: Callable[[Any], None]) -> Picture:
    from matplotlib import pyplot

    path = folder / f"{section}-{title}.png".lower().replace(" ", "-").replace("/", "-")
    figure, axes = pyplot.subplots(figsize=_SIZE, dpi=110)
    draw(axes)
    axes.set_title(title if section in ("scores", "data") else f"{section}: {title}", loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    with written_whole(path) as temporary:
        figure.savefig(temporary, format="png")
    pyplot.close(figure)
    return Picture(title, path, section)


def _of_scores(run: RunSummary) -> list[Planned]:
    planned: list[Planned] = []
    for benchmark in run.benchmarks:
        scored = [stage for stage in run.stages if benchmark in stage.scores]
        planned.append(("scores", benchmark, partial(_scores, stages=scored, benchmark=benchmark)))
        planned.append(("scores", f"{benchmark} length", partial(_lengths, stages=scored, benchmark=benchmark)))
        if all("by_difficulty" in stage.scores[benchmark] for stage in scored):
            draw = partial(_by_difficulty, stages=scored, benchmark=benchmark)
            planned.append(("scores", f"{benchmark} by difficulty", draw))
    return planned


def _of_data(run: RunSummary) -> list[Planned]:
    rows = run.funnel()
    planned: list[Planned] = [("data", "funnel", partial(_funnel, rows=rows))] if rows else []
    for stage in run.stages:
        kept, dropped = _pass_rates(stage)
        if kept or dropped:
            draw = partial(_histogram, kept=kept, dropped=dropped)
            planned.append(("data", f"pass rates of {stage.name}", draw))
    return planned


def _of_training(run: RunSummary) -> list[Planned]:
    planned: list[Planned] = []
    for stage in run.stages:
        rewarded = any(_REWARD in event for event in stage.curve)
        for panel in PANELS:
            if panel.with_reward not in (None, rewarded):
                continue
            lines = series(stage.curve, panel)
            if any(len(points) > 1 for points in lines.values()):
                planned.append((stage.name, panel.title, partial(_curves, lines=lines, ylabel=panel.ylabel)))
    return planned


def series(curve: Sequence[dict[str, Any]], panel: Panel) -> dict[str, list[tuple[int, float]]]:
    """Return label -> (step, value) points of a panel's lines, those that were logged."""
    points_by_label: dict[str, list[tuple[int, float]]] = {}
    keys = sorted({key for event in curve for key in event})
    for pattern, label in panel.lines:
        before, star, after = pattern.partition("*")
        for key in keys:
            name = key[len(before) : len(key) - len(after)]
            if key != pattern and not (star and key == f"{before}{name}{after}" and name and "/" not in name):
                continue
            points = [(event["step"], event[key]) for event in curve if key in event]
            if points not in points_by_label.values():  # a single reward is also the sum of all
                points_by_label[label or name] = points
    return points_by_label


def _curves(axes: Any, lines: dict[str, list[tuple[int, float]]], ylabel: str) -> None:
    for label, points in lines.items():
        steps, values = zip(*points, strict=True)
        if label == _LIMIT:
            axes.step(steps, values, where="post", label=label, color="0.6", linestyle="--")
        elif len(points) < _NOISY:
            axes.plot(steps, values, label=label, marker=".")
        else:
            (noisy,) = axes.plot(steps, values, alpha=0.25)
            axes.plot(steps, smoothed(values), label=label, color=noisy.get_color())
    axes.set_xlabel("optimizer step")
    axes.set_ylabel(ylabel)
    axes.xaxis.get_major_locator().set_params(integer=True)
    if len(lines) > 1:
        axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))


def smoothed(values: Sequence[float]) -> list[float]:
    """Return the mean over a window around each value, a tenth of them wide, narrower at both ends."""
    reach = len(values) // 20
    means = []
    for place in range(len(values)):
        near = min(reach, place, len(values) - 1 - place)
        means.append(fmean(values[place - near : place + near + 1]))
    return means


def _by_stage(axes: Any, stages: Sequence[StageSummary]) -> None:
    axes.set_xticks(range(len(stages)), [stage.name for stage in stages], rotation=20 if len(stages) > 6 else 0)


def _scores(axes: Any, stages: Sequence[StageSummary], benchmark: str) -> None:
    scores = [stage.scores[benchmark] for stage in stages]
    values = [100 * score[score_name(score)] for score in scores]
    axes.errorbar(range(len(stages)), values, yerr=[100 * s["se"] for s in scores], fmt="o-", capsize=4)
    for place, value in enumerate(values):
        axes.annotate(
            f"{value:.1f}", (place, value), xytext=(0, 9), textcoords="offset points", ha="center", fontsize=8
        )
    _by_stage(axes, stages)
    axes.set_ylabel(f"{score_name(scores[0])}, % ± SE")
    axes.set_ylim(0, max(1.0, 1.25 * max(values)))


def _lengths(axes: Any, stages: Sequence[StageSummary], benchmark: str) -> None:
    axes.bar(range(len(stages)), [stage.scores[benchmark]["tokens"] for stage in stages], width=0.6)
    for index, stage in enumerate(stages):
        scores = stage.scores[benchmark]
        axes.text(
            index, scores["tokens"], f"{100 * scores['truncated']:.0f}% cut", ha="center", va="bottom", fontsize=8
        )
    _by_stage(axes, stages)
    axes.set_ylabel("mean tokens a response")
    axes.margins(y=0.15)


def _by_difficulty(axes: Any, stages: Sequence[StageSummary], benchmark: str) -> None:
    for stage in stages:
        rates = stage.scores[benchmark]["by_difficulty"]
        axes.plot(list(rates), [100 * rate for rate in rates.values()], marker="o", label=stage.name)
    axes.set_xlabel("difficulty")
    axes.set_ylabel("right, %")
    axes.set_ylim(0, 105)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))


def _pass_rates(stage: StageSummary) -> tuple[list[float], list[float]]:
    """Return the pass rates of the rows that a data stage kept and of those that it dropped."""
    written = stage.folder / "output/rows.jsonl"
    if (
        stage.makes != "rows" or not stage.manifest or not written.exists()
    ):  # a type of one's own may name it otherwise
        return [], []
    aside = stage.folder / "dropped.jsonl"
    dropped = (entry["row"] for entry in read_rows(aside)) if aside.exists() else ()
    kept = read_rows(written)
    both = [
        [row["pass_rate"] for row in rows if isinstance(row.get("pass_rate"), int | float)] for rows in (kept, dropped)
    ]
    return both[0], both[1]


def _histogram(axes: Any, kept: Sequence[float], dropped: Sequence[float]) -> None:
    bins = [i / 10 for i in range(11)]
    axes.hist([kept, dropped], bins=bins, rwidth=0.9, stacked=True, color=["C0", "0.8"], label=["kept", "dropped"])
    axes.set_xlabel("pass rate")
    axes.set_ylabel("problems")
    axes.legend(frameon=False)


def _funnel(axes: Any, rows: Sequence[FunnelRow]) -> None:
    shown = rows[::-1]
    places = range(len(shown))
    axes.barh(places, [row.rows_in for row in shown], color="0.85", label="in")
    axes.barh(places, [row.kept for row in shown], height=0.5, label="kept, or made")
    for place, row in zip(places, shown, strict=True):
        axes.text(max(row.rows_in, row.kept), place, f" {row.text}", va="center", fontsize=8)
    axes.set_yticks(places, [row.name for row in shown], fontsize=8)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("rows")
    axes.margins(x=0.25)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)
