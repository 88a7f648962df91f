import json
import subprocess
import sys

import pytest

from light_r1.batch import Batch
from light_r1.errors import RunDirError
from light_r1.run_dir.fingerprint import stage_fingerprint
from light_r1.run_dir.folder import RunDir, now
from light_r1.run_dir.manifest import Manifest
from light_r1.run_dir.words import readable_bytes

RESOLVED = {"type": "sft", "args": {"learning_rate": 5e-5}, "inputs": {"model": "a" * 16}}


def manifest(stage="sft"):
    return Manifest(stage=stage, type="sft", fingerprint="f" * 16, started=now(), ended=now(), seconds=1.0)


def test_layout(tmp_path):
    run = RunDir(tmp_path / "x")
    stage = run.stage("sft-stage1")
    stage.begin(RESOLVED)
    stage.log_metrics({"step": 1, "loss": 2.0})
    stage.write_manifest(manifest("sft-stage1"))
    stage.new_attempt()
    run.write_recipe("name: x\n", {"name": "x", "stages": [{"name": "sft-stage1"}]})
    found = {path.relative_to(run.root).as_posix() for path in run.root.rglob("*")}
    assert found == {
        "recipe.yaml",
        "recipe.resolved.json",
        "sft-stage1",
        "sft-stage1/stage.json",
        "sft-stage1/metrics.jsonl",
        "sft-stage1/manifest.json",
        "sft-stage1/output",
        "sft-stage1/attempts",
        "sft-stage1/attempts/1",
    }


def test_begin_records_settings_identity_and_batch_once(tmp_path):
    stage = RunDir(tmp_path).stage("sft")
    assert stage.read_begun() is None
    assert stage.begin(RESOLVED, batch=Batch(2, 4, 1)) == stage_fingerprint(RESOLVED)
    first = stage.read_begun()
    assert (first.resolved, first.batch, first.stage) == (RESOLVED, Batch(2, 4, 1), "sft")
    # An inert difference does not rewrite what the folder was made with; another split of the batch is noted.
    assert stage.begin({**RESOLVED, "args": {}}, batch=Batch(2, 4, 1)) == first.fingerprint
    assert stage.read_begun() == first
    stage.begin(RESOLVED, batch=Batch(1, 8, 1))
    assert stage.read_begun().batch == Batch(1, 8, 1)
    assert stage.read_begun().resolved == RESOLVED


@pytest.mark.parametrize("content", ["{", '{"fingerprint": "x"}', '{"batch": {"what": 1}}'])
def test_unreadable_stage_json_is_refused_with_what_to_do(tmp_path, content):
    stage = RunDir(tmp_path).stage("sft")
    stage.path.mkdir()
    stage.stage_json.write_text(content)
    with pytest.raises(RunDirError, match=r"stage\.json: not readable .* Move .*sft away"):
        stage.read_begun()


def test_attempts_are_numbered_and_never_reused(tmp_path):
    stage = RunDir(tmp_path).stage("sft")
    assert [stage.new_attempt().name for _ in range(11)] == [str(number) for number in range(1, 12)]


def test_superseded_folders_are_all_kept_and_their_size_is_said(tmp_path, caplog):
    caplog.set_level("INFO")
    run = RunDir(tmp_path)
    assert run.stage("sft").supersede() is None
    for number in range(2):
        stage = run.stage("sft")
        fp = stage.begin(RESOLVED)
        (stage.output / "w").write_bytes(b"x" * 2_000_000)
        target = stage.supersede()
        assert target.name == f"sft.superseded-{fp[:8]}" + ("-2" if number else "")
        assert (target / "output" / "w").exists()
        assert not stage.path.exists()
    assert "2.0 MB" in caplog.text
    assert run.stages() == []


def test_stages_come_in_the_recipes_order_and_evaluations_behind_theirs(tmp_path):
    run = RunDir(tmp_path)
    for name in ("dpo.evaluate", "dpo", "sft.evaluate", "extra", "sft"):
        run.stage(name).begin(RESOLVED)
    run.write_recipe("", {"stages": [{"name": "sft"}, {"name": "dpo"}, {"name": "not-begun"}]})
    assert [stage.name for stage in run.stages()] == ["sft", "sft.evaluate", "dpo", "dpo.evaluate", "extra"]


def test_manifest_is_there_only_when_written(tmp_path):
    stage = RunDir(tmp_path).stage("sft")
    stage.begin(RESOLVED)
    assert stage.read_manifest() is None
    written = manifest()
    stage.write_manifest(written)
    assert stage.read_manifest() == written
    assert json.loads(stage.manifest_json.read_text())["schema"] == 1


def test_lock_is_on_the_run(tmp_path):
    run = RunDir(tmp_path / "x")
    with run.lock():
        assert (tmp_path / "x" / ".lock").exists()
        with pytest.raises(RunDirError), RunDir(tmp_path / "x").lock():
            pass


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (64e9, "64.0 GB"), (2.5e12, "2.5 TB")],
)
def test_readable_bytes(size, text):
    assert readable_bytes(size) == text


def test_run_folder_modules_leave_torch_alone():
    code = "import light_r1.run_dir.decision, sys; sys.exit(bool({'torch', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
