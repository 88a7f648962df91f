"""The type of an option, in the few kinds that YAML can write.

Between an annotation in some source file and a value in a recipe: `FieldType` says which kinds of value are
taken, describes itself in words for error messages, and as JSON Schema for editors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

_IN_WORDS = {"bool": "true or false", "int": "an integer", "float": "a number", "str": "text", "none": "null"}
_JSON = {"bool": "boolean", "int": "integer", "float": "number", "str": "string", "none": "null"}


@dataclass(frozen=True, slots=True)
class FieldType:
    """Which values an option takes; the parts are alternatives.

    Args:
        kinds: Any of `bool`, `int`, `float`, `str`, `none`, `any`.
        choices: Exact values that are taken.
        item: Type of the elements, if a list is taken.
        values: Type of the values, if a free mapping is taken.
        block: Dotted path of a dataclass, if a mapping of its fields is taken.
    """

    kinds: frozenset[str] = frozenset()
    choices: tuple[Any, ...] = ()
    item: FieldType | None = None
    values: FieldType | None = None
    block: str | None = None

    @property
    def any(self) -> bool:
        """Whether every value is taken."""
        return "any" in self.kinds

    def with_choices(self, choices: tuple[Any, ...]) -> FieldType:
        """Return the type restricted to `choices` where it took text or numbers before."""
        return replace(self, kinds=self.kinds - {"str", "int", "float"}, choices=choices)

    def describe(self) -> str:
        """Say in words what is expected: `an integer or null`."""
        words = [str(choice).lower() if isinstance(choice, bool) else str(choice) for choice in self.choices]
        parts = [f"one of {', '.join(words)}"] if len(words) > 1 else words
        order = ("bool", "int", "float", "str")
        # "an integer or a number" says no more than "a number".
        shown = [kind for kind in order if kind in self.kinds and (kind != "int" or "float" not in self.kinds)]
        parts += [_IN_WORDS[kind] for kind in shown]
        if self.item is not None:
            parts.append("a list" if self.item.any else f"a list of ({self.item.describe()})")
        if self.values is not None or self.block is not None:
            parts.append("a mapping")
        if "none" in self.kinds:
            parts.append("null")
        return " or ".join(parts) if parts else "any value"

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of this type; blocks become references to `#/$defs/<name>`."""
        if self.any:
            return {}
        options: list[dict[str, Any]] = []
        if self.choices:
            options.append({"enum": list(self.choices)})
        kinds = [_JSON[kind] for kind in ("bool", "int", "float", "str", "none") if kind in self.kinds]
        if kinds:
            options.append({"type": kinds[0] if len(kinds) == 1 else kinds})
        if self.item is not None:
            options.append({"type": "array", "items": self.item.schema()})
            if "str" in self.item.kinds:
                options.append({"type": "string"})
        if self.values is not None:
            options.append({"type": "object", "additionalProperties": self.values.schema()})
        if self.block is not None:
            options.append({"$ref": f"#/$defs/{self.block.rpartition(':')[2]}"})
        return options[0] if len(options) == 1 else {"anyOf": options}


ANY = FieldType(kinds=frozenset({"any"}))
NONE = FieldType(kinds=frozenset({"none"}))


def literal_type(values: tuple[Any, ...]) -> FieldType:
    """Return the type of `Literal[values]`."""
    kinds = frozenset({"none"}) if None in values else frozenset()
    return FieldType(kinds=kinds, choices=tuple(value for value in values if value is not None))


def union(types: Sequence[FieldType]) -> FieldType:
    """Return the type that takes what any of `types` takes.

    An enum beside `str` keeps only its values: TRL and transformers write `SchedulerType | str` and turn the
    text into the enum, so other text is an error there too.
    """
    if any(kind.any for kind in types):
        return ANY
    choices = tuple(dict.fromkeys(choice for kind in types for choice in kind.choices))
    kinds = frozenset().union(*(kind.kinds for kind in types))
    if any(isinstance(choice, str) for choice in choices):
        kinds -= {"str"}
    items = [kind.item for kind in types if kind.item is not None]
    values = [kind.values for kind in types if kind.values is not None]
    blocks = [kind.block for kind in types if kind.block is not None]
    return FieldType(
        kinds=kinds,
        choices=choices,
        item=union(items) if items else None,
        values=union(values) if values else None,
        block=blocks[0] if blocks else None,
    )


def type_of_default(value: Any) -> FieldType:
    """Guess the type of an argument without annotation from its default; None says nothing."""
    for python, kind in ((bool, "bool"), (int, "int"), (float, "float"), (str, "str")):
        if isinstance(value, python):
            return FieldType(kinds=frozenset({kind}))
    return ANY
