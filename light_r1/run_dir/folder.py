"""Layout of a run folder, and writes that leave it consistent when a run is killed.

    runs/<recipe>/
      recipe.yaml  recipe.resolved.json  .lock  report.md  report.html  plots/
      <stage>/  stage.json (first)  attempts/<n>/log.txt  metrics.jsonl  checkpoints/  output/
                rollouts.jsonl  dropped.jsonl  manifest.json (last; exists = done)
      <stage>.superseded-<fingerprint>/  what a changed stage had produced, never deleted

What a stage's settings mean is not known here; what is to be done with a folder is decided in `decision`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from data_tools.rows.files import sync_folder
from light_r1.batch import Batch
from light_r1.errors import RunDirError
from light_r1.models.checkpoints import folder_bytes
from light_r1.run_dir.files import append_line, write_json, write_whole
from light_r1.run_dir.fingerprint import stage_fingerprint
from light_r1.run_dir.lock import lock
from light_r1.run_dir.manifest import SCHEMA, Manifest, read_manifest
from light_r1.run_dir.words import readable_bytes

log = logging.getLogger(__name__)

_ASIDE = ".superseded-"


@dataclass(frozen=True, slots=True)
class Begun:
    """The content of a `stage.json`."""

    stage: str
    fingerprint: str
    resolved: dict[str, Any]
    batch: Batch | None
    created: str


class StageDir:
    """The folder of one stage.

    Args:
        path: The folder; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.stage_json = path / "stage.json"
        self.manifest_json = path / "manifest.json"
        self.attempts = path / "attempts"
        self.metrics = path / "metrics.jsonl"
        self.checkpoints = path / "checkpoints"
        self.output = path / "output"
        self.rollouts = path / "rollouts.jsonl"
        self.dropped = path / "dropped.jsonl"
        self.loaded = path / "loaded.json"

    def __repr__(self) -> str:
        return f"StageDir({str(self.path)!r})"

    def begin(self, resolved: Mapping[str, Any], *, batch: Batch | None = None) -> str:
        """Make the folder and write `stage.json`; of a stage begun before only the batch's split is renewed.

        Args:
            resolved: The settings that the result follows from (see `stage_fingerprint`).
            batch: The effective batch, for stages that train.

        Returns:
            The stage's fingerprint.
        """
        begun = self.read_begun()
        if begun is None:
            begun = Begun(self.name, stage_fingerprint(resolved), dict(resolved), None, now())
        elif begun.batch == batch:
            return begun.fingerprint
        write_json(self.stage_json, {"schema": SCHEMA, **asdict(replace(begun, batch=batch))})
        self.output.mkdir(exist_ok=True)
        return begun.fingerprint

    def read_begun(self) -> Begun | None:
        """Return the content of `stage.json`, or None if the stage was never begun.

        Raises:
            RunDirError: The file is not readable.
        """
        if not self.stage_json.exists():
            return None
        try:
            content = json.loads(self.stage_json.read_text(encoding="utf-8"))
            batch = Batch(**content["batch"]) if content["batch"] else None
            return Begun(self.name, content["fingerprint"], content["resolved"], batch, content["created"])
        except (ValueError, KeyError, TypeError) as error:
            raise RunDirError(
                f"{self.stage_json}: not readable ({error}). Move {self.path} away to run the stage anew."
            ) from error

    def read_manifest(self) -> Manifest | None:
        """Return the manifest, or None while the stage is not done."""
        return read_manifest(self.manifest_json)

    def write_manifest(self, manifest: Manifest) -> None:
        """Declare the stage done. Call it when every file of `output/` is in place."""
        write_json(self.manifest_json, manifest.to_json())

    def new_attempt(self) -> Path:
        """Make `attempts/<n>/` with the next number and return it."""
        numbers = [int(path.name) for path in self.attempts.glob("*") if path.name.isdigit()]
        attempt = self.attempts / str(max(numbers, default=0) + 1)
        attempt.mkdir(parents=True)
        return attempt

    def log_metrics(self, event: Mapping[str, Any]) -> None:
        """Append one event to `metrics.jsonl`; it should have a `step`. A later line of a step counts."""
        append_line(self.metrics, event)

    def note_loaded(self, name: str, found: Mapping[str, Any]) -> None:
        """Note in `loaded.json` what else was found of a model that this stage loaded."""
        noted = self.read_loaded()
        write_json(self.loaded, {**noted, name: {**noted.get(name, {}), **found}})

    def read_loaded(self) -> dict[str, dict[str, Any]]:
        """Return what `note_loaded` noted, by the name of the model."""
        return json.loads(self.loaded.read_text(encoding="utf-8")) if self.loaded.exists() else {}

    def supersede(self) -> Path | None:
        """Move the folder aside to `<stage>.superseded-<fingerprint>` and say how large it is.

        Returns:
            Where it went, or None if there was no folder.
        """
        if not self.path.exists():
            return None
        begun = self.read_begun()
        label = begun.fingerprint[:8] if begun else "unknown"
        target = self.path.with_name(f"{self.name}{_ASIDE}{label}")
        number = 2
        while target.exists():
            target = self.path.with_name(f"{self.name}{_ASIDE}{label}-{number}")
            number += 1
        self.path.rename(target)
        sync_folder(target.parent)
        log.info(
            "%s: the former result is kept in %s (%s)",
            self.name,
            target,
            readable_bytes(folder_bytes(target)),
        )
        return target


class RunDir:
    """The folder of a run.

    Args:
        root: `<output_dir>/<recipe name>`; it need not exist.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.recipe_yaml = self.root / "recipe.yaml"
        self.recipe_json = self.root / "recipe.resolved.json"
        self.report_md = self.root / "report.md"
        self.hashes = self.root / ".hashes.json"

    def stage(self, name: str) -> StageDir:
        """Return the folder of a stage."""
        return StageDir(self.root / name)

    def stages(self) -> list[StageDir]:
        """Return the stages begun so far in the recipe's order, an evaluation behind the stage it scores."""
        order = {name: place for place, name in enumerate(self._recipe_stages())}

        def place(stage: StageDir) -> tuple[int, bool, str]:
            name = stage.name if stage.name in order else stage.name.removesuffix(".evaluate")
            begun = stage.read_begun()
            return order.get(name, len(order)), name != stage.name, begun.created if begun else ""

        folders = (StageDir(path.parent) for path in self.root.glob("*/stage.json") if _ASIDE not in path.parent.name)
        return sorted(folders, key=place)

    def _recipe_stages(self) -> Iterator[str]:
        if self.recipe_json.exists():
            for stage in json.loads(self.recipe_json.read_text(encoding="utf-8"))["stages"]:
                yield stage["name"]

    def write_recipe(self, text: str, resolved: Mapping[str, Any]) -> None:
        """Keep the recipe as written, and as it is after `extends`, defaults and `--set`."""
        write_whole(self.recipe_yaml, text)
        write_json(self.recipe_json, resolved)

    def lock(self) -> AbstractContextManager[None]:
        """Hold the folder for one run; call it on the first rank only.

        Raises:
            RunDirError: Another run holds it.
        """
        return lock(self.root / ".lock")


def now() -> str:
    """Return the local time as ISO 8601 text with its offset, to the second."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def existing_folder(path: Path) -> Path:
    """Return the path, or the nearest folder above it that exists."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path
