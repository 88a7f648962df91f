"""Write a run's report: `report.md`, a self-contained `report.html`, plots, and a card in every model folder.

Reads files of the run folder only, so it can be written again at any time, of an unfinished run too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from light_r1.report.blocks import Block, Heading, Image, Paragraph, Table, Verbatim, markdown, page, table_lines
from light_r1.report.handovers import HEAD, loaded_models, table_row
from light_r1.report.model_card import write_cards
from light_r1.report.plots import Picture, draw_all
from light_r1.report.summary import (
    START,
    RunSummary,
    StageSummary,
    chosen_questions,
    first_samples,
    read_run,
    score_name,
)
from light_r1.rollouts.scores import Estimate
from light_r1.run_dir.files import write_whole
from light_r1.run_dir.words import duration

_SAMPLES = 3
_LONGEST_SAMPLE = 1500


def write_report(run_root: Path) -> None:
    """Write the report of a run folder.

    Raises:
        RunDirError: It is not a run folder.
    """
    run = read_run(run_root)
    blocks = _blocks(run, draw_all(run, run_root / "plots"))
    write_whole(run_root / "report.md", markdown(blocks, run_root))
    write_whole(run_root / "report.html", page(run.name, blocks))
    write_cards(run)


def table_text(run_root: Path) -> str:
    """Return the table of stages as text, with where the rest of the report is."""
    run = read_run(run_root)
    lines = [*table_lines(*stage_table(run)), "", *_notes(run), f"More: {run_root / 'report.html'}"]
    return "\n".join(lines)


def stage_table(run: RunSummary) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the table of stages."""
    header = ["stage", "rows", "steps", "tokens", "time"]
    for benchmark in run.benchmarks:
        header += [f"{benchmark} {_score_name(run, benchmark)}", "change", "truncated", "mean tokens"]
    return header, [_row(run, stage) for stage in run.stages]


def _score_name(run: RunSummary, benchmark: str) -> str:
    return next(score_name(stage.scores[benchmark]) for stage in run.stages if benchmark in stage.scores)


def _row(run: RunSummary, stage: StageSummary) -> list[str]:
    done = stage.manifest
    if done is None:
        cells = [stage.name, "" if stage.type == START else "not done", "", "", ""]
    else:
        rows = done["rows"]
        funnel = [row for row in run.funnel() if row.name == stage.name]
        cells = [
            stage.name,
            funnel[0].text if funnel else f"{rows['kept']:,} of {rows['in']:,}" if rows else "",
            f"{done['steps']:,}" if done["steps"] else "",
            f"{done['tokens']:,}" if done["tokens"] else "",
            duration(done["seconds"]),
        ]
    for benchmark in run.benchmarks:
        cells += _score_cells(run, stage, benchmark)
    return cells


def _score_cells(run: RunSummary, stage: StageSummary, benchmark: str) -> list[str]:
    scores = stage.scores.get(benchmark)
    if scores is None:
        return ["", "", "", ""]
    change = run.change(stage, benchmark)
    name = score_name(scores)
    return [
        _percent(scores[name], scores["se"]) + ("" if name == _score_name(run, benchmark) else f" ({name})"),
        _change(change) if change else "",
        f"{100 * scores['truncated']:.1f}%",
        f"{scores['tokens']:,.0f}",
    ]


def _percent(mean: float, se: float) -> str:
    return f"{100 * mean:.1f} ± {100 * se:.1f}"


def _change(change: Estimate) -> str:
    return f"{100 * change.mean:+.1f} ± {100 * change.se:.1f}"


def _notes(run: RunSummary) -> list[str]:
    notes = []
    if run.benchmarks:
        notes.append("Scores are means over questions in percent, ± one standard error clustered by question.")
        notes.append("The change is against the stage's first input, paired by question.")
    return notes


def _blocks(run: RunSummary, pictures: Sequence[Picture]) -> list[Block]:
    def images(section: str) -> list[Block]:
        return [Image(picture.title, picture.path) for picture in pictures if picture.section == section]

    blocks: list[Block] = [Heading(run.name, 1), Paragraph(_summary(run)), Table(*stage_table(run))]
    blocks += [Paragraph(note) for note in _notes(run)]
    if run.benchmarks:
        blocks += [Heading("Scores"), *_score_blocks(run), *images("scores")]
    funnel = run.funnel()
    if funnel:
        rows = [[r.name, f"{r.rows_in:,}", f"{r.kept:,} {r.unit}", _reasons(r.dropped)] for r in funnel]
        blocks += [Heading("Data"), Table(["stage", "in", "out", "dropped"], rows), *images("data")]
    if loaded := loaded_models(run.root):
        blocks += [Heading("Handovers"), Paragraph(_HANDOVERS), Table(HEAD, [table_row(one) for one in loaded])]
    for stage in run.stages:
        curves = images(stage.name)
        if curves:
            blocks += [Heading(f"Training of {stage.name}"), *curves]
    for benchmark in run.benchmarks:
        blocks += _sample_blocks(run, benchmark)
    return blocks


