"""The manifest of a finished stage: what came in, what came out, and with what it was made.

It is written last and whole, so a manifest that exists is true. Package versions and the commit are recorded
for people; they are no part of a stage's identity.
"""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from light_r1.errors import RunDirError

_DAMAGED = "It was whole when it was written: put a good copy back, or delete it to run the stage again."
SCHEMA = 1
_PACKAGES = (
    "light-r1",
    "torch",
    "trl",
    "transformers",
    "peft",
    "accelerate",
    "datasets",
    "deepspeed",
    "vllm",
)


@dataclass(frozen=True, slots=True)
class RowCounts:
    """The funnel of a stage: `seen` rows came in, `kept` were used or written, the rest dropped for a reason.

    Args:
        seen: Rows read (`in` in the file).
        kept: Rows kept, or made; pairs may be several per row.
        dropped: Rows per reason, in the order in which the reasons apply.
        unit: What `kept` counts: `rows` or `pairs`.
    """

    seen: int
    kept: int
    dropped: dict[str, int] = field(default_factory=dict)
    unit: str = "rows"


@dataclass(frozen=True, slots=True)
class OutputFile:
    """Size in bytes and SHA-256 of one output file."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a finished stage did.

    Args:
        stage: Stage name.
        type: Stage type.
        fingerprint: Its identity (see `light_r1.run_dir.fingerprint`).
        started: Start of the first attempt, ISO 8601.
        ended: End of the last attempt, ISO 8601.
        seconds: Time spent in all attempts.
        inputs: Fingerprint or hash of each model and data source, by name.
        outputs: Files under the stage folder, by relative path.
        rows: The funnel, for stages that read rows.
        tokens: Tokens trained on or sampled.
        steps: Optimizer steps.
        metrics: Final numbers.
        seed: The seed.
        world_size: Processes of the last attempt.
        versions: Package versions.
        git_commit: Commit of the working directory, with `-dirty` if it had changes; None outside git.
        handover: Of a model, the mean log-prob of a token on rows of the stage's own data as it was handed over
            (`logprob`), how many `tokens` that is of, and the types that it `computed` and was `saved` in.
        loaded: What was found of each model that was loaded, by name: `files` whose bytes were compared, and the same
            mean log-prob as loaded (`logprob`) with its `distance` and `tolerance`.
    """

    stage: str
    type: str
    fingerprint: str
    started: str
    ended: str
    seconds: float
    inputs: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, OutputFile] = field(default_factory=dict)
    rows: RowCounts | None = None
    tokens: int | None = None
    steps: int | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    seed: int | None = None
    world_size: int = 1
    versions: dict[str, str] = field(default_factory=dict)
    git_commit: str | None = None
    handover: dict[str, Any] | None = None
    loaded: dict[str, dict[str, Any]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the content of `manifest.json`."""
        content: dict[str, Any] = {"schema": SCHEMA, **asdict(self)}
        if self.rows is not None:
            counts = asdict(self.rows)
            content["rows"] = {"in": counts.pop("seen"), **counts}
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any], *, where: str = "manifest.json") -> Manifest:
        """Read what `to_json` wrote.

        Raises:
            RunDirError: It was written by a newer light_r1, or is not a manifest.
        """
        fields = dict(content)
        schema = fields.pop("schema", None)
        if schema != SCHEMA:
            raise RunDirError(f"{where}: schema {schema}; this light_r1 reads schema {SCHEMA}")
        try:
            if (rows := fields.get("rows")) is not None:
                fields["rows"] = RowCounts(rows["in"], rows["kept"], dict(rows["dropped"]), rows.get("unit", "rows"))
            outputs = fields.get("outputs", {})
            fields["outputs"] = {path: OutputFile(**output) for path, output in outputs.items()}
            return cls(**fields)
        except (KeyError, TypeError, AttributeError) as error:
            raise RunDirError(f"{where}: not a manifest ({error}). {_DAMAGED}") from error


def read_manifest(path: Path) -> Manifest | None:
    """Return the manifest in a file, or None if there is none.

    Raises:
        RunDirError: The file is not a manifest.
    """
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunDirError(f"{path}: not JSON ({error}). {_DAMAGED}") from error
    return Manifest.from_json(content, where=str(path))


_NOT_HASHED = ("README.md", "handover.json")  # written again with later scores; by whoever loads a merge first
_WEIGHTS = ("*.safetensors", "*.bin", "*.index.json")


def describe_outputs(stage_folder: Path) -> dict[str, OutputFile]:
    """Return size and hash of the files under `output/`, by their path relative to the stage's folder."""
    files = sorted(file for file in (stage_folder / "output").rglob("*") if file.is_file())
    return _described(stage_folder, [file for file in files if file.name not in _NOT_HASHED])


def _described(stage_folder: Path, files: Sequence[Path]) -> dict[str, OutputFile]:
    with ThreadPoolExecutor(max_workers=8) as threads:  # hashing lets go of the interpreter
        found = threads.map(_describe, files)
    return {file.relative_to(stage_folder).as_posix(): one for file, one in zip(files, found, strict=True)}


def _describe(file: Path) -> OutputFile:
    with file.open("rb") as stream:
        return OutputFile(file.stat().st_size, hashlib.file_digest(stream, "sha256").hexdigest())


def wrong_outputs(stage_folder: Path, outputs: Mapping[str, OutputFile], *, below: str = "output") -> list[str]:
    """Compare output files with what was noted when the stage ended, byte by byte.

    Args:
        stage_folder: Folder of the stage.
        outputs: What was noted.
        below: Only files below this path of the stage's folder.

    Returns:
        A sentence for each file that is gone, has other bytes, or holds weights that the stage did not write.
    """
    wanted = {name: one for name, one in outputs.items() if name.startswith(f"{below}/") or name == below}
    there = [stage_folder / name for name in wanted if (stage_folder / name).is_file()]
    found = _described(stage_folder, there)
    wrong = []
    for name, noted in wanted.items():
        if name not in found:
            wrong.append(f"{stage_folder / name} is missing")
        elif found[name] != noted:
            wrong.append(f"{stage_folder / name} has other bytes than when the stage ended")
    weights = {file for pattern in _WEIGHTS for file in (stage_folder / below).rglob(pattern)}
    extra = sorted(file for file in weights if file.relative_to(stage_folder).as_posix() not in outputs)
    return wrong + [f"{file} was not written by the stage" for file in extra]


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of the installed packages that shape a result."""
    versions = {"python": platform.python_version()}
    installed = {(package.metadata["Name"] or "").lower().replace("_", "-") for package in metadata.distributions()}
    versions.update({name: metadata.version(name) for name in _PACKAGES if name in installed})
    return versions


def git_commit(folder: str | Path = ".") -> str | None:
    """Return the commit checked out in a folder, with `-dirty` if tracked files differ; None outside git."""
    command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None  # no git here, or a repository too slow to ask: the commit is a note, not an identity
    return result.stdout.strip() if result.returncode == 0 else None
