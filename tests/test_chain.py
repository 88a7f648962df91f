"""The whole curriculum end to end: what a user sees, and what survives kills, other processes and changed settings."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.shared import ROOT

SMOKE = ROOT / "recipes" / "smoke.yaml"
STAGES = ("base", "sft-stage1", "difficulty", "sft-stage2", "dpo", "merge", "grpo")


def run(folder: Path, *args: str, module: str = "light_r1.run", launcher: tuple[str, ...] = (), check: bool = True):
    command = [*(launcher or (sys.executable,)), "-m", module, str(SMOKE), *args]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=500)
    if check and done.returncode:
        pytest.fail(f"{command} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return done


def manifests(folder: Path) -> dict[str, dict]:
    found = (folder / "runs/smoke").glob("*/manifest.json")
    return {path.parent.name: json.loads(path.read_text()) for path in found if "superseded" not in path.parent.name}


def results(folder: Path) -> dict[str, dict[str, float]]:
    """The numbers of each stage that say what came out, without those that say how fast."""
    timed = ("runtime", "per_second", "step_time", "seconds")
    return {
        name: {key: value for key, value in manifest["metrics"].items() if not any(word in key for word in timed)}
        for name, manifest in manifests(folder).items()
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A folder in which the smoke recipe has run to its end."""
    folder = tmp_path_factory.mktemp("chain")
    run(folder)
    return folder


def test_every_stage_is_done_and_evaluated(finished):
    done = manifests(finished)
    assert set(STAGES) <= set(done)
    assert {f"{stage}.evaluate" for stage in STAGES if stage != "difficulty"} <= set(done)
    for stage in STAGES:
        assert done[stage]["outputs"], f"{stage} has no output"
    assert (finished / "runs/smoke/report.md").exists()
    assert (finished / "runs/smoke/report.html").exists()


def test_a_second_run_does_nothing(finished):
    before = {path: path.stat().st_mtime_ns for path in (finished / "runs/smoke").glob("*/manifest.json")}
    output = run(finished).stdout
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert output.count("skipped") == len(before)


def test_no_optimizer_state_is_left(finished):
    assert not list((finished / "runs/smoke").glob("*/checkpoints/**/optimizer.pt"))


def test_a_changed_setting_reruns_its_stage_and_those_after_it_only(finished, tmp_path):
    shutil.copytree(finished / "runs", tmp_path / "runs")
    before = manifests(tmp_path)
    output = run(tmp_path, "--set", "dpo.args.beta=0.25").stdout
    after = manifests(tmp_path)
    changed = {name for name in after if after[name]["fingerprint"] != before[name]["fingerprint"]}
    assert changed == {"dpo", "dpo.evaluate", "merge", "merge.evaluate", "grpo", "grpo.evaluate"}
    assert "beta" in output
    assert list((tmp_path / "runs/smoke").glob("dpo.superseded-*"))


@pytest.mark.parametrize("stage", [*STAGES, "grpo.evaluate"])
def test_a_killed_stage_goes_on_to_the_same_end(finished, tmp_path, stage):
    shutil.copytree(finished / "runs", tmp_path / "runs")
    order = [folder for name in STAGES for folder in (name, f"{name}.evaluate")]
    for folder in order[order.index(stage) :]:
        shutil.rmtree(tmp_path / "runs/smoke" / folder, ignore_errors=True)
    killed = run(tmp_path, stage, module="tests.killed_run", check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    assert stage not in manifests(tmp_path)
    begun = tmp_path / "runs/smoke" / stage
    assert list(begun.glob("checkpoints/checkpoint-*")) or list(begun.glob("rollouts-*")) or stage == "merge"
    run(tmp_path, "--stage", stage)
    expected, found = results(finished), results(tmp_path)
    assert found[stage] == pytest.approx(expected[stage], rel=1e-6, abs=1e-9, nan_ok=True)
    if f"{stage}.evaluate" in expected:
        assert found[f"{stage}.evaluate"] == expected[f"{stage}.evaluate"]


@pytest.mark.slow
def test_two_processes_share_the_work(finished, tmp_path):
    torchrun = (str(Path(sys.executable).with_name("torchrun")), "--standalone", "--nproc_per_node", "2")
    halves = [f"{part}.args.per_device_train_batch_size={size}" for part, size in (("defaults", 8), ("grpo", 4))]
    run(tmp_path, *(f"--set={half}" for half in halves), launcher=torchrun, module="tests.left_run")
    done = manifests(tmp_path)
    assert set(done) == set(manifests(finished))
    assert {manifest["world_size"] for manifest in done.values()} == {2}
    for stage in ("base.evaluate", "difficulty", "dpo"):
        files = [tmp_path / "runs/smoke" / stage / f"rollouts-{rank}.jsonl" for rank in (0, 1)]
        shares = [file.read_text(encoding="utf-8").count("\n") for file in files]
        assert min(shares) > 0, f"{stage}: one rank sampled nothing: {shares}"


def test_a_second_run_beside_a_live_one_is_refused(finished, tmp_path):
    from light_r1.run_dir.folder import RunDir

    shutil.copytree(finished / "runs", tmp_path / "runs")
    with RunDir(tmp_path / "runs/smoke").lock():
        refused = run(tmp_path, check=False)
    assert refused.returncode == 1
    assert str(os.getpid()) in refused.stderr


def test_a_stage_whose_input_is_missing_says_what_to_run_first(tmp_path):
    refused = run(tmp_path, "--stage", "dpo", check=False)
    assert refused.returncode == 1
    assert "dpo needs sft-stage2, which is not done" in refused.stderr
    assert "Traceback" not in refused.stderr
