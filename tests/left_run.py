"""Run a recipe among several processes, then see that no thread of the process group outlives it.

`torchrun ... -m tests.left_run RECIPE [OPTION ...]`. A thread that still frees the tensors of the last collective
aborts an interpreter that shuts down, but only now and then: so its absence is what is checked.
"""

from __future__ import annotations

import sys
from pathlib import Path


def names_of_threads() -> list[str]:
    """The names of this process's threads where the system shows them (Linux)."""
    return [(thread / "comm").read_text().strip() for thread in Path("/proc/self/task").glob("*")]


def assert_left() -> None:
    """No thread of Gloo is left."""
    left = [name for name in names_of_threads() if "gloo" in name]
    assert not left, f"threads of the process group are left: {left}"


if __name__ == "__main__":
    from light_r1.run.__main__ import main

    code = main()
    assert_left()
    sys.exit(code)
