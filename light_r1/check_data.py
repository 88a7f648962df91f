"""The first rows of every local data set: columns, roles, gold answers, thoughts.

What a stage needs of its rows follows from its type and settings: traces for SFT; problem, answer and a
teacher's solution for semi-on-policy DPO; the columns that GRPO's rewards take. 50 rows are read of each
source that a stage names. Sets on the hub are not read. Behind a `data` stage whose steps may add or rewrite
columns, the rows are what those steps make of them, so only the source's own reading is checked.
"""

from __future__ import annotations

import ast
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from data_tools.columns import to_canonical
from data_tools.options import tool_doc
from data_tools.rows import DataToolsError, Row, read_rows
from data_tools.think import split_think
from light_r1.check_answers import answer_fault
from light_r1.definitions import SourceError, find_definition, split_dotted
from light_r1.errors import DataError, LightR1Error, did_you_mean
from light_r1.findings import Findings
from light_r1.layers import shown
from light_r1.named import call_by_name
from light_r1.specs import SourceSpec, StageSpec
from light_r1.stage_blocks import reward_names

ROWS = 50
# Steps after which rows may have other columns, or other contents in them, than their source has.
_REWRITES = ("convert", "extract", "perturb")
# Steps that repair or drop faulty rows: behind them only what is wrong with every row is a fault.
_MENDS = ("normalize_think",)
_TRL_GIVES = {
    "prompts", "completions", "completion_ids", "trainer_state", "log_extra", "log_metric", "environments",
}  # fmt: skip
_USUAL_TAGS = ("<think>", "</think>")


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


def check_data(findings: Findings) -> None:
    """Read the first rows of every source and check them against what the stages need."""
    recipe = findings.recipe
    _note_unread(findings)
    samples = {name: _sample(source, f"data.{name}", findings) for name, source in recipe.data.items()}
    for stage in recipe.stages:
        for name in (stage.data, stage.eval_data):
            for origin, steps in _origins(name, findings):
                sample = samples.get(origin)
                if sample is not None and not any(step in _REWRITES for step in steps):
                    mended = any(step in _MENDS for step in steps)
                    _check_stage_rows(stage, replace(sample, mended=mended), findings)
    if recipe.evaluate is not None:
        for name, source in recipe.evaluate.benchmarks.items():
            sample = _sample(source, f"evaluate.benchmarks.{name}", findings)
            if sample is not None and _need(sample, ("problem", "answer"), "a benchmark", findings):
                _check_answers(sample, findings)
                _note_copies(sample, findings)


def _note_copies(sample: Sample, findings: Findings) -> None:
    asked = {str(row["problem"]) for _, row in sample.rows}
    if len(asked) < len(sample.rows):
        findings.note(f"{sample.key}: the first {len(sample.rows)} rows ask {len(asked)} different questions")


def _note_unread(findings: Findings) -> None:
    recipe = findings.recipe
    sources = {f"data.{name}": source for name, source in recipe.data.items()}
    if recipe.evaluate is not None:
        sources |= {f"evaluate.benchmarks.{name}": source for name, source in recipe.evaluate.benchmarks.items()}
    unread = [f"{key} ({source.hub})" for key, source in sources.items() if source.hub is not None]
    if unread:
        findings.note(f"on the hub, so not read: {', '.join(unread)}")


