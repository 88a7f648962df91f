"""The whole recipe, before anything is loaded: graph of stages, combinations of settings, files, 50 rows of data.

`recipe.py` has checked each key by itself; here they are checked against each other. Every fault is reported,
with the place where it was written. What is legal but worth knowing (a data set on the hub is not read; some
rows will be dropped) is a note, which the plan prints. Torch is not imported.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from data_tools import TOOLS
from data_tools.columns import CANONICAL
from data_tools.options import option_table
from light_r1.check_args import check_args
from light_r1.check_data import check_data
from light_r1.check_model import check_dotted, check_model, check_stage_model
from light_r1.errors import LightR1Error, Problem, RecipeError, did_you_mean
from light_r1.findings import Findings
from light_r1.recipe import read_recipe
from light_r1.specs import Recipe, SourceSpec, StageSpec
from light_r1.stage_blocks import stage_type
from light_r1.stages import load_stage

_NEEDS_DATA = ("data", "sft", "dpo", "grpo")
_NO_DATA = ("merge", "evaluate")
_MODEL = "model"
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
    _check_evaluate(findings)
    _check_graph(findings)
    size = int(os.environ.get("WORLD_SIZE", "1")) if world_size is None else world_size
    for stage in recipe.stages:
        check_args(stage, findings, world_size=size)
        check_stage_model(stage, findings)
        _check_step_files(stage, findings)
        _ask_stage(stage, findings)
    check_data(findings)
    return findings


def _check_start(findings: Findings) -> None:
    """Check the `model` block; a recipe of data tools alone needs none."""
    recipe = findings.recipe
    users = [stage.name for stage in recipe.stages if stage.samples or _makes(stage) != "rows"]
    if "model" in recipe.where:
        check_model(recipe.model, "model", findings)
    elif users:
        findings.at("model", f"is missing, and {users[0]} needs one", "name_or_path: <folder or hub name>")


def _ask_stage(stage: StageSpec, findings: Findings) -> None:
    """Let the stage's own class check it."""
    try:
        findings.extend(load_stage(stage.type).check(stage, findings.recipe))
    except LightR1Error as error:
        findings.at(f"{stage.name}.type", str(error))


def _check_chat(findings: Findings) -> None:
    chat = findings.recipe.chat
    if len(chat.think_tokens) not in (0, 2) or len(set(chat.think_tokens)) != len(chat.think_tokens):
        findings.at("chat.think_tokens", f"has {list(chat.think_tokens)}", "an opening and a closing marker, or []")
    if chat.add_think_tokens and not chat.think_tokens:
        findings.at("chat.add_think_tokens", "there are no think_tokens to add")


def _check_sources(findings: Findings) -> None:
    recipe = findings.recipe
    makers = [stage.name for stage in recipe.stages if _makes(stage) == "rows"]
    for name, source in recipe.data.items():
        _check_source(source, f"data.{name}", findings)
        for index, part in enumerate(source.mix):
            if part.source not in (*recipe.data, *makers):
                key, hint = f"data.{name}.mix.{index}.source", did_you_mean(part.source, [*recipe.data, *makers])
                findings.at(key, f"no source or data stage called {part.source}", hint=hint)
        if source.mix and name in _reachable(name, recipe.data):
            findings.at(f"data.{name}.mix", f"{name} contains itself: a cycle")
    if recipe.evaluate is not None:
        for name, source in recipe.evaluate.benchmarks.items():
            key = f"evaluate.benchmarks.{name}"
            _check_source(source, key, findings)
            if source.mix:
                findings.at(f"{key}.mix", "a benchmark cannot be a mixture", "path, hub or generator")


