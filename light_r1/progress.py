"""One progress bar for long work, readable on a terminal and in a log file."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm

_LOG_INTERVAL_S = 20.0


def progress_bar(*, total: int, desc: str, unit: str, shown: bool, initial: int = 0) -> Any:
    """Return a tqdm bar that refreshes often on a terminal and every 20 s in a file.

    Args:
        total: Units of work.
        desc: Name in front of the bar.
        unit: Name of a unit.
        shown: Whether to show it at all; only rank 0 should.
        initial: Units done before.
    """
    interval = 0.1 if sys.stderr.isatty() else _LOG_INTERVAL_S
    return tqdm(
        total=total,
        desc=desc,
        unit=unit,
        initial=initial,
        disable=not shown,
        mininterval=interval,
        maxinterval=max(10.0, interval),
        smoothing=0.05,
    )
