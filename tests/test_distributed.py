"""Two processes take the step that one takes: the same rows, samples, rewards and gradients."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.shared import ROOT


def step(folder: Path, kind: str, how: str, processes: int) -> dict[str, torch.Tensor]:
    folder.mkdir()
    launcher = [sys.executable]
    if processes > 1:
        torchrun = str(Path(sys.executable).with_name("torchrun"))
        launcher = [torchrun, "--standalone", "--nproc_per_node", str(processes)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*launcher, "-m", "tests.distributed_step", kind, how, str(processes), str(folder)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return torch.load(folder / "weights.pt")


CASES = [(kind, how) for kind in ("sft", "dpo", "grpo", "grpo-chosen") for how in ("full", "lora")]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "how"), [*CASES, ("grpo-groups", "full"), ("grpo-groups-chosen", "full")])
def test_two_processes_take_the_step_of_one(tmp_path, kind, how):
    one = step(tmp_path / "one", kind, how, 1)
    two = step(tmp_path / "two", kind, how, 2)
    from tests.conftest import character_tokenizer, make_model

    start = make_model(character_tokenizer("chatml", think_special=True)).state_dict()
    moved = 0.0
    for name, value in one.items():
        assert torch.allclose(value, two[name], atol=2e-5), f"{name} differs by {(value - two[name]).abs().max()}"
        if name in start:
            moved = max(moved, float((value - start[name]).abs().max()))
        elif "lora_B" in name:
            moved = max(moved, float(value.abs().max()))
    assert moved > 1e-4, "nothing was learned, so equality says nothing"
    if kind == "grpo-chosen":
        alone, *ranks = (
            torch.load(tmp_path / name) for name in ("one/chosen_0.pt", "two/chosen_0.pt", "two/chosen_1.pt")
        )
        assert all(rank == alone for rank in ranks), "the ranks chose other prompts"
    if kind.startswith("grpo-groups"):
        (alone, history, extra), *ranks = (
            torch.load(tmp_path / name) for name in ("one/groups_0.pt", "two/groups_0.pt", "two/groups_1.pt")
        )
        assert sorted(ranks[0][0] + ranks[1][0]) == sorted(alone), "a group was judged twice or not at all"
        assert len(set(alone)) == len(alone) and all(rank[0] for rank in ranks)
        assert extra["rank"] and all(rank[2] == extra for rank in ranks), "logged values moved"
        for one_event, two_event in zip(history, ranks[0][1], strict=True):
            timed = {key for key in one_event if "seconds" in key}
            assert {k: v for k, v in two_event.items() if k not in timed} == pytest.approx(
                {k: v for k, v in one_event.items() if k not in timed}
            )
