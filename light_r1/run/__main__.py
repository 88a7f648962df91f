"""`python -m light_r1.run RECIPE`, under `accelerate launch` or `torchrun` too."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from light_r1.run.command import run_main


def main(argv: Sequence[str] | None = None) -> int:
    """Run or plan a recipe from the command line."""
    # Before torch starts its threads: where other work shares the cores, threads that spin for long while they wait
    # for each other made the small products of a tiny model 5 to 30 times slower. GNU OpenMP spins as little as this
    # by itself where it knows of more threads than cores; not to spin at all costs a quarter on a quiet machine.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    return run_main(sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    sys.exit(main())
