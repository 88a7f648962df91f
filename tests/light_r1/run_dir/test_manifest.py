import hashlib
import json
import subprocess

import pytest

from light_r1.errors import RunDirError
from light_r1.run_dir.manifest import (
    Manifest,
    OutputFile,
    RowCounts,
    describe_outputs,
    git_commit,
    package_versions,
    read_manifest,
)

MANIFEST = Manifest(
    stage="sft",
    type="sft",
    fingerprint="0123456789abcdef",
    started="2026-01-01T10:00:00+00:00",
    ended="2026-01-01T11:00:00+00:00",
    seconds=3600.0,
    inputs={"model": "a" * 16},
    outputs={"output/model.safetensors": OutputFile(10, "f" * 64)},
    rows=RowCounts(12, 9, {"too_long": 2, "no_answer": 1}),
    tokens=1000,
    steps=5,
    metrics={"loss": 0.5},
    seed=42,
    world_size=2,
    versions={"trl": "1.16.0"},
    git_commit="abc",
)


def test_json_round_trip_and_names_in_the_file(tmp_path):
    content = json.loads(json.dumps(MANIFEST.to_json()))
    assert content["schema"] == 1
    assert content["rows"] == {"in": 12, "kept": 9, "dropped": {"too_long": 2, "no_answer": 1}, "unit": "rows"}
    assert content["outputs"]["output/model.safetensors"] == {"bytes": 10, "sha256": "f" * 64}
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    assert read_manifest(tmp_path / "manifest.json") == MANIFEST
    assert read_manifest(tmp_path / "none.json") is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON.*delete it to run the stage again"),
        ('{"schema": 2}', "schema 2; this light_r1 reads schema 1"),
        ('{"schema": 1, "stage": "x"}', "not a manifest"),
        (json.dumps({**MANIFEST.to_json(), "surprise": 1}), "not a manifest.*surprise"),
        (json.dumps({**MANIFEST.to_json(), "rows": {"in": 1}}), "not a manifest.*kept"),
    ],
)
def test_what_is_no_manifest_is_refused_with_its_path(tmp_path, content, message):
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(RunDirError, match=rf"manifest\.json.*{message}"):
        read_manifest(tmp_path / "manifest.json")


def test_outputs_are_described_by_size_and_hash(tmp_path):
    (tmp_path / "output" / "model").mkdir(parents=True)
    (tmp_path / "output" / "model" / "w").write_bytes(b"abc")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "x").write_text("not an output")
    expected = {"output/model/w": OutputFile(3, hashlib.sha256(b"abc").hexdigest())}
    assert describe_outputs(tmp_path) == expected


def test_versions_name_the_packages_that_train():
    versions = package_versions()
    import trl

    assert versions["trl"] == trl.__version__
    assert {"python", "torch", "transformers"} <= set(versions)


def test_git_commit_says_dirty_and_none_outside_a_repository(tmp_path):
    assert git_commit(tmp_path) is None

    def git(*command):
        identity = ["-c", "user.email=a@b", "-c", "user.name=n"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *command], check=True, capture_output=True)

    git("init")
    (tmp_path / "f").write_text("1")
    git("add", "f")
    git("commit", "-m", "x")
    clean = git_commit(tmp_path)
    assert len(clean) == 40
    (tmp_path / "f").write_text("2")
    assert git_commit(tmp_path) == f"{clean}-dirty"
