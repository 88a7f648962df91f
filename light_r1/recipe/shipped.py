"""The recipes that come with the package, and how a recipe's place is shown."""

from __future__ import annotations

import os
from pathlib import Path


def shipped_recipes() -> Path:
    """Return the folder of the shipped recipes: inside the wheel, or of the checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "_recipes"
    return inside if inside.is_dir() else package.parent / "recipes"


def find_recipe(name: str | Path, *, beside: Path | None = None) -> Path:
    """Find a recipe by path, or by the name of a shipped one.

    Args:
        name: A path, absolute or relative, or a name like `light_r1_32b`.
        beside: Folder that relative paths start from; the current directory if not given.

    Returns:
        The file; the path as given when there is none, so that reading it reports it.
    """
    path = (beside or Path()) / name
    shipped = shipped_recipes() / Path(name).name
    bare = len(Path(name).parts) == 1
    for candidate in (path, shipped, shipped.with_name(shipped.name + ".yaml")):
        if candidate.is_file() and (bare or candidate == path):
            return candidate
    return path


def shown(path: Path) -> str:
    """Return a file's path as people say it: relative to the current directory where it lies below."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
