"""Two sides of a comparison, alternated in every round, and the JSON that the result tables are made of.

Times are CPU seconds of this process, which other work on the machine hardly changes; on a GPU, seconds.
"""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
import transformers
import trl

from benchmarks.sections import write_section

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Comparison:
    """What was measured on both sides, round by round.

    Args:
        what: Name of the row.
        unit: Of `theirs` and `ours`.
        theirs: Plain TRL or transformers, one number a round.
        ours: light_r1, one number a round.
        better: Which side of 1 `ours / theirs` should be on; `less` reports differences instead of ratios.
        largest_difference: Between the numbers both sides computed in the same run.
        settings: What the numbers depend on.
    """

    what: str
    unit: str
    theirs: list[float]
    ours: list[float]
    better: str
    largest_difference: float
    settings: dict[str, Any] = field(default_factory=dict)

    def gains(self) -> list[float]:
        """Return the gain of each round: a ratio, or milliseconds more for `less`."""
        pairs = zip(self.theirs, self.ours, strict=True)
        if self.better == "less":
            return sorted(ours - theirs for theirs, ours in pairs)
        return sorted(ours / theirs for theirs, ours in pairs)

    def line(self) -> str:
        """Return one row of a Markdown table."""
        gains = self.gains()
        digits = "+.2f" if self.better == "less" else ".2f"
        return (
            f"| {self.what}, {self.unit} | {statistics.median(self.theirs):,.2f} | "
            f"{statistics.median(self.ours):,.2f} | {statistics.median(gains):{digits}} "
            f"({gains[0]:{digits}} to {gains[-1]:{digits}}, n={len(gains)}) | {self.largest_difference:.1e} |"
        )


HEAD = "| What | TRL / transformers | light_r1 | gain: median (range) | largest difference |\n|---|---|---|---|---|"


def seconds(work: Callable[[], Any]) -> float:
    """Return how long some work takes."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        torch.cuda.synchronize()
        return time.perf_counter() - start
    start = time.process_time()
    work()
    return time.process_time() - start


def alternate(run: Callable[[bool, int], float], rounds: int) -> tuple[list[float], list[float]]:
    """Call `run(ours, round)` for both sides in turn; the first round warms up and does not count."""
    found: dict[bool, list[float]] = {False: [], True: []}
    for round_ in range(rounds + 1):
        for ours in (False, True) if round_ % 2 else (True, False):
            value = run(ours, round_)
            if round_:
                found[ours].append(value)
    return found[False], found[True]


def machine() -> dict[str, Any]:
    """Return what the numbers were measured on."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "cpu": platform.machine(),
        "gpu": gpu,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "trl": trl.__version__,
    }


def write(name: str, comparisons: list[Comparison], folder: Path = RESULTS) -> Path:
    """Write comparisons as JSON, and the table of all of them; those of an earlier run with other names stay."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    found = json.loads(path.read_text(encoding="utf-8"))["comparisons"] if path.exists() else {}
    for one in comparisons:
        gains = one.gains()
        found[one.what] = asdict(one) | {
            "gain": {"median": statistics.median(gains), "least": gains[0], "most": gains[-1], "n": len(gains)},
            "machine": machine(),
        }
    path.write_text(json.dumps({"comparisons": found}, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    names = [one.name for one in fields(Comparison)]
    lines = [Comparison(**{field: each[field] for field in names}).line() for each in found.values()]
    threads = sorted({each["machine"]["threads"] for each in found.values()})
    told = f"CPU seconds; threads: {', '.join(map(str, threads))}." if not torch.cuda.is_available() else ""
    write_section(name, "\n".join([told, "", HEAD, *lines]), folder.parent / "RESULTS.md")
    return path
