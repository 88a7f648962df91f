"""What each merge method needs, asked by the check of a recipe and by the merge itself; loads no torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

METHODS = ("linear", "slerp", "ties", "dare_ties")
NEEDS_BASE = ("ties", "dare_ties")


class Fault(NamedTuple):
    """One thing that is wrong with the options of a merge.

    Args:
        option: Which option, or `models`.
        what: The fault.
        expected: What would be right.
    """

    option: str
    what: str
    expected: str


def option_faults(
    method: str | None,
    models: int,
    *,
    weights: Sequence[float] | None = None,
    densities: Sequence[float] | None = None,
    normalize: bool = True,
    scale: float = 1.0,
    has_base: bool = False,
) -> Iterator[Fault]:
    """Yield what is wrong with the options of a merge of so many models."""
    if method not in METHODS:
        yield Fault("method", f"{method!r} is no merge method", ", ".join(METHODS))
    if method == "slerp" and models != 2:
        yield Fault("models", f"slerp goes between two models, here are {models}", "two models")
    if models < 1:
        yield Fault("models", "there is no model to merge", "one or more")
    if method in NEEDS_BASE and not has_base:
        yield Fault("base", f"{method} needs a base to take task vectors against", "a model")
    if method in NEEDS_BASE and densities is None:
        yield Fault("densities", f"{method} needs densities", "a number above 0 and at most 1 per model")
    for option, values in (("weights", weights), ("densities", densities)):
        if values is not None and len(values) != models:
            yield Fault(option, f"{len(values)} {option} for {models} model{'s' * (models != 1)}", "one per model")
    if densities is not None and not all(0 < density <= 1 for density in densities):
        yield Fault("densities", f"{list(densities)} are no shares", "numbers above 0 and at most 1")
    if not math.isfinite(scale):
        yield Fault("scale", f"{scale} is no factor", "a finite number")
    if weights is not None and not all(map(math.isfinite, weights)):
        yield Fault("weights", f"{list(weights)} are no weights", "finite numbers")
    elif weights and sum(weights) == 0 and (normalize or method == "slerp"):
        yield Fault("weights", "sum to zero and cannot be normalised", "another sum, or normalize: false")
