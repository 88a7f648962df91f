"""A model card (`README.md`) in every model folder of a run: where it comes from, its scores, how to load it."""

from __future__ import annotations

import json

from light_r1.atomic import write_whole
from light_r1.run_summary import RunSummary, StageSummary, score_name


def write_cards(run: RunSummary) -> None:
    """Write the card of every model that the run has finished."""
    for stage in run.stages:
        folder = stage.folder / "output" / "model"
        if stage.makes_model and stage.manifest and folder.is_dir():
            write_whole(folder / "README.md", card(run, stage))


def card(run: RunSummary, stage: StageSummary) -> str:
    """Return the text of a model's card."""
    spec = next(entry for entry in run.recipe["stages"] if entry["name"] == stage.name)
    manifest = stage.manifest or {}
    versions = ", ".join(f"{name} {version}" for name, version in manifest.get("versions", {}).items() if version)
    base = run.recipe["model"].get("name_or_path")
    head = [
        "library_name: transformers",
        f"model_name: {run.name}-{stage.name}",
        "tags:",
        "- light_r1",
        f"- {stage.type}",
    ]
    if base:
        head.append(f"base_model: {base}")
    parts = ["---", *head, "---", "", f"# {run.name}, {stage.name}", ""]
    parts.append(
        f"Made by the `{stage.type}` stage `{stage.name}` of the recipe `{run.name}` from {_origin(run, stage)}."
    )
    parts += ["", *_scores(stage)]
    parts += [
        "## Settings",
        "",
        "```json",
        json.dumps({"args": spec["args"], **spec["options"]}, indent=2, ensure_ascii=False),
        "```",
        "",
        f"Fingerprint {manifest.get('fingerprint')}, seed {manifest.get('seed')}, "
        f"{manifest.get('world_size')} process(es). {versions}.",
    ]
    return "\n".join(parts) + "\n"


def _origin(run: RunSummary, stage: StageSummary) -> str:
    names = [name for name in stage.inputs if name != "model"]
    if names:
        return " and ".join(f"`{name}`" for name in names)
    return f"`{run.recipe['model'].get('name_or_path') or 'a model with random weights'}`"


def _scores(stage: StageSummary) -> list[str]:
    if not stage.scores:
        return []
    lines = ["| benchmark | score | truncated | mean tokens |", "|---|---|---|---|"]
    for benchmark, scores in stage.scores.items():
        name = score_name(scores)
        lines.append(
            f"| {benchmark} | {name} {100 * scores[name]:.1f} ± {100 * scores['se']:.1f} "
            f"({scores['questions']} questions) | {100 * scores['truncated']:.1f}% | {scores['tokens']:.0f} |"
        )
    return [*lines, ""]
