"""Run the benchmarks of the data tools one after the other and write what they print into `RESULTS.md`.

    OMP_NUM_THREADS=1 python -m benchmarks.data_tools CASES DATA [verify extract dedup decontaminate difficulty]

CASES holds the labelled cases (`verify_*.jsonl`, `dedup_pairs.jsonl`, ...), DATA the folders `problems`,
`worked_solutions`, `rollouts` and `decontam`. A section that is measured again replaces its old text; others stay.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from benchmarks.sections import RESULTS, write_section


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
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        write_section(part, done.stdout)


if __name__ == "__main__":
    main()
