"""Where the source of a module lies; neither it nor the packages above it are imported."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path


@lru_cache(maxsize=1024)
def source_file(module: str) -> Path | None:
    """Return the Python file of a module, or None if there is no such module or it has no source."""
    top, *rest = module.split(".")
    try:
        spec = find_spec(top)
    except (ValueError, ImportError):
        return None
    if spec is None:
        return None
    roots = [Path(place) for place in spec.submodule_search_locations or []]
    candidates = [root.joinpath(*rest) / "__init__.py" for root in roots]
    candidates += [root.joinpath(*rest[:-1], f"{rest[-1]}.py") for root in roots if rest]
    if not roots and not rest and spec.origin and spec.origin.endswith(".py"):
        candidates = [Path(spec.origin)]
    return next((path for path in candidates if path.is_file()), None)
