"""Start a recipe of one's own: a copy of a shipped one to edit, or a short file that extends it."""

from __future__ import annotations

import re
from pathlib import Path

from light_r1.errors import LightR1Error, did_you_mean
from light_r1.layers import find_recipe, shipped_recipes

_NAME = re.compile(r"^name:.*$", re.MULTILINE)


def new_recipe(name: str, *, source: str, extend: bool = False) -> Path:
    """Write a recipe.

    Args:
        name: File to write, with or without `.yaml`; its stem becomes the recipe's name.
        source: A shipped recipe, or a file, to start from.
        extend: Write a few lines that extend the source instead of copying it.

    Returns:
        The file.

    Raises:
        LightR1Error: There is no such source, or the file exists already.
    """
    origin = find_recipe(source)
    if not origin.is_file():
        known = sorted(path.stem for path in shipped_recipes().glob("*.yaml"))
        raise LightR1Error(f"no recipe {source!r}; shipped are {', '.join(known)}. {did_you_mean(source, known)}")
    target = Path(name if name.endswith((".yaml", ".yml")) else f"{name}.yaml")
    if target.exists():
        raise LightR1Error(f"{target} exists already")
    target.parent.mkdir(parents=True, exist_ok=True)
    if extend:
        parent = origin.name if origin.parent == shipped_recipes() else origin.resolve()
        text = (
            f"# Everything not said here is as in {origin.stem}; `light-r1 plan {target}` shows the result.\n"
            f"name: {target.stem}\nextends: {parent}\n"
        )
    else:
        text = _NAME.sub(f"name: {target.stem}", origin.read_text(encoding="utf-8"), count=1)
    target.write_text(text, encoding="utf-8")
    return target
