"""Run the benchmarks of the data tools one after the other and write what they print into `RESULTS.md`.

    OMP_NUM_THREADS=1 python benchmarks/data_tools.py CASES DATA [verify extract dedup decontaminate difficulty]

CASES holds the labelled cases (`verify_*.jsonl`, `dedup_pairs.jsonl`, ...), DATA the folders `problems`,
`worked_solutions`, `rollouts` and `decontam`. A section that is measured again replaces its old text; others stay.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
from datetime import date
from pathlib import Path

RESULTS = Path(__file__).with_name("RESULTS.md")


def commands(cases: Path, data: Path) -> dict[str, list[str]]:
    return {
        "verify": ["verify", str(cases), "--rollouts", str(data / "rollouts")],
        "extract": [
            "extract",
            str(data / "worked_solutions"),
            "--outputs",
            str(cases / "extract_model_outputs.jsonl"),
        ],
        "dedup": ["dedup", str(cases / "dedup_pairs.jsonl"), str(data / "problems/math_train.jsonl.gz")],
        "decontaminate": ["decontaminate", str(data)],
        "difficulty": ["difficulty", str(data / "rollouts")],
    }


def write_section(name: str, printed: str) -> None:
    """Put a section into RESULTS.md, with the day and the machine it was measured on."""
    text = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else "# Results\n"
    where = f"{date.today()}, {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    section = f"## {name}\n\n{where}.\n\n{printed.strip()}\n"
    pattern = re.compile(rf"^## {re.escape(name)}\n.*?(?=^## |\Z)", re.DOTALL | re.MULTILINE)
    text = pattern.sub(lambda _: section + "\n", text) if pattern.search(text) else f"{text.rstrip()}\n\n{section}"
    RESULTS.write_text(text.rstrip() + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("parts", nargs="*")
    options = parser.parse_args()
    known = commands(options.cases, options.data)
    for part in options.parts or known:
        print(part, flush=True)
        module, *arguments = known[part]
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{module}", *arguments],
            cwd=RESULTS.parent.parent,
            capture_output=True,
            text=True,
            check=True,
        )
        write_section(part, done.stdout)


if __name__ == "__main__":
    main()