_HANDOVERS = (
    "Each model as the stage behind it has found it: files whose bytes are those that were written, and the mean "
    "log-prob of a token on rows of its own data, before it was saved and after it was loaded. The distance is the "
    "mean absolute difference at the worst row."
)


def _summary(run: RunSummary) -> str:
    done = [stage for stage in run.stages if stage.manifest]
    expected = [stage for stage in run.stages if stage.type != START]
    seconds = sum(stage.manifest["seconds"] for stage in done if stage.manifest)
    model = run.recipe["model"]
    start = model["name_or_path"] or ("random weights" if model.get("init") else "")
    return (
        f"{len(done)} of {len(expected)} stages done{f' from {start}' if start else ''}, seed {run.recipe['seed']}. "
        f"{duration(seconds)} without evaluations."
    )


def _reasons(dropped: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in dropped.items()) or "none"


def _score_blocks(run: RunSummary) -> list[Block]:
    """Return every score of every stage, and how each stage compares with its inputs."""
    blocks: list[Block] = []
    for benchmark in run.benchmarks:
        scored = [stage for stage in run.stages if benchmark in stage.scores]
        main = _score_name(run, benchmark)
        keys = dict.fromkeys(key for stage in scored for key in stage.scores[benchmark])
        names = [key for key in keys if f"{key}_se" in keys]
        rows = []
        for stage in scored:
            scores = stage.scores[benchmark]
            average = _percent(scores[score_name(scores)], scores["se"])
            others = [_percent_of(scores, name) for name in names]
            rows.append([stage.name, average, *others, f"{100 * scores['unjudged']:.1f}%"])
        size = (
            f"{scored[0].scores[benchmark]['questions']} questions x {scored[0].scores[benchmark]['samples']} samples"
        )
        blocks += [Paragraph(f"{benchmark}, {size}:"), Table(["stage", main, *names, "unjudged"], rows)]
        compared = [
            [
                after,
                before,
                _change(c.change),
                f"{100 * c.low:+.1f} to {100 * c.high:+.1f}",
                f"{c.better}",
                f"{c.worse}",
            ]
            for after, before, c in run.comparisons(benchmark)
        ]
        if compared:
            header = ["stage", "against", "change", "95% by bootstrap", "questions better", "worse"]
            blocks.append(Table(header, compared))
    return blocks


def _percent_of(scores: Mapping[str, Any], name: str) -> str:
    return _percent(scores[name], scores[f"{name}_se"]) if name in scores else ""


def _sample_blocks(run: RunSummary, benchmark: str) -> list[Block]:
    """Return each scored stage's first sample for the same few questions."""
    scored = [stage for stage in run.stages if benchmark in stage.scores]
    questions = chosen_questions(scored[0].scores[benchmark], _SAMPLES)
    shown: dict[str, list[tuple[str, Mapping[str, Any]]]] = {question: [] for question in questions}
    for stage in scored:
        for sample in first_samples(stage, benchmark, questions):
            shown[sample["prompt_id"]].append((stage.name, sample))
    blocks: list[Block] = []
    for samples in shown.values():
        if samples:
            first = samples[0][1]
            blocks.append(Heading(f"Samples: {benchmark}", 2) if not blocks else Heading("Another question", 3))
            blocks.append(Verbatim(f"Question, answer {first['answer']}:", _shortened(first["problem"])))
        blocks += [Verbatim(f"{name}: {_verdict(sample)}", _shortened(sample["text"])) for name, sample in samples]
    return blocks


def _verdict(sample: Mapping[str, Any]) -> str:
    state = "not judged" if sample["correct"] is None else "right" if sample["correct"] else "wrong"
    cut = "" if sample["finished"] else ", cut by the length limit"
    return f"{state}, {sample['n_tokens']:,} tokens{cut}"


def _shortened(text: str) -> str:
    if len(text) <= _LONGEST_SAMPLE:
        return text
    half = _LONGEST_SAMPLE // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half:,} characters ...]\n{text[-half:]}"
