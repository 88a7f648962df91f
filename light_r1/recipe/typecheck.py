"""Check YAML nodes against option tables and turn them into plain values.

Strict where TRL is lax: a float is no integer, text is no number, a word outside the choices is an error.
Lenient only where YAML itself misleads: `1e-5` is a number, `no` is false for a boolean field and the text
"no" for a text field. Every fault is collected with its place; nothing raises.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from light_r1.errors import Problem, did_you_mean
from light_r1.recipe.bounds import CHOICES, limit_of
from light_r1.recipe.options.table import REQUIRED, Field, Table, table
from light_r1.recipe.options.types import FieldType
from light_r1.recipe.yaml_lines import Node, Place

_YES_NO = {"yes": True, "on": True, "no": False, "off": False}


@dataclass(slots=True)
class Faults:
    """Problems found so far, in order, each once."""

    problems: list[Problem] = field(default_factory=list)

    def add(self, place: Place | str, what: str, *, expected: str = "", hint: str = "") -> None:
        """Note one problem at a place, unless the same one is noted already."""
        problem = Problem(str(place), what, expected, hint)
        if problem not in self.problems:
            self.problems.append(problem)

    def at(self, node: Node, what: str, *, expected: str = "", hint: str = "") -> None:
        """Note one problem about a node, named by its dotted key."""
        self.add(node.place, f"{node.key}: {what}" if node.key else what, expected=expected, hint=hint)


class _Faulty:
    """Stands for a value that could not be read."""


FAULTY = _Faulty()


def check_block(
    node: Node,
    options: Table,
    faults: Faults,
    *,
    also: Mapping[str, str] | None = None,
    skip: Iterable[str] = (),
    of: str = "",
) -> dict[str, Any]:
    """Check a mapping against a table.

    Args:
        node: The mapping; anything else is a fault.
        options: The options it may have.
        faults: Where faults are noted.
        also: Name -> hint for keys that are wrong here but right elsewhere.
        skip: Keys that the caller checks itself.
        of: Class or function that errors name, where a user knows it by name.

    Returns:
        The values of the keys that are right, in the order they were written.
    """
    if not isinstance(node.value, dict):
        faults.at(node, f"is {_shown(node)}", expected="a mapping")
        return {}
    values: dict[str, Any] = {}
    skipped = set(skip)
    for name, child in node.value.items():
        if name in skipped:
            continue
        option = options.fields.get(name)
        if option is None and options.open:
            values[name] = free_value(child, faults)
        elif option is None:
            hint = (also or {}).get(name) or did_you_mean(name, [*options.fields, *skipped])
            faults.at(child, f"no such option of {of}" if of else "no such option", hint=hint)
        else:
            value = check_field(child, option, faults)
            if value is not FAULTY:
                values[name] = value
    for name, option in options.fields.items():
        if option.default is REQUIRED and name not in node.value and name not in skipped:
            faults.at(node, f"{name} is missing", expected=f"{name}: {option.type.describe()}")
    return values


def check_field(node: Node, option: Field, faults: Faults) -> Any:
    """Check one value against its option: type, choices and bounds; `FAULTY` if it is wrong."""
    kind = option.type
    choices = CHOICES.get(f"{option.owner}.{option.name}")
    if choices is not None:
        if kind.item is not None:
            kind = replace(kind, item=kind.item.with_choices(choices))
        if kind.item is None or "str" in kind.kinds:
            kind = kind.with_choices(choices)
    value = check_value(node, kind, faults)
    limit = limit_of(option.owner, option.name)
    if value is FAULTY or limit is None:
        return value
    numbers = value if isinstance(value, list) else [value]
    for number in numbers:
        if isinstance(number, int | float) and not isinstance(number, bool) and not limit.holds(number):
            faults.at(node, f"{number:g} is out of range", expected=limit.describe())
            return FAULTY
    return value


def check_value(node: Node, kind: FieldType, faults: Faults) -> Any:
    """Check one value against a type; `FAULTY` if it does not fit."""
    if kind.any:
        return free_value(node, faults)
    value = node.value
    if isinstance(value, dict):
        return _check_mapping(node, kind, faults)
    if isinstance(value, list):
        if kind.item is None:
            return _refuse(node, kind, faults)
        items = [check_value(item, kind.item, faults) for item in value]
        return FAULTY if any(item is FAULTY for item in items) else items
    result = _check_scalar(node, kind)
    if result is not FAULTY:
        return result
    if isinstance(value, str) and kind.item is not None and not kind.choices:
        # TRL takes `loss_type: nca_pair` for a list of one.
        single = _check_scalar(node, kind.item)
        if single is not FAULTY:
            return [single]
        if kind.item.choices:
            return _refuse(node, kind.item, faults)
    return _refuse(node, kind, faults)


def _check_mapping(node: Node, kind: FieldType, faults: Faults) -> Any:
    if kind.block is not None:
        return check_block(node, table(kind.block), faults)
    if kind.values is None:
        return _refuse(node, kind, faults)
    checked = {name: check_value(child, kind.values, faults) for name, child in node.items.items()}
    return FAULTY if any(value is FAULTY for value in checked.values()) else checked


def _check_scalar(node: Node, kind: FieldType) -> Any:
    value = node.value
    if value is None:
        return None if "none" in kind.kinds else FAULTY
    for choice in kind.choices:
        if type(choice) is type(value) and choice == value:
            return choice
    if isinstance(value, bool):
        return value if "bool" in kind.kinds else FAULTY
    if isinstance(value, int):
        if "int" in kind.kinds:
            return value
        return float(value) if "float" in kind.kinds else FAULTY
    if isinstance(value, float):
        return value if "float" in kind.kinds and not math.isnan(value) else FAULTY
    if "str" in kind.kinds or _is_template_choice(value, kind):
        return value
    if node.plain and "bool" in kind.kinds and isinstance(value, str):
        return _YES_NO.get(value.lower(), FAULTY)
    return FAULTY


def _is_template_choice(value: Any, kind: FieldType) -> bool:
    """Whether text fits a choice with a placeholder, like peft's `pissa_niter_[number of iters]`."""
    templates = [choice.partition("[") for choice in kind.choices if isinstance(choice, str)]
    return any(mark and str(value).startswith(start) for start, mark, _ in templates)


def _refuse(node: Node, kind: FieldType, faults: Faults) -> Any:
    value = node.value
    hint = ""
    if isinstance(value, str):
        hint = did_you_mean(value, [choice for choice in kind.choices if isinstance(choice, str)])
        if not hint and not node.plain and {"int", "float"} & kind.kinds:
            hint = "Write it without quotes."
    elif isinstance(value, float) and "int" in kind.kinds and value.is_integer():
        hint = f"Write {int(value)}."
    elif isinstance(value, int | float) and "str" in kind.kinds and not isinstance(value, bool):
        hint = f'Write "{value}".'
    faults.at(node, f"is {_shown(node)}", expected=kind.describe(), hint=hint)
    return FAULTY


def _shown(node: Node) -> str:
    value = node.value
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    if value is None:
        return "empty"
    return f"the text {value!r}" if isinstance(value, str) else f"the number {value}"


def free_value(node: Node, faults: Faults) -> Any:
    """Return a value no table describes; only words that YAML 1.1 took for booleans are refused there."""
    for below in node.walk():
        if below.plain and isinstance(below.value, str) and below.value.lower() in _YES_NO:
            faults.at(
                below,
                f"the word {below.value} is ambiguous here",
                expected=f'"{below.value}" in quotes, or {str(_YES_NO[below.value.lower()]).lower()}',
            )
    return node.data()