def _check_source(source: SourceSpec, key: str, findings: Findings) -> None:
    for path in source.path:
        if findings.file(path) is None:
            findings.at(f"{key}.path", f"no file {path} beside the recipe or in the current directory")
    if source.generator is not None:
        check_dotted(source.generator, f"{key}.generator", findings)
    for column in source.columns if source.hub is not None else ():
        if column not in CANONICAL:
            hint = did_you_mean(column, CANONICAL)
            findings.at(f"{key}.columns.{column}", "is no canonical column", ", ".join(CANONICAL), hint)
    if source.hub is not None and (source.hub.count("/") > 1 or source.hub.startswith((".", "/"))):
        findings.at(f"{key}.hub", f"{source.hub} is no name on the hub", "owner/name", "Use path: for files.")


def _check_step_files(stage: StageSpec, findings: Findings) -> None:
    """Check that the files which data tools are given exist."""
    for index, step in enumerate(stage.options.get("steps", [])):
        if step["tool"] not in TOOLS:
            continue
        options = option_table(step["tool"])
        for name, value in step.items():
            if name != "tool" and value is not None and "Path" in options[name].kinds:
                for path in value if isinstance(value, list) else [value]:
                    if findings.file(path) is None:
                        key = f"{stage.name}.steps.{index}.{name}"
                        findings.at(key, f"no file {path} beside the recipe or in the current directory")


def _reachable(name: str, data: Mapping[str, SourceSpec]) -> set[str]:
    """Sources that a mixture contains, directly or through other mixtures."""
    found: set[str] = set()
    pending = [part.source for part in data[name].mix]
    while pending:
        source = pending.pop()
        if source not in found:
            found.add(source)
            pending += [part.source for part in data[source].mix] if source in data else []
    return found


def _check_evaluate(findings: Findings) -> None:
    evaluate = findings.recipe.evaluate
    if evaluate is None:
        return
    if not evaluate.benchmarks and evaluate.after != "none":
        findings.at("evaluate.after", "there are no benchmarks", "benchmarks: name -> source")
    if isinstance(evaluate.after, tuple) and findings.recipe.stages:
        names = [stage.name for stage in findings.recipe.stages if not stage.implicit]
        for index, name in enumerate(evaluate.after):
            if name not in names:
                hint = did_you_mean(name, names)
                findings.at(f"evaluate.after.{index}", f"no stage called {name}", hint=hint)
            elif _makes(findings.recipe.stage(name)) != "model":
                findings.at(f"evaluate.after.{index}", f"{name} makes no model")


def _makes(stage: StageSpec) -> str:
    return stage_type(stage.type).makes


def _check_graph(findings: Findings) -> None:
    stages = [stage for stage in findings.recipe.stages if not stage.implicit]
    for position, stage in enumerate(stages):
        before = {earlier.name: earlier for earlier in stages[:position]}
        after = {later.name: later for later in stages[position:]}
        for name in stage.inputs:
            _check_model_input(stage, name, f"{stage.name}.from", before, after, findings)
        _check_inputs_count(stage, findings)
        base = stage.options.get("base")
        if stage.type == "merge" and isinstance(base, str):
            _check_model_input(stage, base, f"{stage.name}.base", before, after, findings)
        _check_data_input(stage, before, after, findings)
        if stage.name in findings.recipe.data:
            findings.at(stage.name, "a data source has the same name", "different names")
        if stage.type == "evaluate" and not (findings.recipe.evaluate and findings.recipe.evaluate.benchmarks):
            findings.at(stage.name, "there is nothing to evaluate on", "an evaluate block with benchmarks")


