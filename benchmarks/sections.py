"""`RESULTS.md`: one section for each benchmark, replaced when that one runs again."""

from __future__ import annotations

import os
import platform
import re
from datetime import date
from pathlib import Path

RESULTS = Path(__file__).with_name("RESULTS.md")


def write_section(name: str, printed: str, path: Path = RESULTS) -> None:
    """Put a section into the file, with the day and the machine it was measured on."""
    text = path.read_text(encoding="utf-8") if path.exists() else "# Results\n"
    where = f"{date.today()}, {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    section = f"## {name}\n\n{where}.\n\n{printed.strip()}\n"
    pattern = re.compile(rf"^## {re.escape(name)}\n.*?(?=^## |\Z)", re.DOTALL | re.MULTILINE)
    text = pattern.sub(lambda _: section + "\n", text) if pattern.search(text) else f"{text.rstrip()}\n\n{section}"
    path.write_text(text.rstrip() + "\n", encoding="utf-8")
