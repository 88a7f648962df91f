"""Functions called by the name that a recipe gives them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from light_r1.errors import LightR1Error


def call_by_name(name: str, **options: Any) -> Any:
    """Call the function named `package.module:function`.

    Raises:
        LightR1Error: The module or the function does not exist, or it does not take these options.
    """
    module_name, _, attribute = name.partition(":")
    try:
        function = getattr(import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise LightR1Error(f"{name!r} cannot be called: {error}. Expected `package.module:function`.") from error
    return function(**options)