def _check_model_input(
    stage: StageSpec,
    name: str,
    key: str,
    before: Mapping[str, StageSpec],
    after: Mapping[str, StageSpec],
    findings: Findings,
) -> None:
    """Check that `name` is the base model, or an earlier stage that makes a model."""
    if name == _MODEL:
        return
    if name == stage.name or (name in after and _leads_to(after[name], stage.name, after)):
        findings.at(key, f"{stage.name} would start from itself: a cycle", "model or an earlier stage")
    elif name in after:
        findings.at(key, f"{name} comes later", "model or an earlier stage", "Order the stages as they run.")
    elif name not in before:
        makers = [earlier for earlier, spec in before.items() if _makes(spec) == "model"]
        findings.at(key, f"no stage called {name}", "model or an earlier stage", _nearest(name, [_MODEL, *makers]))
    elif _makes(before[name]) != "model":
        findings.at(key, f"{name} makes {_makes(before[name])}, no model", "model or a stage that makes one")
    elif stage.enabled and not before[name].enabled:
        findings.at(key, f"{name} is not enabled", "a stage that runs, or enabled: false here too")


def _nearest(name: str, valid: Iterable[str]) -> str:
    names = list(valid)
    return did_you_mean(name, names) or f"There are {', '.join(names) or 'none'}."


def _leads_to(stage: StageSpec, name: str, stages: Mapping[str, StageSpec]) -> bool:
    """Whether `stage` starts, through others, from the stage called `name`."""
    seen: set[str] = set()
    pending = list(stage.inputs)
    while pending:
        current = pending.pop()
        if current == name:
            return True
        if current in stages and current not in seen:
            seen.add(current)
            pending += stages[current].inputs
    return False


def _check_inputs_count(stage: StageSpec, findings: Findings) -> None:
    key, count = f"{stage.name}.from", len(stage.inputs)
    if stage.type == "merge":
        if count < 2:
            findings.at(key, f"a merge of {count} model", "a list of two or more stages")
        if len(set(stage.inputs)) != count:
            findings.at(key, "names a model twice", "different models")
    elif stage.type in _NEEDS_DATA + _NO_DATA and count != 1:
        findings.at(key, f"{count} models", f"one; a {stage.type} stage starts from one model")


def _check_data_input(
    stage: StageSpec, before: Mapping[str, StageSpec], after: Mapping[str, StageSpec], findings: Findings
) -> None:
    data = findings.recipe.data
    makers = [name for name, spec in before.items() if _makes(spec) == "rows"]
    for field_name, name in (("data", stage.data), ("eval_data", stage.eval_data)):
        key = f"{stage.name}.{field_name}"
        if name in data:
            _check_mixed_stages(name, key, before, findings)
        if name is None or name in data or name in makers:
            continue
        if name in after and _makes(after[name]) == "rows":
            findings.at(key, f"{name} comes later", "a source or an earlier data stage")
        elif name in before:
            findings.at(key, f"{name} makes {_makes(before[name])}, no rows", "a source or a data stage")
        else:
            findings.at(key, f"no source or data stage called {name}", hint=_nearest(name, [*data, *makers]))
        continue
    if stage.type in _NEEDS_DATA and stage.data is None:
        findings.at(stage.name, "data is missing", "data: <source>", _nearest("", data) if data else "")
    if stage.type in _NO_DATA and stage.data is not None:
        findings.at(f"{stage.name}.data", f"a {stage.type} stage takes no data")
    if stage.eval_data is not None and stage.type != "sft":
        findings.at(f"{stage.name}.eval_data", "only an sft stage has held-out data")
    maker = before.get(stage.data or "")
    if maker is not None and stage.enabled and not maker.enabled:
        findings.at(f"{stage.name}.data", f"{maker.name} is not enabled", "a stage that runs")


def _check_mixed_stages(name: str, key: str, before: Mapping[str, StageSpec], findings: Findings) -> None:
    """Check that the stages whose rows a source mixes in come before the stage that reads it."""
    reachable = _reachable(name, findings.recipe.data)
    for maker in findings.recipe.stages:
        if maker.name not in reachable:
            continue
        if maker.name not in before:
            findings.at(key, f"{name} holds the rows of {maker.name}, which comes later", "the rows of earlier stages")
        elif not maker.enabled:
            findings.at(key, f"{name} holds the rows of {maker.name}, which is not enabled", "a stage that runs")
