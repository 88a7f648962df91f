"""Checkpoints of a stage on disk: which one can be resumed from, which bytes can go when the stage is done.

They are the Hugging Face Trainer's (`checkpoint-<step>`). A killed process leaves a torn one: weights cut
short, or no optimizer state. Only headers, sizes and file tails are read, so this needs no torch and takes
milliseconds.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
import zipfile
from pathlib import Path

log = logging.getLogger(__name__)

_NAME = re.compile(r"checkpoint-(\d+)")
_MODELS = ("*model*.safetensors", "*model*.bin", "pytorch_model_fsdp_0", "latest")
_OPTIMIZERS = ("optimizer.pt", "optimizer.bin", "optimizer_0", "latest")
_RESUME_ONLY = (
    "optimizer*",
    "scheduler*",
    "rng_state*",
    "scaler.pt",
    "global_step*",
    "latest",
    "zero_to_fp32.py",
)


def step_of(checkpoint: Path) -> int:
    """Return the step that a checkpoint folder is named after."""
    match = _NAME.fullmatch(checkpoint.name)
    if match is None:
        raise ValueError(f"{checkpoint}: not a checkpoint folder")
    return int(match.group(1))


def list_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoint folders of a stage in order of step, whole and torn."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if _NAME.fullmatch(path.name)), key=step_of)


def why_torn(checkpoint: Path) -> str:
    """Say what keeps a `checkpoint-<step>` folder from being resumed exactly; empty if nothing does."""
    if (checkpoint / "checkpoint-is-incomplete.txt").exists():
        return "its own marker says it is incomplete"
    state = checkpoint / "trainer_state.json"
    if not state.exists():
        return "trainer_state.json is missing"
    try:
        step = json.loads(state.read_text(encoding="utf-8"))["global_step"]
    except (ValueError, KeyError, TypeError) as error:
        return f"trainer_state.json is not readable ({error})"
    if step != step_of(checkpoint):
        return f"trainer_state.json says step {step}"
    for kind, patterns in (("model", _MODELS), ("optimizer", _OPTIMIZERS)):
        if not any(any(checkpoint.glob(pattern)) for pattern in patterns):
            return f"no {kind} files"
    # Each process leaves its random state, rank 0 as the last one since it alone writes weights before.
    ranks = len(list(checkpoint.glob("rng_state_*.pth")))
    names = [f"rng_state_{rank}.pth" for rank in range(ranks)] or ["rng_state.pth"]
    missing = [name for name in names if not (checkpoint / name).exists()]
    if missing:
        return f"{', '.join(missing)} missing"
    return _torn_shard(checkpoint) or _torn_file(checkpoint)


def _torn_shard(checkpoint: Path) -> str:
    for index in checkpoint.glob("*.index.json"):
        try:
            shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, AttributeError) as error:
            return f"{index.name} is not readable ({error})"
        missing = sorted(shard for shard in shards if not (checkpoint / shard).exists())
        if missing:
            return f"{', '.join(missing)} missing"
    latest = checkpoint / "latest"
    if latest.exists() and not any((checkpoint / latest.read_text(encoding="utf-8").strip()).glob("*optim_states.pt")):
        return f"DeepSpeed's folder {latest.read_text(encoding='utf-8').strip()!r} has no optimizer states"
    return ""


def _torn_file(checkpoint: Path) -> str:
    for file in sorted(path for path in checkpoint.rglob("*") if path.is_file()):
        if file.stat().st_size == 0 and file.suffix in (".json", ".distcp"):
            return f"{file.name} is empty"
        if file.suffix == ".safetensors" and not is_whole_safetensors(file):
            return f"{file.name} is cut short"
        # torch.save writes a zip archive, whose directory stands at the end.
        if file.suffix in (".pt", ".pth", ".bin") and not zipfile.is_zipfile(file):
            return f"{file.name} is cut short"
    return ""


def is_whole_safetensors(file: Path) -> bool:
    """Say whether a safetensors file is as long as its header says."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > size - 8:
            return False
        try:
            header = json.loads(stream.read(length))
        except ValueError:
            return False
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    return bool(size == 8 + length + max(ends, default=0))


def last_checkpoint(folder: Path) -> Path | None:
    """Return the whole checkpoint with the highest step in a stage's `checkpoints/`, or None."""
    for checkpoint in reversed(list_checkpoints(folder)):
        if not why_torn(checkpoint):
            return checkpoint
    return None


def set_torn_aside(folder: Path) -> list[Path]:
    """Rename torn checkpoints to `torn-checkpoint-<step>`, where no trainer looks for them, and say why.

    Returns:
        The new paths.
    """
    moved = []
    for checkpoint in list_checkpoints(folder):
        if why := why_torn(checkpoint):
            target = checkpoint.with_name(f"torn-{checkpoint.name}")
            if target.exists():
                shutil.rmtree(target)
            checkpoint.rename(target)
            log.warning("%s: not used, %s", checkpoint, why)
            moved.append(target)
    return moved


def prune_checkpoints(folder: Path) -> int:
    """Keep the weights of the best and the last checkpoint of a finished stage, remove all else.

    The best is the one that the trainer's own state names; without one only the last is kept. Optimizer,
    scheduler and random states go, as nothing resumes a finished stage.

    Args:
        folder: The `checkpoints/` folder of a stage.

    Returns:
        Bytes freed.
    """
    if not folder.is_dir():
        return 0
    before = folder_bytes(folder)
    checkpoints = list_checkpoints(folder)
    last = _last_state(checkpoints)
    kept = {last[0], f"checkpoint-{last[1]}"} if last else set()
    for path in [*checkpoints, *folder.glob("torn-checkpoint-*")]:
        if path.name not in kept:
            shutil.rmtree(path)
            continue
        _remove_resume_state(path)
    return before - folder_bytes(folder)


def _remove_resume_state(checkpoint: Path) -> None:
    if not any(any(checkpoint.glob(pattern)) for pattern in ("*model*.safetensors", "*model*.bin")):
        return  # a sharded checkpoint whose weights lie among the optimizer states
    for part in [part for pattern in _RESUME_ONLY for part in checkpoint.glob(pattern)]:
        if part.is_dir():
            shutil.rmtree(part)
        else:
            part.unlink()


def _last_state(checkpoints: list[Path]) -> tuple[str, int | None] | None:
    """Return the name of the last readable checkpoint and the best step that its trainer state names."""
    for checkpoint in reversed(checkpoints):
        state = checkpoint / "trainer_state.json"
        if state.exists():
            return checkpoint.name, json.loads(state.read_text(encoding="utf-8")).get("best_global_step")
    return None


def folder_bytes(folder: Path) -> int:
    """Return the bytes of all files below a folder, links not followed."""
    return sum(file.lstat().st_size for file in folder.rglob("*") if not file.is_dir())
