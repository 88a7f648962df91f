"""`light-r1 new`: start a recipe from a shipped one, as a copy with its data or a file that extends it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from data_tools.rows.files import written_whole
from light_r1.errors import LightR1Error, did_you_mean
from light_r1.recipe.read import load_recipe
from light_r1.recipe.shipped import find_recipe, shipped_recipes

_NAME = re.compile(r"^name:.*$", re.MULTILINE)


def new_recipe(name: str, *, source: str, extend: bool = False) -> list[Path]:
    """Write a recipe, and put the local data that a copy names beside it.

    Args:
        name: File to write, with or without `.yaml`; its stem becomes the recipe's name.
        source: A shipped recipe, or a file, to start from.
        extend: Write a few lines that extend the source instead of copying it.

    Returns:
        The recipe, then the data files and folders that were copied; none that was there is overwritten.

    Raises:
        LightR1Error: There is no such source, or the recipe exists already.
    """
    origin = find_recipe(source)
    if not origin.is_file():
        known = sorted(path.stem for path in shipped_recipes().glob("*.yaml"))
        raise LightR1Error(f"no recipe {source!r}; shipped are {', '.join(known)}. {did_you_mean(source, known)}")
    target = Path(name if name.endswith((".yaml", ".yml")) else f"{name}.yaml")
    if target.exists():
        raise LightR1Error(f"{target} exists already")
    if extend:
        parent = origin.name if origin.parent == shipped_recipes() else origin.resolve()
        text = (
            f"# Everything not said here is as in {origin.stem}; `light-r1 plan {target}` shows the result.\n"
            f"name: {target.stem}\nextends: {parent}\n"
        )
    else:
        text = _NAME.sub(f"name: {target.stem}", origin.read_text(encoding="utf-8"), count=1)
    with written_whole(target) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return [target, *([] if extend else _copy_data(origin, target.parent))]


def _copy_data(origin: Path, folder: Path) -> Iterator[Path]:
    """Copy what lies beside the source under the names that it uses, and yield what was copied."""
    for name in dict.fromkeys(_local_names(origin)):
        beside, copy = origin.parent / name, folder / name
        if Path(name).is_absolute() or not beside.exists() or copy.exists():
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        if beside.is_dir():
            shutil.copytree(beside, copy)
        else:
            shutil.copy(beside, copy)
        yield copy


def _local_names(origin: Path) -> Iterator[str]:
    """Yield the names in a recipe that may be those of files: data, benchmarks, options of tools, a tokenizer."""
    recipe = load_recipe(origin)
    benchmarks = recipe.evaluate.benchmarks if recipe.evaluate else {}
    for source in (*recipe.data.values(), *benchmarks.values()):
        yield from source.path
    for stage in recipe.stages:
        for step in stage.options.get("steps", []):
            for value in step.values():
                yield from (item for item in (value if isinstance(value, list) else [value]) if isinstance(item, str))
    if recipe.model.init is not None:
        yield recipe.model.init["tokenizer"]
