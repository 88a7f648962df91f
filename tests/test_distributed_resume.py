"""Two processes that go on inside an epoch see the rows they would have seen: the end is the same to the bit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.shared import ROOT


def run(folder: Path, how: str, *checkpoint: str, processes: int = 2):
    folder.mkdir()
    command = [str(Path(sys.executable).with_name("torchrun")), "--standalone", "--nproc_per_node", str(processes)]
    if processes == 1:
        command = [sys.executable]
    done = subprocess.run(
        [*command, "-m", "tests.distributed_resume", str(folder), how, str(processes), *checkpoint],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return torch.load(folder / "end.pt")


@pytest.mark.slow
@pytest.mark.parametrize("how", ["padded", "packed"])
def test_two_processes_go_on_inside_an_epoch(tmp_path, how):
    whole = run(tmp_path / "whole", how)
    middle = whole["steps"] * 3 // 4  # in the second epoch, which is in another order than the first
    assert middle > whole["steps"] // 2 and middle < whole["steps"]
    again = run(tmp_path / "again", how, str(tmp_path / "whole" / f"checkpoint-{middle}"))
    assert all(torch.equal(value, again["weights"][name]) for name, value in whole["weights"].items())


@pytest.mark.slow
def test_one_process_goes_on_with_the_batch_that_two_began(tmp_path):
    whole = run(tmp_path / "whole", "split", processes=1)
    run(tmp_path / "two", "split")
    middle = whole["steps"] * 3 // 4
    again = run(tmp_path / "again", "split", str(tmp_path / "two" / f"checkpoint-{middle}"), processes=1)
    assert again["steps"] == whole["steps"] == 8, "16 rows in batches of 4, twice"
    for name, value in whole["weights"].items():
        assert torch.allclose(value, again["weights"][name], atol=1e-5), name
