from __future__ import annotations

import os
import socket
import subprocess
import sys

from tests.shared import ROOT

BOTH_FAIL_ALIKE = """
from data_tools.errors import DataToolsError
from light_r1.errors import EXPLAINED, StageError
from light_r1.ranks import current_ranks, leave_ranks

ranks = current_ranks()
for error in (StageError("of a stage"), DataToolsError("a.jsonl row 3")):
    def make():
        assert ranks.is_main
        raise error
    try:
        ranks.from_main(make)
    except EXPLAINED as raised:
        print(raised)
try:
    ranks.from_main(lambda: 1 / 0)
except (ZeroDivisionError, StageError) as raised:
    print("of another kind" if ranks.is_main else raised)
leave_ranks()
"""


def test_an_error_of_rank_0_is_raised_on_every_rank():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(port), "PYTHONPATH": str(ROOT)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", BOTH_FAIL_ALIKE],
            env={**os.environ, **place, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        printed = [process.communicate(timeout=120)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    both = "of a stage\na.jsonl row 3\n"
    assert printed == [f"{both}of another kind\n", f"{both}rank 0: ZeroDivisionError: division by zero\n"]
