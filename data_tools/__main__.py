"""`python -m data_tools TOOL IN OUT [--option ...]`, built from the signatures of the tools.

Nothing here decides anything: words become the arguments of `run_tool`. Neither help nor a wrong option
imports a tool.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from data_tools.engine.catalogue import TOOLS, ToolDoc, tool_doc
from data_tools.engine.option_values import Option, parse_text
from data_tools.engine.run_tool import run_tool
from data_tools.errors import DataToolsError, did_you_mean


class _Parser(argparse.ArgumentParser):
    """Raises instead of printing usage at every fault; the caller prints the one sentence that matters."""

    def error(self, message: str) -> NoReturn:
        raise DataToolsError(message)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line.

    Args:
        argv: The words after the program's name; those of this process by default.

    Returns:
        0, or 2 when the input or the command is wrong (the reason is printed to stderr).
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if not words or words[0] in ("-h", "--help"):
            print(_overview())
            return 0 if words else 2
        arguments = _parse(words[0].replace("-", "_"), words[1:])
        report = run_tool(**arguments)
        print(report)
    except BrokenPipeError:
        # Whoever read our output (`| head`) has gone; keep the interpreter from writing to it once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except DataToolsError as error:
        print(f"data_tools: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # a disk that is full, a folder that is a file
        print(f"data_tools: {error.filename} cannot be written: {error.strerror}", file=sys.stderr)
        return 2
    return 0


def _overview() -> str:
    width = max(map(len, TOOLS))
    lines = [f"  {name:<{width}}  {tool_doc(name).summary}" for name in TOOLS]
    return "\n".join(
        [
            "usage: python -m data_tools TOOL IN OUT [--option VALUE ...]",
            "",
            "Files: .jsonl .json (also .gz .xz .zst), .parquet, a folder (a saved dataset).",
            "OUT.dropped.jsonl and OUT.report.json say what was left out and why.",
            "",
            "tools:",
            *lines,
            "",
            "python -m data_tools TOOL --help shows the options of one.",
        ]
    )


def _parse(tool: str, words: list[str]) -> dict[str, Any]:
    """Turn the words behind a tool's name into the arguments of `run_tool`."""
    doc = tool_doc(tool)
    parser = _Parser(
        prog=f"python -m data_tools {tool}",
        usage=f"python -m data_tools {tool} IN OUT [--option VALUE ...]",
        description=_description(doc),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("in_path", metavar="IN", type=Path)
    parser.add_argument("out_path", metavar="OUT", type=Path)
    own = parser.add_argument_group("options")
    for option in doc.options.values():
        _add(own, option)
    common = parser.add_argument_group("options of every tool")
    common.add_argument("--columns", nargs="+", default=[], metavar="NAME=COLUMN", help="problem=question ...")
    common.add_argument("--workers", type=int, default=1, metavar="N", help="processes for row-wise tools")
    common.add_argument("--engine", choices=("local", "ray"), default="local", help="where row-wise tools run")
    common.add_argument("--on-error", choices=("stop", "skip"), default="stop", help="at a malformed row")
    parsed, unknown = parser.parse_known_args(words)
    if unknown:
        raise DataToolsError(_unknown(tool, unknown[0], parser))
    values = vars(parsed)
    options = {name: parse_text(doc.options[name], values[name]) for name in doc.options if values[name] is not None}
    return {
        "name": tool,
        "in_path": parsed.in_path,
        "out_path": parsed.out_path,
        "options": options,
        "columns": _columns(parsed.columns),
        "workers": parsed.workers,
        "on_error": parsed.on_error,
        "engine": parsed.engine,
        "progress": True,
    }


def _description(doc: ToolDoc) -> str:
    """Return a tool's docstring without what the list of options says anyway."""
    drops = [f"  {reason}: {text}" for reason, text in doc.drops.items()]
    return "\n".join([doc.text.partition("\n\nArgs:")[0], "", "drops, by reason:", *drops])


def _add(group: argparse._ArgumentGroup, option: Option) -> None:
    """Add one flag; its words are read by `parse_text`, the same for every type."""
    flag = f"--{option.name.replace('_', '-')}"
    default = "required" if option.required else f"default {option.default}"
    words = option.help.rstrip(".") + ("" if option.default is None and not option.required else f"; {default}")
    text = words.replace("%", "%%").strip()
    metavar = "|".join(map(str, option.choices)) or "|".join(option.kinds).upper()
    if option.kinds == ("bool",) and not option.many:
        group.add_argument(flag, dest=option.name, action="store_const", const=["true"], help=text)
        no_flag = f"--no-{option.name.replace('_', '-')}"
        group.add_argument(no_flag, dest=option.name, action="store_const", const=["false"])
        return
    count = "+" if option.many else 1
    group.add_argument(flag, dest=option.name, nargs=count, required=option.required, help=text, metavar=metavar)


def _columns(words: Sequence[str]) -> dict[str, str]:
    columns = {}
    for word in words:
        name, equals, column = word.partition("=")
        if not equals or not column:
            raise DataToolsError(f"--columns takes NAME=COLUMN, as in problem=question; found {word!r}")
        columns[name] = column
    return columns


def _unknown(tool: str, word: str, parser: argparse.ArgumentParser) -> str:
    """Say which flag an unknown word may have meant."""
    flags = [flag for action in parser._actions for flag in action.option_strings if flag.startswith("--")]
    if not word.startswith("-"):
        return f"{tool} takes one IN and one OUT; {word!r} is one word too many"
    hint = did_you_mean(word.partition("=")[0], flags) or f"Its options are {', '.join(flags[1:])}."
    return f"{tool} has no option {word}. {hint}"


if __name__ == "__main__":
    sys.exit(main())
