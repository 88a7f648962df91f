"""Check a whole recipe before anything is loaded: keys, graph, files, each stage's own checks, first rows.

`recipe/read.py` has checked each key by itself; here they are checked against each other. Every fault is reported,
with the place where it was written. What is legal but worth knowing (a data set on the hub is not read; some
rows will be dropped) is a note, which the plan prints. Torch is not imported.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from light_r1.errors import EXPLAINED, Problem, RecipeError, did_you_mean
from light_r1.recipe.check.args import UnknownSetting, check_args
from light_r1.recipe.check.blocks import check_chat, check_evaluation, check_sources, check_start, check_step_files
from light_r1.recipe.check.findings import Findings, failure_text
from light_r1.recipe.check.graph import check_graph
from light_r1.recipe.check.model import check_stage_model
from light_r1.recipe.check.rows import (
    MENDS,
    REWRITES,
    check_answers,
    need,
    note_copies,
    note_unread,
    origins,
    read_sample,
)
from light_r1.recipe.read import read_recipe
from light_r1.recipe.spec import Recipe, StageSpec
from light_r1.run.agenda import selected
from light_r1.stages import described_stage, load_stage
from light_r1.stages.base import Stage

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


def load_checked(
    path: str | Path,
    overrides: Sequence[str] = (),
    *,
    world_size: int | None = None,
    trust: bool = False,
    only: str | None = None,
    start: str | None = None,
) -> Checked:
    """Read a recipe and check it as a whole.

    Args:
        path: A file, or the name of a shipped recipe.
        overrides: `key=value` texts.
        world_size: Number of processes it will run on; the environment's `WORLD_SIZE`, else 1, if not given.
        trust: Import stage types outside the package and ask their own checks, instead of their nearest built-in
            base as their source tells it.
        only: The one stage that is to run. Batches are checked of stages that are to run alone: another may have been
            made, or be made later, by another number of processes.
        start: The first stage that is to run.

    Raises:
        RecipeError: With every fault of the file, its graph and its data at once.
    """
    checked = inspect(path, overrides, world_size=world_size, trust=trust, only=only, start=start)
    if checked.problems:
        raise RecipeError(checked.problems)
    return checked


def inspect(
    path: str | Path,
    overrides: Sequence[str] = (),
    *,
    world_size: int | None = None,
    trust: bool = False,
    only: str | None = None,
    start: str | None = None,
) -> Checked:
    """Like `load_checked`, but return the problems.

    Raises:
        RecipeError: If the file cannot be read at all.
    """
    recipe, problems = read_recipe(path, overrides)
    findings = check_recipe(recipe, world_size=world_size, trust=trust, only=only, start=start)
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


def check_recipe(
    recipe: Recipe,
    *,
    world_size: int | None = None,
    trust: bool = False,
    only: str | None = None,
    start: str | None = None,
) -> Findings:
    """Check what only the whole recipe can tell.

    Args:
        recipe: A recipe whose keys are right, or the rest of one whose keys are not.
        world_size: Number of processes; the environment's `WORLD_SIZE`, else 1, if not given.
        trust: As in `load_checked`.
        only: As in `load_checked`.
        start: As in `load_checked`.
    """
    findings = Findings(recipe)
    chosen = _chosen(findings, only, start)
    if not _RUN_NAME.match(recipe.name):
        findings.at("name", f"{recipe.name!r} cannot name the run folder", "letters, digits, - _ and dots")
    check_chat(findings)
    check_start(findings)
    check_sources(findings)
    check_evaluation(findings)
    check_graph(findings)
    size = int(os.environ.get("WORLD_SIZE", "1")) if world_size is None else world_size
    types = _stage_types(findings, trust=trust)
    for spec in recipe.stages:
        check_args(spec, findings)
        check_stage_model(spec, findings)
        check_step_files(spec, findings)
        if spec.name in types:
            with _noted(spec, findings):
                types[spec.name].check(spec, findings, world_size=size)
                if spec.name in chosen:
                    types[spec.name].check_batch(spec, findings, world_size=size)
    _check_data(findings, types)
    return findings


def _chosen(findings: Findings, only: str | None, start: str | None) -> set[str]:
    """Return the names of the stages that are to run; a name that no stage has is a problem."""
    names = [stage.name for stage in findings.recipe.stages]
    unknown = [(option, name) for option, name in (("--stage", only), ("--from", start)) if name not in (None, *names)]
    for option, name in unknown:
        known = f"one of {', '.join(names)}"
        findings.extend([Problem(f"{option} {name}", "no such stage", known, did_you_mean(str(name), names))])
    return set() if unknown else selected(findings.recipe, only=only, start=start)


def _stage_types(findings: Findings, *, trust: bool) -> dict[str, Stage]:
    """Return the type of each stage by its name; one that cannot be had is a problem."""
    types: dict[str, Stage] = {}
    for spec in findings.recipe.stages:
        with _noted(spec, findings):
            types[spec.name] = load_stage(spec.type) if trust else described_stage(spec.type)
    return types


@contextmanager
def _noted(spec: StageSpec, findings: Findings) -> Iterator[None]:
    """Note what a stage type's own code raises; that of a user's type may raise anything."""
    try:
        yield
    except UnknownSetting as error:
        findings.note(f"{spec.name}: {error}: not checked")
    except EXPLAINED as error:
        findings.at(f"{spec.name}.type", str(error))
    except Exception as error:
        if ":" not in spec.type:
            raise
        findings.at(f"{spec.name}.type", failure_text(spec.type, error))


def _check_data(findings: Findings, types: Mapping[str, Stage]) -> None:
    """Read the first rows of every source and check them against what the stages need."""
    recipe = findings.recipe
    note_unread(findings)
    samples = {name: read_sample(source, f"data.{name}", findings) for name, source in recipe.data.items()}
    for spec in recipe.stages:
        for name in (spec.data, spec.eval_data):
            for origin, steps in origins(name, findings):
                sample = samples.get(origin)
                if sample is not None and spec.name in types and not any(step in REWRITES for step in steps):
                    mended = any(step in MENDS for step in steps)
                    sample = replace(sample, mended=mended)
                    with _noted(spec, findings):
                        types[spec.name].check_rows(spec, sample, findings)
    if recipe.evaluate is not None:
        for name, source in recipe.evaluate.benchmarks.items():
            sample = read_sample(source, f"evaluate.benchmarks.{name}", findings)
            if sample is not None and need(sample, ("problem", "answer"), "a benchmark", findings):
                check_answers(sample, findings)
                note_copies(sample, findings)
