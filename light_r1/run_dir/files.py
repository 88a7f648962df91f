"""Files that appear whole or not at all: temporary file, fsync, rename, fsync of the folder.

A reader, or a run that starts after a power cut, sees the old content or the new one, never a part.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_whole(path: str | Path, text: str) -> None:
    """Replace the content of a file in one step; missing parent folders are made.

    Args:
        path: The file.
        text: Its new content, written as UTF-8.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_json(path: str | Path, value: Mapping[str, Any]) -> None:
    """Replace a file with a JSON object, indented for people.

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


def sync_folder(folder: Path) -> None:
    """Make renames in a folder survive a power cut, where the system can (not on Windows)."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
