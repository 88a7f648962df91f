"""A run's report: `report.md`, a self-contained `report.html`, pictures, and a card in every model it made.

Reads files of the run folder only, so it can be written again at any time, of an unfinished run too.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

from light_r1.atomic import write_whole
from light_r1.metrics import Estimate
from light_r1.model_card import write_cards
from light_r1.plots import draw_all
from light_r1.run_summary import RunSummary, StageSummary, read_run, score_name

_SAMPLES = 3
_LONGEST_SAMPLE = 1500
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse}th,td{padding:.3rem .7rem;border-bottom:1px solid #ddd;text-align:right}"
    "th:first-child,td:first-child{text-align:left}img{max-width:100%}"
    "pre{background:#f6f6f6;padding:.7rem;white-space:pre-wrap;overflow-wrap:anywhere}"
)


def write_report(root: Path) -> None:
    """Write the report of a run folder.

    Raises:
        RunDirError: It is not a run folder.
    """
    run = read_run(root)
    pictures = draw_all(run, root / "plots")
    write_whole(root / "report.md", _markdown(run, pictures))
    write_whole(root / "report.html", _html(run, pictures))
    write_cards(run)


def table_text(root: Path) -> str:
    """Return the table of stages as text, with where the rest of the report is."""
    run = read_run(root)
    lines = [*_md_table(*stage_table(run)), "", *_notes(run), f"More: {root / 'report.html'}"]
    return "\n".join(lines)


def stage_table(run: RunSummary) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the table of stages."""
    header = ["stage", "rows", "steps", "tokens", "time"]
    for benchmark in run.benchmarks:
        scored = next(stage for stage in run.stages if benchmark in stage.scores)
        header += [f"{benchmark} {score_name(scored.scores[benchmark])}", "change", "truncated", "mean tokens"]
    return header, [_row(run, stage) for stage in run.stages]


def _row(run: RunSummary, stage: StageSummary) -> list[str]:
    done = stage.manifest
    if done is None:
        cells = [stage.name, "not done", "", "", ""]
    else:
        rows = done.get("rows")
        cells = [
            stage.name,
            f"{rows['kept']:,} of {rows['in']:,}" if rows else "",
            f"{done['steps']:,}" if done.get("steps") else "",
            f"{done['tokens']:,}" if done.get("tokens") else "",
            _duration(done["seconds"]),
        ]
    for benchmark in run.benchmarks:
        scores = stage.scores.get(benchmark)
        if scores is None:
            cells += ["", "", "", ""]
            continue
        change = run.change(stage, benchmark)
        cells += [
            f"{100 * scores[score_name(scores)]:.1f} ± {100 * scores['se']:.1f}",
            _change(change) if change else "",
            f"{100 * scores['truncated']:.1f}%",
            f"{scores['tokens']:.0f}",
        ]
    return cells


def _change(change: Estimate) -> str:
    return f"{100 * change.mean:+.1f} ± {100 * change.se:.1f}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _notes(run: RunSummary) -> list[str]:
    notes = []
    if run.benchmarks:
        notes.append("Scores are means over questions in percent, ± one standard error clustered by question.")
        notes.append("The change is against the stage's first input, paired by question.")
    return notes


def _funnel_rows(run: RunSummary) -> list[list[str]]:
    found = []
    for stage in run.stages:
        rows = (stage.manifest or {}).get("rows")
        if rows:
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in rows["dropped"].items()) or "none"
            found.append([stage.name, f"{rows['in']:,}", f"{rows['kept']:,}", reasons])
    return found


def _chosen_samples(stage: StageSummary) -> list[tuple[str, str]]:
    """Return a heading and the text of a few samples, a right and a wrong one among them if there are both."""
    rng = Random(stage.name)
    order = rng.sample(stage.samples, len(stage.samples))
    picked: list[dict[str, object]] = []
    for wanted in (True, False):
        picked += [sample for sample in order if sample["correct"] is wanted][:1]
    picked += [sample for sample in order if sample not in picked][: _SAMPLES - len(picked)]
    return [(_verdict(sample), _shortened(str(sample["text"]))) for sample in picked]


def _verdict(sample: Mapping[str, object]) -> str:
    state = {True: "right", False: "wrong"}.get(sample["correct"], "not judged")  # type: ignore[call-overload]
    cut = "" if sample["finished"] else ", cut by the length limit"
    return f"{state}, {sample['n_tokens']} tokens{cut}"


def _shortened(text: str) -> str:
    if len(text) <= _LONGEST_SAMPLE:
        return text
    half = _LONGEST_SAMPLE // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half:,} characters ...]\n{text[-half:]}"


def _markdown(run: RunSummary, pictures: Mapping[str, Path]) -> str:
    header, rows = stage_table(run)
    parts = [f"# {run.name}", "", *_md_table(header, rows), "", *_notes(run)]
    funnel = _funnel_rows(run)
    if funnel:
        parts += ["", "## Data", "", *_md_table(["stage", "in", "kept", "dropped"], funnel)]
    parts += ["", "## Pictures", ""]
    parts += [f"![{title}]({path.relative_to(run.root)})" for title, path in pictures.items()]
    for stage in run.stages:
        for index, (verdict, text) in enumerate(_chosen_samples(stage)):
            if index == 0:
                parts += ["", f"## Samples after {stage.name}"]
            parts += ["", f"{verdict}:", "", "```", text, "```"]
    return "\n".join(parts) + "\n"


def _md_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    return [line(header), "|" + "|".join("-" * (width + 2) for width in widths) + "|", *map(line, rows)]


def _html(run: RunSummary, pictures: Mapping[str, Path]) -> str:
    header, rows = stage_table(run)
    parts = [f"<h1>{html.escape(run.name)}</h1>", _html_table(header, rows)]
    parts += [f"<p>{html.escape(note)}</p>" for note in _notes(run)]
    funnel = _funnel_rows(run)
    if funnel:
        parts += ["<h2>Data</h2>", _html_table(["stage", "in", "kept", "dropped"], funnel)]
    parts.append("<h2>Pictures</h2>")
    for title, path in pictures.items():
        data = base64.b64encode(path.read_bytes()).decode()
        parts.append(
            f'<h3>{html.escape(title)}</h3><img alt="{html.escape(title)}" src="data:image/png;base64,{data}">'
        )
    for stage in run.stages:
        samples = _chosen_samples(stage)
        if samples:
            parts.append(f"<h2>Samples after {html.escape(stage.name)}</h2>")
        parts += [f"<p>{html.escape(verdict)}</p><pre>{html.escape(text)}</pre>" for verdict, text in samples]
    body = "\n".join(parts)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{html.escape(run.name)}</title><style>{_STYLE}</style></head><body>\n{body}\n</body></html>\n"
    )


def _html_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
