"""Texts and JSON written whole (`data_tools.rows.files.written_whole`), and lines appended."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data_tools.rows.files import written_whole


def write_whole(path: str | Path, text: str) -> None:
    """Replace the content of a file in one step; missing parent folders are made.

    Args:
        path: The file.
        text: Its new content, written as UTF-8.
    """
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | Path, value: Mapping[str, Any] | Sequence[Any]) -> None:
    """Replace a file with a JSON object or array, indented for people.

    Raises:
        TypeError: A value is not JSON.
    """
    write_whole(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def append_line(path: str | Path, value: Mapping[str, Any]) -> None:
    """Append one JSON object as a line, in one write.

    A line that an earlier process was killed in the middle of is ended first, so that it spoils itself only.

    Args:
        path: The JSON Lines file; made if missing.
        value: The object.
    """
    path = Path(path)
    line = json.dumps(value).encode() + b"\n"
    with path.open("a+b") as stream:
        if stream.tell():
            stream.seek(-1, os.SEEK_END)
            if stream.read(1) != b"\n":
                line = b"\n" + line
        stream.write(line)
