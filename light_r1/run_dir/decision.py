"""Decide from a stage's folder whether it runs, is skipped, resumes or reruns, and by which setting.

The settings in `stage.json` are the truth about what a stage's folder holds. Deciding reads only and changes
nothing on disk, so a plan and a run decide alike.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from light_r1.batch import Batch, counted
from light_r1.errors import RunDirError
from light_r1.models.checkpoints import last_checkpoint, step_of
from light_r1.run_dir.fingerprint import canonical, stage_fingerprint, without_inert
from light_r1.run_dir.folder import Begun, StageDir
from light_r1.run_dir.manifest import Manifest

Action = Literal["run", "skip", "resume", "rerun"]

_BATCH_ARGS = ("global_batch_size", "per_device_train_batch_size", "gradient_accumulation_steps")
_NOT_SET = object()


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done with a stage, and why.

    Args:
        action: `run` (nothing there), `skip` (done), `resume` (cut off), `rerun` (done or begun with other
            settings).
        reason: One sentence without its full stop.
        fingerprint: The identity of the stage's output, which later stages take in. With `skip` and `resume`
            it is the one that the folder was made under.
        changed: Settings that differ, `dpo.args.beta: 0.1 -> 0.3`; inert ones included.
        checkpoint: Where to resume from; None starts the stage's training anew (its rollouts are still used).
    """

    action: Action
    reason: str
    fingerprint: str
    changed: tuple[str, ...] = ()
    checkpoint: Path | None = None


def decide(stage: StageDir, resolved: Mapping[str, Any], *, batch: Batch | None = None) -> Decision:
    """Compare a stage's folder with the settings it would run with. Changes nothing on disk.

    Settings in `INERT` do not count. A batch split differently over processes, devices and accumulation steps
    is the same batch, as long as its size is.

    Args:
        stage: The stage's folder.
        resolved: The settings that its result follows from (see `stage_fingerprint`).
        batch: The effective batch now, for stages that train. None (a plan on another machine) compares no
            sizes.

    Raises:
        RunDirError: The stage would be resumed with another effective batch, or its files are unreadable.
    """
    fp = stage_fingerprint(resolved)
    begun = stage.read_begun()
    if begun is None:
        if stage.path.exists() and any(stage.path.iterdir()):
            return Decision("rerun", f"{stage.path} holds files but no stage.json", fp)
        return Decision("run", "not run yet", fp)
    changed = changed_settings(stage.name, begun.resolved, resolved)
    if not _same_result(begun, resolved, batch):
        counted = changed_settings(stage.name, without_inert(begun.resolved), without_inert(resolved))
        return Decision("rerun", f"changed: {'; '.join(counted)}", fp, tuple(changed))
    manifest = stage.read_manifest()
    if manifest is None:
        return _resume(stage, begun, batch, tuple(changed))
    if lost := _lost_output(stage, manifest):
        return Decision("rerun", lost, fp, tuple(changed))
    return Decision("skip", f"same recipe and data as {_done(manifest)}", begun.fingerprint, tuple(changed))


def _same_result(begun: Begun, resolved: Mapping[str, Any], batch: Batch | None) -> bool:
    """Say whether the settings are those that the stage was begun with, up to the split of its batch."""
    before, after = without_inert(begun.resolved), without_inert(resolved)
    if canonical(before) == canonical(after):
        return True
    if begun.batch is None or batch is None or begun.batch.size != batch.size:
        return False
    return canonical(_without_batch(before)) == canonical(_without_batch(after))


def _without_batch(resolved: dict[str, Any]) -> dict[str, Any]:
    args = resolved.get("args") or {}
    return {**resolved, "args": {name: value for name, value in args.items() if name not in _BATCH_ARGS}}


def _resume(stage: StageDir, begun: Begun, batch: Batch | None, changed: tuple[str, ...]) -> Decision:
    checkpoint = last_checkpoint(stage.checkpoints)
    if checkpoint is None:
        reason = "cut off before its first checkpoint"
        return Decision("resume", reason, begun.fingerprint, changed)
    if begun.batch is not None and batch is not None and begun.batch.size != batch.size:
        raise RunDirError(
            f"{stage.name}: it was begun with an effective batch of {begun.batch} "
            f"and would go on with {batch}. "
            f"Set global_batch_size: {begun.batch.size} in place of gradient_accumulation_steps, start it with "
            f"{counted(begun.batch.processes, 'process', 'es')}, or move {stage.path} away to train it anew."
        )
    reason = f"cut off, goes on from step {step_of(checkpoint)}"
    if begun.batch is not None and batch is not None and begun.batch != batch:
        reason += f", the batch now split as {batch}"
    return Decision("resume", reason, begun.fingerprint, changed, checkpoint)


def _lost_output(stage: StageDir, manifest: Manifest) -> str:
    """Say which output file is gone or has another size than when the stage ended; empty if none."""
    for name, output in manifest.outputs.items():
        file = stage.path / name
        if not file.exists():
            return f"{file} is missing"
        if file.stat().st_size != output.bytes:
            return f"{file} has {file.stat().st_size:,} bytes, {output.bytes:,} when the stage ended"
    return ""


def _done(manifest: Manifest) -> str:
    details = [f"{manifest.steps:,} steps"] if manifest.steps else []
    if manifest.rows is not None:
        details.append(f"{manifest.rows.kept:,} rows")
    when = datetime.fromisoformat(manifest.ended).strftime("%Y-%m-%d %H:%M")
    return f"{when} ({', '.join(details)})" if details else when


def changed_settings(stage: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """List the settings that differ as `stage.dotted.key: old -> new`, in order of key."""
    old, new = dict(_leaves(before, "")), dict(_leaves(after, ""))
    return [
        f"{stage}.{key}: {_show(old.get(key, _NOT_SET))} -> {_show(new.get(key, _NOT_SET))}"
        for key in sorted(old.keys() | new.keys())
        if key not in old or key not in new or canonical(old[key]) != canonical(new[key])
    ]


def _leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) of everything that is not a filled dict, nor a list with dicts in it."""
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _leaves(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple) and any(isinstance(inner, Mapping) for inner in value):
        for position, inner in enumerate(value):
            yield from _leaves(inner, f"{key}[{position}]")
    else:
        yield key, value


def _show(value: Any) -> str:
    if value is _NOT_SET:
        return "(not set)"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
