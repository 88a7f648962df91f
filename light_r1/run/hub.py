"""Check that models and data sets on the hub are reachable before anything heavy is imported.

What is in the local cache is not asked for. The hub's clients retry for a minute and then raise from deep within;
here each name is tried once, and all that are out of reach are told together, with their places in the recipe.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from light_r1.errors import Problem
from light_r1.recipe.sources import starts_from_the_model, tokenizer_folder
from light_r1.recipe.spec import Recipe, SourceSpec, StageSpec
from light_r1.stages import load_stage

_PATIENCE_S = 10.0
_NO_LETTERS = re.compile(r"[^a-z0-9]")


@dataclass(frozen=True, slots=True)
class HubName:
    """Something that a recipe takes from the hub.

    Args:
        key: Dotted key where the recipe names it.
        kind: Model (or its tokenizer), or data set.
        name: `owner/name`.
        revision: Branch, tag or commit; None for the newest.
    """

    key: str
    kind: Literal["model", "dataset"]
    name: str
    revision: str | None


def hub_names(recipe: Recipe, stages: Iterable[StageSpec]) -> list[HubName]:
    """Return what these stages take from the hub, each once."""
    names: dict[tuple[str, str, str | None], HubName] = {}
    for stage in stages:
        for item in (*_models(recipe, stage), *_data_sets(recipe, stage)):
            names.setdefault((item.kind, item.name, item.revision), item)
    return list(names.values())


def _models(recipe: Recipe, stage: StageSpec) -> Iterator[HubName]:
    if not (starts_from_the_model(stage) and load_stage(stage.type).uses_model(stage)):
        return
    model = stage.model
    if model.name_or_path is not None:
        if not Path(model.name_or_path).expanduser().is_dir():
            key = "model" if model.name_or_path == recipe.model.name_or_path else f"{stage.name}.model"
            yield HubName(f"{key}.name_or_path", "model", model.name_or_path, model.revision)
    elif model.init is not None and ":" not in model.init["tokenizer"] and tokenizer_folder(stage, recipe) is None:
        yield HubName("model.init.tokenizer", "model", model.init["tokenizer"], None)


def _data_sets(recipe: Recipe, stage: StageSpec) -> Iterator[HubName]:
    for name in (stage.data, stage.eval_data):
        if name is not None:
            yield from _of_source(recipe, name)
    if "evaluate" in load_stage(stage.type).reads and recipe.evaluate is not None:
        for name, source in recipe.evaluate.benchmarks.items():
            yield from _data_set(f"evaluate.benchmarks.{name}", source)


def _of_source(recipe: Recipe, name: str) -> Iterator[HubName]:
    source = recipe.data.get(name)
    if source is not None:
        yield from _data_set(f"data.{name}", source)
        for part in source.mix:
            yield from _of_source(recipe, part.source)


def _data_set(key: str, source: SourceSpec) -> Iterator[HubName]:
    if source.hub is not None:
        yield HubName(f"{key}.hub", "dataset", source.hub, source.revision)


def hub_problems(recipe: Recipe, stages: Iterable[StageSpec]) -> list[Problem]:
    """Return a problem for each name that is neither in the local cache nor to be had from the hub."""
    return [
        Problem(str(recipe.where.near(item.key)), f"{item.key}: {fault}", *_advice(item))
        for item in hub_names(recipe, stages)
        if not _is_cached(item) and (fault := _fault(item))
    ]


def _advice(item: HubName) -> tuple[str, str]:
    which = f"{item.name} --revision {item.revision}" if item.revision else item.name
    kind = " --repo-type dataset" if item.kind == "dataset" else ""
    expected = "a local model folder or a name on the hub" if item.kind == "model" else "a data set on the hub"
    return expected, f"Where there is a network: hf download {which}{kind}"


def _is_cached(item: HubName) -> bool:
    from huggingface_hub.constants import HF_HOME, HF_HUB_CACHE

    folder = Path(HF_HUB_CACHE) / f"{item.kind}s--{item.name.replace('/', '--')}" / "snapshots"
    if folder.is_dir() and any(folder.iterdir()):
        return True
    # `datasets` keeps what it has read under a spelling of its own.
    prepared = Path(os.environ.get("HF_DATASETS_CACHE", Path(HF_HOME) / "datasets"))
    if item.kind == "model" or not prepared.is_dir():
        return False
    return _letters(item.name) in {_letters(path.name) for path in prepared.iterdir()}


def _letters(name: str) -> str:
    return _NO_LETTERS.sub("", name.lower())


def _fault(item: HubName) -> str:
    """Return why a name cannot be had from the hub; empty if it can."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        GatedRepoError,
        HTTPError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        HfApi().repo_info(item.name, repo_type=item.kind, revision=item.revision, timeout=_PATIENCE_S)
    except GatedRepoError:
        return f"{item.name} is gated: accept its terms on the hub, then `hf auth login`"
    except RevisionNotFoundError:
        return f"{item.name} has no revision {item.revision}"
    except RepositoryNotFoundError:
        return f"there is no {item.name} on the hub, or it is private: `hf auth login`"
    except OfflineModeIsEnabled:
        return f"{item.name} is not in the local cache, and HF_HUB_OFFLINE forbids to download it"
    except HTTPError as error:
        return f"{item.name} is not in the local cache, and the hub cannot be reached ({error})"
    return ""
