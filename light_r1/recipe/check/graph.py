"""The stage graph of a recipe: the models and rows each stage reads, and whether they are made before it."""

from __future__ import annotations

from collections.abc import Mapping

from light_r1.recipe.check.blocks import nearest, reachable
from light_r1.recipe.check.findings import Findings
from light_r1.recipe.spec import StageSpec
from light_r1.recipe.stage_block import stage_type

_MODEL = "model"


def check_graph(findings: Findings) -> None:
    """Check what each stage reads: models and rows that are made before it, as many as its type takes."""
    stages = [stage for stage in findings.recipe.stages if not stage.implicit]
    for position, stage in enumerate(stages):
        before = {earlier.name: earlier for earlier in stages[:position]}
        after = {later.name: later for later in stages[position:]}
        for name in stage.inputs:
            _check_model_input(stage, name, f"{stage.name}.from", before, after, findings)
        _check_inputs_count(stage, findings)
        base = stage.options.get("base")
        if isinstance(base, str):
            _check_model_input(stage, base, f"{stage.name}.base", before, after, findings)
        _check_data_input(stage, before, after, findings)
        if stage.name in findings.recipe.data:
            findings.at(stage.name, "a data source has the same name", "different names")


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
        makers = [earlier for earlier, spec in before.items() if spec.makes == "model"]
        findings.at(key, f"no stage called {name}", "model or an earlier stage", nearest(name, [_MODEL, *makers]))
    elif before[name].makes != "model":
        findings.at(key, f"{name} makes {before[name].makes}, no model", "model or a stage that makes one")
    elif stage.enabled and not before[name].enabled:
        findings.at(key, f"{name} is not enabled", "a stage that runs, or enabled: false here too")


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
    least, most = stage_type(stage.type).models
    models = f"{count} model{'' if count == 1 else 's'}"
    if count < least:
        findings.at(key, f"a {stage.type} of {models}", f"a list of {least} or more stages")
    elif most is not None and count > most:
        expected = "one" if most == 1 else f"at most {most}"
        findings.at(key, models, f"{expected}; a {stage.type} stage starts from {expected.removeprefix('at ')} model")
    elif len(set(stage.inputs)) != count:
        findings.at(key, "names a model twice", "different models")


def _check_data_input(
    stage: StageSpec, before: Mapping[str, StageSpec], after: Mapping[str, StageSpec], findings: Findings
) -> None:
    data = findings.recipe.data
    makers = [name for name, spec in before.items() if spec.makes == "rows"]
    for field_name, name in (("data", stage.data), ("eval_data", stage.eval_data)):
        key = f"{stage.name}.{field_name}"
        if name in data:
            _check_mixed_stages(name, key, before, findings)
        if name is None or name in data or name in makers:
            continue
        if name in after and after[name].makes == "rows":
            findings.at(key, f"{name} comes later", "a source or an earlier data stage")
        elif name in before:
            findings.at(key, f"{name} makes {before[name].makes}, no rows", "a source or a data stage")
        else:
            findings.at(key, f"no source or data stage called {name}", hint=nearest(name, [*data, *makers]))
    kind = stage_type(stage.type)
    if kind.data == "required" and stage.data is None:
        findings.at(stage.name, "data is missing", "data: <source>", nearest("", data) if data else "")
    if kind.data == "none" and stage.data is not None:
        findings.at(f"{stage.name}.data", f"a {stage.type} stage takes no data")
    if stage.eval_data is not None and not kind.held_out:
        findings.at(f"{stage.name}.eval_data", f"a {stage.type} stage has no held-out data")
    maker = before.get(stage.data or "")
    if maker is not None and stage.enabled and not maker.enabled:
        findings.at(f"{stage.name}.data", f"{maker.name} is not enabled", "a stage that runs")


def _check_mixed_stages(name: str, key: str, before: Mapping[str, StageSpec], findings: Findings) -> None:
    """Check that the stages whose rows a source mixes in come before the stage that reads it."""
    mixed = reachable(name, findings.recipe.data)
    for maker in findings.recipe.stages:
        if maker.name not in mixed:
            continue
        if maker.name not in before:
            findings.at(key, f"{name} holds the rows of {maker.name}, which comes later", "the rows of earlier stages")
        elif not maker.enabled:
            findings.at(key, f"{name} holds the rows of {maker.name}, which is not enabled", "a stage that runs")
