"""Locates the checkout, and the large real-data files that some tests use and that most checkouts do not have."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_ROOTS = (os.environ.get("LIGHT_R1_SHARED", ""), str(ROOT.parent / "shared"))


def shared_file(name: str) -> Path:
    """Return the path of a shared data file, or skip the test saying which file it needs."""
    for root in _ROOTS:
        if root and (Path(root) / name).exists():
            return Path(root) / name
    pytest.skip(f"needs the shared file {name}; set LIGHT_R1_SHARED to the folder that holds it")


_DEATH = """
import os, signal
rename = os.replace
def replace(source, target):
    if os.fspath(target) == {path!r}:
        os.kill(os.getpid(), signal.SIGKILL)
    rename(source, target)
os.replace = replace
"""


def killed_before_the_rename(path: Path, code: str) -> None:
    """Run code in a process that dies by SIGKILL when a new file is complete but not yet called `path`."""
    code = _DEATH.format(path=str(path)) + code
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == -signal.SIGKILL
