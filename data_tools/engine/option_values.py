"""One option of a tool: its type, and a value checked against it or read from a command line."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_tools.errors import DataToolsError, did_you_mean

_SCALARS = ("bool", "int", "float", "str", "Path")


@dataclass(frozen=True, slots=True)
class Option:
    """One keyword-only argument of a tool.

    Args:
        name: Its name, which is also the flag (`--min-n`) and the recipe key (`min_n`).
        kinds: The types of a value: names among bool, int, float, str, Path.
        choices: The values of a Literal; empty if any value goes.
        many: Whether it takes a list.
        optional: Whether None is a value.
        required: Whether it has no default.
        default: Its default; None if required.
        help: Its text in the docstring's Args section.
        written: Whether it names a file that the tool writes (the docstring's Writes section), not one it reads.
    """

    name: str
    kinds: tuple[str, ...] = ()
    choices: tuple[Any, ...] = ()
    many: bool = False
    optional: bool = False
    required: bool = False
    default: Any = None
    help: str = ""
    written: bool = False

    @property
    def expected(self) -> str:
        """What a value must be, in words."""
        one = " or ".join([*self.kinds, *([f"one of {', '.join(map(str, self.choices))}"] if self.choices else [])])
        words = f"a list of {one}" if self.many else one
        return f"{words}, or null" if self.optional else words


def check_value(option: Option, value: Any) -> Any:
    """Return a YAML or Python value as the option's type.

    YAML reads `1e-5` as text, so a float also takes text that is a number.

    Raises:
        DataToolsError: If it is none of the types; the message says what was expected.
    """
    if value is None and option.optional:
        return None
    if option.many:
        if isinstance(value, list | tuple):
            return [_check_scalar(option, item) for item in value]
        raise _wrong(option, value)
    return _check_scalar(option, value)


def parse_text(option: Option, texts: list[str]) -> Any:
    """Return command-line words as the option's type; `none` is None where that is allowed.

    Raises:
        DataToolsError: If they cannot be read as the type.
    """
    if option.optional and [word.lower() for word in texts] == ["none"]:
        return None
    values = [_parse_scalar(option, word) for word in texts]
    if option.many:
        return values
    if len(values) != 1:
        raise DataToolsError(f"{option.name}: expected {option.expected}, got {len(values)} values")
    return values[0]


def _check_scalar(option: Option, value: Any) -> Any:
    if option.choices and value in option.choices and not isinstance(value, bool):
        return value
    if isinstance(value, bool):
        if "bool" in option.kinds:
            return value
        raise _wrong(option, value)
    if isinstance(value, int) and "int" in option.kinds:
        return value
    if isinstance(value, int | float) and "float" in option.kinds:
        return float(value)
    if isinstance(value, str | Path) and "Path" in option.kinds:
        return Path(value)
    if isinstance(value, str) and "str" in option.kinds:
        return value
    if isinstance(value, str) and "float" in option.kinds:
        return _number(option, value, float)
    raise _wrong(option, value)


def _parse_scalar(option: Option, word: str) -> Any:
    for choice in option.choices:
        if word == str(choice):
            return choice
    if "bool" in option.kinds and word.lower() in ("true", "false"):
        return word.lower() == "true"
    if "int" in option.kinds and re.fullmatch(r"[+-]?\d+", word):
        return int(word)
    if "float" in option.kinds:
        return _number(option, word, float)
    if "Path" in option.kinds:
        return Path(word)
    if "str" in option.kinds:
        return word
    raise _wrong(option, word)


def _number(option: Option, word: str, kind: Callable[[str], Any]) -> Any:
    try:
        return kind(word)
    except ValueError:
        raise _wrong(option, word) from None


def _wrong(option: Option, value: Any) -> DataToolsError:
    hint = did_you_mean(str(value), map(str, option.choices))
    return DataToolsError(f"{option.name}: expected {option.expected}, found {value!r}. {hint}".rstrip())
