"""The whole recipe, before anything is loaded: read, checked, each stage asked, the first rows of its data."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from light_r1.errors import LightR1Error, Problem, RecipeError
from light_r1.recipe.check.args import Args, _check_training, _check_windows
from light_r1.recipe.check.blocks import _check_chat, _check_sources, _check_start, _check_step_files
from light_r1.recipe.check.blocks import _check_evaluate as _check_evaluation
from light_r1.recipe.check.findings import Findings
from light_r1.recipe.check.graph import _check_graph
from light_r1.recipe.check.model import check_stage_model
from light_r1.recipe.check.rows import Sample, _check_answers, _need, _note_copies, _note_unread, _origins, _sample
from light_r1.recipe.read import read_recipe
from light_r1.recipe.spec import Recipe, StageSpec
from light_r1.stages import load_stage
from light_r1.stages.data import _MENDS, _REWRITES, _check_data_rows
from light_r1.stages.dpo import _check_dpo, _check_dpo_rows
from light_r1.stages.evaluate import _check_evaluate
from light_r1.stages.grpo import _check_context_schedule, _check_grpo, _check_grpo_batch, _reward_columns
from light_r1.stages.merge import _check_merge
from light_r1.stages.sft import _check_sft, _check_sft_rows

_RUN_NAME = re.compile(r"[A-Za-z0-9][\w.-]*\Z")


@dataclass(frozen=True, slots=True)
class Checked:
    """A recipe and what was found about it.

    Args:
        recipe: The recipe, as far as it could be read.
        problems: Everything that is wrong.
        notes: What is legal but worth knowing.
    """

    recipe: Recipe
    problems: tuple[Problem, ...]
    notes: tuple[str, ...] = field(default=())


def load_checked(path: str | Path, overrides: Sequence[str] = (), *, world_size: int | None = None) -> Checked:
    """Read a recipe and check it as a whole.

    Args:
        path: A file, or the name of a shipped recipe.
        overrides: `key=value` texts.
        world_size: Number of processes it will run on; the environment's `WORLD_SIZE`, else 1, if not given.

    Raises:
        RecipeError: With every fault of the file, its graph and its data at once.
    """
    checked = inspect(path, overrides, world_size=world_size)
    if checked.problems:
        raise RecipeError(checked.problems)
    return checked


def inspect(path: str | Path, overrides: Sequence[str] = (), *, world_size: int | None = None) -> Checked:
    """Like `load_checked`, but return the problems.

    Raises:
        RecipeError: If the file cannot be read at all.
    """
    recipe, problems = read_recipe(path, overrides)
    findings = check_recipe(recipe, world_size=world_size)
    every = [*problems, *(problem for problem in findings.problems if problem not in problems)]
    return Checked(recipe, tuple(_told_once(every, recipe)), tuple(findings.notes))


def _told_once(problems: Sequence[Problem], recipe: Recipe) -> list[Problem]:
    """Join faults of several stages that were written once, in `defaults` or `model`."""
    names = {stage.name for stage in recipe.stages}
    groups: dict[Problem, tuple[Problem, list[str]]] = {}
    for problem in problems:
        name, dot, rest = problem.what.partition(".")
        common = replace(problem, what=rest) if dot and name in names else problem
        groups.setdefault(common, (problem, []))[1].append(name)
    return [
        replace(first, what=f"{first.what} (also in {', '.join(stages[1:])})") if len(stages) > 1 else first
        for first, stages in groups.values()
    ]


def check_recipe(recipe: Recipe, *, world_size: int | None = None) -> Findings:
    """Check what only the whole recipe can tell.

    Args:
        recipe: A recipe whose keys are right, or the rest of one whose keys are not.
        world_size: Number of processes; the environment's `WORLD_SIZE`, else 1, if not given.
    """
    findings = Findings(recipe)
    if not _RUN_NAME.match(recipe.name):
        findings.at("name", f"{recipe.name!r} cannot name the run folder", "letters, digits, - _ and dots")
    _check_chat(findings)
    _check_start(findings)
    _check_sources(findings)
    _check_evaluation(findings)
    _check_graph(findings)
    size = int(os.environ.get("WORLD_SIZE", "1")) if world_size is None else world_size
    for stage in recipe.stages:
        check_args(stage, findings, world_size=size)
        check_stage_model(stage, findings)
        _check_step_files(stage, findings)
        _ask_stage(stage, findings)
    check_data(findings)
    return findings


def _ask_stage(stage: StageSpec, findings: Findings) -> None:
    """Let the stage's own class check it."""
    try:
        findings.extend(load_stage(stage.type).check(stage, findings.recipe))
    except LightR1Error as error:
        findings.at(f"{stage.name}.type", str(error))


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


def check_args(stage: StageSpec, findings: Findings, *, world_size: int) -> None:
    """Check one stage's settings against each other."""
    args = Args(stage)
    if args.has("learning_rate") and args.has("bf16"):
        _check_training(stage, args, findings)
    _check_windows(stage.args, f"{stage.name}.args", findings)
    _check_windows(stage.options, stage.name, findings)
    if args.has("context_schedule"):
        _check_grpo_batch(stage, args, findings, world_size)
        _check_grpo(stage, args, findings)
        _check_context_schedule(stage, args, findings)
    if args.has("loss_weights"):
        _check_dpo(stage, args, findings)
    if args.has("packing"):
        _check_sft(stage, args, findings)
    if stage.type == "merge":
        _check_merge(stage, findings)
    if stage.type == "evaluate":
        _check_evaluate(stage, findings)
