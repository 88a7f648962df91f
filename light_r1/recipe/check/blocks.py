"""The blocks of a recipe beside its stages: model, chat, data sources, evaluation, files of data steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from data_tools.engine.catalogue import option_table
from data_tools.rows.columns import CANONICAL
from light_r1.errors import did_you_mean
from light_r1.recipe.check.findings import Findings
from light_r1.recipe.check.model import check_dotted, check_model
from light_r1.recipe.spec import SourceSpec, StageSpec


def check_start(findings: Findings) -> None:
    """Check the `model` block; a recipe of data tools alone needs none."""
    recipe = findings.recipe
    users = [stage.name for stage in recipe.stages if stage.samples or stage.makes != "rows"]
    if "model" in recipe.where:
        check_model(recipe.model, "model", findings)
    elif users:
        findings.at("model", f"is missing, and {users[0]} needs one", "name_or_path: <folder or hub name>")


def check_chat(findings: Findings) -> None:
    """Check the `chat` block."""
    chat = findings.recipe.chat
    if len(chat.think_tokens) not in (0, 2) or len(set(chat.think_tokens)) != len(chat.think_tokens):
        findings.at("chat.think_tokens", f"has {list(chat.think_tokens)}", "an opening and a closing marker, or []")
    elif len(chat.think_tokens) == 2:
        opening, closing = chat.think_tokens
        if opening in closing or closing in opening:  # an empty one is in every other
            expected = "two tags, neither of which is empty or holds the other"
            findings.at("chat.think_tokens", f"has {list(chat.think_tokens)}", expected)
    if chat.add_think_tokens and not chat.think_tokens:
        findings.at("chat.add_think_tokens", "there are no think_tokens to add")


def check_sources(findings: Findings) -> None:
    """Check the data sources and benchmarks: files, functions, mixtures."""
    recipe = findings.recipe
    makers = [stage.name for stage in recipe.stages if stage.makes == "rows"]
    for name, source in recipe.data.items():
        _check_source(source, f"data.{name}", findings)
        for index, part in enumerate(source.mix):
            if part.source not in (*recipe.data, *makers):
                key, hint = f"data.{name}.mix.{index}.source", did_you_mean(part.source, [*recipe.data, *makers])
                findings.at(key, f"no source or data stage called {part.source}", hint=hint)
        if source.mix and name in reachable(name, recipe.data):
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


def check_step_files(stage: StageSpec, findings: Findings) -> None:
    """Check that the files which data tools are given exist."""
    for index, step in enumerate(stage.options.get("steps", [])):
        if step["tool"] == "sample":
            continue
        options = option_table(step["tool"])
        for name, value in step.items():
            if name != "tool" and value is not None and "Path" in options[name].kinds and not options[name].written:
                for path in value if isinstance(value, list) else [value]:
                    if findings.file(path) is None:
                        key = f"{stage.name}.steps.{index}.{name}"
                        findings.at(key, f"no file {path} beside the recipe or in the current directory")


def reachable(name: str, data: Mapping[str, SourceSpec]) -> set[str]:
    """Sources that a mixture contains, directly or through other mixtures."""
    sources: set[str] = set()
    pending = [part.source for part in data[name].mix]
    while pending:
        source = pending.pop()
        if source not in sources:
            sources.add(source)
            pending += [part.source for part in data[source].mix] if source in data else []
    return sources


def check_evaluation(findings: Findings) -> None:
    """Check the `evaluate` block."""
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
            elif findings.recipe.stage(name).makes != "model":
                findings.at(f"evaluate.after.{index}", f"{name} makes no model")


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return a hint: the nearest of the valid names, or all of them."""
    names = list(valid)
    return did_you_mean(name, names) or f"There are {', '.join(names) or 'none'}."