def _origins(name: str | None, findings: Findings, depth: int = 0) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the sources behind a name, each with the tools of the data stages and mixtures between."""
    data = findings.recipe.data
    if name is None or depth > len(data) + len(findings.recipe.stages):
        return
    if name in data:
        yield name, ()
        for part in data[name].mix:
            yield from _origins(part.source, findings, depth + 1)
        return
    for stage in findings.recipe.stages:
        if stage.name == name and stage.data is not None:
            tools = tuple(step["tool"] for step in stage.options.get("steps", []))
            for source, steps in _origins(stage.data, findings, depth + 1):
                yield source, (*steps, *tools)


def _sample(source: SourceSpec, key: str, findings: Findings) -> Sample | None:
    """Read the first rows of a source; None if there are none to look at."""
    if source == SourceSpec() or source.hub is not None or source.mix or findings.told(f"{key}.generator"):
        return None
    rows: list[tuple[str, Row]] = []
    try:
        for place, row in _first_rows(source, findings):
            rows.append((place, to_canonical(row, source.columns)))
    except (DataToolsError, LightR1Error, TypeError) as error:
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
        last = traceback.extract_tb(error.__traceback__)[-1]
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise DataError(f"{generator} failed in {shown(Path(last.filename))}:{last.lineno}: {what}") from error


def _need(sample: Sample, columns: tuple[str, ...], who: str, findings: Findings) -> bool:
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
            _report_first(
                sample, f"{column} is empty or no text", lambda row, c=column: not _has_text(row.get(c)), findings
            )
    return not missing


def _has_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _report_first(sample: Sample, what: str, is_fault: Any, findings: Findings) -> int:
    """Report the first row with a fault and how many there are; return their number."""
    faulty = [place for place, row in sample.rows if is_fault(row)]
    if sample.mended and len(faulty) < len(sample.rows):
        return 0
    if faulty:
        more = f" ({len(faulty)} of the first {len(sample.rows)} rows)" if len(faulty) > 1 else ""
        findings.at(sample.key, f"{faulty[0]}: {what}{more}")
    return len(faulty)


def _check_stage_rows(stage: StageSpec, sample: Sample, findings: Findings) -> None:
    if stage.type == "sft":
        _check_sft_rows(stage, sample, findings)
    elif stage.type == "dpo":
        _check_dpo_rows(stage, sample, findings)
    elif stage.type == "grpo":
        columns = ("problem", *sorted(_reward_columns(stage)))
        if _need(sample, columns, f"stage {stage.name}", findings) and "answer" in columns:
            _check_answers(sample, findings)
    elif stage.type == "data":
        _check_data_rows(stage, sample, findings)


def _check_sft_rows(stage: StageSpec, sample: Sample, findings: Findings) -> None:
    order, column = stage.args.get("order", "random"), stage.args.get("difficulty_column", "difficulty")
    if order != "random" and column not in sample.columns:
        _need(sample, (column,), f"order: {order} of stage {stage.name}", findings)
    if sample.has("text"):
        return
    if sample.has("messages") and not sample.has("solution"):
        _report_first(sample, "messages must end with an assistant turn", _no_assistant_last, findings)
        return
    if _need(sample, ("problem", "solution"), f"stage {stage.name}", findings):
        _check_thoughts(stage, sample, findings)


def _no_assistant_last(row: Mapping[str, Any]) -> bool:
    messages = row.get("messages") or []
    return len(messages) < 2 or messages[-1]["role"] != "assistant"


def _check_thoughts(stage: StageSpec, sample: Sample, findings: Findings) -> None:
    """Check that solutions can be taken apart into thought and answer, as the trainer will."""
    tags = findings.recipe.chat.think_tokens
    if len(tags) != 2:
        return
    faults = {place: _thought_fault(row, tags) for place, row in sample.rows}
    broken = [place for place, fault in faults.items() if fault not in (None, "no_think") and not sample.mended]
    for place in broken[:1]:
        more = f" ({len(broken)} of the first {len(faults)} rows)" if len(broken) > 1 else ""
        hint = "Put a data stage with normalize_think before the stage, which drops and counts such rows."
        findings.at(sample.key, f"{place}: solution has the fault {faults[place]}{more}", hint=hint)
    without = [place for place, fault in faults.items() if fault == "no_think"]
    policy, limit = stage.args.get("missing_think", "drop"), stage.args.get("max_drop_rate", 0.1)
    if not without or policy == "keep" or (sample.mended and len(without) < len(faults)):
        return
    share = f"{len(without)} of the first {len(faults)} rows have no {tags[0]} thought"
    if policy == "error":
        findings.at(sample.key, f"{without[0]}: {share}, and {stage.name} takes none", "missing_think: drop or keep")
    elif len(without) > limit * len(faults):
        findings.at(
            sample.key,
            f"{without[0]}: {share}; {stage.name} would drop them, more than its max_drop_rate of {limit:g}",
            "traces with a thought, missing_think: keep, or chat.think_tokens: []",
        )
    else:
        findings.note(f"{sample.key}: {share} and will be dropped by {stage.name}")


def _thought_fault(row: Row, tags: tuple[str, ...]) -> str | None:
    solution = row.get("solution")
    if not isinstance(solution, str):
        return None
    for own, usual in zip(tags, _USUAL_TAGS, strict=True):
        solution = solution.replace(own, usual)
    return split_think(solution).fault


def _check_dpo_rows(stage: StageSpec, sample: Sample, findings: Findings) -> None:
    pairs = stage.options.get("pairs") or {}
    teacher = pairs.get("chosen", "teacher") == "teacher"
    who = f"stage {stage.name}"
    columns: tuple[str, ...] = ("problem",)
    if stage.options.get("sample"):
        columns = (*columns, "answer", "solution") if teacher else (*columns, "answer")
        if _need(sample, columns, who, findings):
            _check_answers(sample, findings)
    elif sample.has("responses"):
        columns = (*columns, "solution") if teacher else columns
        if teacher and pairs.get("verify_teacher", True):
            columns = (*columns, "answer")
        if _need(sample, columns, who, findings) and "answer" in columns:
            _check_answers(sample, findings)
        each = "responses must be a list of items with text and correct: true, false or null"
        _report_first(sample, each, _no_responses, findings)
        _report_first(replace(sample, mended=True), "no response is there", _is_without_responses, findings)
    elif sample.has("chosen") or sample.has("rejected"):
        if _need(sample, ("problem", "chosen", "rejected"), who, findings):
            _report_first(sample, "chosen and rejected are the same", _same_sides, findings)
    else:
        findings.at(
            sample.key,
            f"stage {stage.name} does not sample, and there are neither responses nor chosen and rejected; "
            f"the columns are {', '.join(sample.columns)}",
            f"sample: in stage {stage.name}, or other data",
        )


def _no_responses(row: Mapping[str, Any]) -> bool:
    responses = row.get("responses")
    return not isinstance(responses, list) or not all(
        isinstance(one, Mapping)
        and one.get("correct", "") in (True, False, None)
        and (one.get("text") or one.get("completion_ids")) is not None
        for one in responses
    )


def _is_without_responses(row: Mapping[str, Any]) -> bool:
    return row.get("responses") == []


def _same_sides(row: Mapping[str, Any]) -> bool:
    return bool(row.get("chosen") == row.get("rejected"))


def _check_data_rows(stage: StageSpec, sample: Sample, findings: Findings) -> None:
    """Check the columns that the steps read, up to the first step that may add some."""
    added: set[str] = set()
    for step in stage.options.get("steps", []):
        tool = step["tool"]
        if tool == "sample":
            if _need(sample, ("problem", "answer"), f"stage {stage.name} (sample)", findings):
                _check_answers(sample, findings)
            added |= {"responses", "n", "n_correct", "pass_rate"}
            continue
        columns = tuple(column for column in tool_doc(tool).needs if column not in added)
        # A tool drops the rows that it can do nothing with, and says so.
        _need(replace(sample, mended=True), columns, f"stage {stage.name} ({tool})", findings)
        if tool in _REWRITES:
            return


def _reward_columns(stage: StageSpec) -> set[str]:
    """Columns of the data that the rewards of a stage take by name."""
    columns: set[str] = set()
    for reward in stage.options.get("rewards", []):
        name = reward if isinstance(reward, str) else reward["name"]
        try:
            _, node = find_definition(*split_dotted(reward_names().get(name, name)))
        except SourceError:
            continue  # reported with the key of the reward
        inner = [part for part in ast.walk(node) if isinstance(part, ast.FunctionDef)]
        for function in inner:
            arguments = function.args
            names = [argument.arg for argument in (*arguments.args, *arguments.kwonlyargs)]
            if set(names) & _TRL_GIVES:
                columns |= set(names) - _TRL_GIVES - _with_default(arguments)
    return columns


def _with_default(arguments: ast.arguments) -> set[str]:
    positional = arguments.args[len(arguments.args) - len(arguments.defaults) :]
    named = [a for a, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if default]
    return {argument.arg for argument in (*positional, *named)}


def _check_answers(sample: Sample, findings: Findings) -> None:
    """Check that gold answers are something the verifier can compare with."""
    faults = {place: answer_fault(row.get("answer")) for place, row in sample.rows}
    faulty = [place for place, fault in faults.items() if fault]
    if not faulty or (sample.mended and len(faulty) < len(faults)):
        return
    first = faulty[0]
    if len(faulty) <= 0.1 * len(faults) and faults[first] not in ("is empty", "is missing"):
        findings.note(f"{sample.key}: {first}: answer {faults[first]} ({len(faulty)} of the first {len(faults)} rows)")
        return
    more = f" ({len(faulty)} of the first {len(faults)} rows)" if len(faulty) > 1 else ""
    findings.at(sample.key, f"{first}: answer {faults[first]}{more}", "an answer the verifier can grade")
