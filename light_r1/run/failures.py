"""What to do about failures that are no fault of the recipe: memory that ran out, a disk that is full or read-only.

The traceback stays in the attempt's log; what the user sees is the stage, the cause and the settings that would help.
"""

from __future__ import annotations

import errno
import shutil
import sys
from pathlib import Path

from light_r1.errors import StageError
from light_r1.recipe.check.args import Args
from light_r1.recipe.spec import Recipe, StageSpec
from light_r1.run_dir.folder import existing_folder
from light_r1.run_dir.words import readable_bytes

_FULL = (errno.ENOSPC, errno.EDQUOT)
_NOT_WRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST)
# Writers in C++ and Rust raise errors of their own kinds around the system's.
_FULL_TEXTS = ("No space left on device", "StorageFull", "PytorchStreamWriter failed", "Disk quota exceeded")


def explained(error: BaseException, spec: StageSpec, recipe: Recipe, log: Path) -> StageError | None:
    """Return what a stage's failure means for the user, or None if it is none of those known here.

    Args:
        error: What the stage raised.
        spec: The stage.
        recipe: Its recipe.
        log: The folder with the attempts' logs.
    """
    if is_out_of_memory(error):
        return StageError(f"{spec.name}: memory ran out. {_less_memory(spec, recipe)} The traceback is in {log}.")
    told = disk_trouble(error, log)
    return StageError(f"{spec.name}: {told} The same command goes on from there.") if told else None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on the GPU or in the machine."""
    if isinstance(error, MemoryError):
        return True
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(error, torch.OutOfMemoryError)


def disk_trouble(error: BaseException, folder: Path) -> str:
    """Return what is wrong with the disk if that is why something failed, as a sentence; empty if not.

    Args:
        error: What was raised.
        folder: A folder on the disk that was written to.
    """
    code = error.errno if isinstance(error, OSError) else None
    name = error.filename if isinstance(error, OSError) and error.filename else folder
    if code in _FULL or any(text in str(error) for text in _FULL_TEXTS):
        free = readable_bytes(shutil.disk_usage(existing_folder(folder)).free)
        return f"the disk is full ({free} free at {folder}). Make room; --plan says how much a run needs."
    if isinstance(error, OSError) and code in _NOT_WRITABLE:
        return f"{name} cannot be written ({error.strerror}). Give another output_dir, or the right to write there."
    return ""


def _less_memory(spec: StageSpec, recipe: Recipe) -> str:
    """Say which settings of the stage would need less."""
    if spec.type in ("data", "evaluate"):
        batch = recipe.evaluate.batch_size if spec.type == "evaluate" and recipe.evaluate else None
        return f"Lower batch_size{f' (now {batch})' if batch else ''} or max_tokens, with which it samples."
    if spec.type == "merge":
        return "A merge holds one tensor per model at a time; free memory, or merge fewer models at once."
    args, ways = Args(spec), []
    batch, steps = args["per_device_train_batch_size"], args["gradient_accumulation_steps"]
    if batch > 1:
        ways.append(
            f"per_device_train_batch_size={batch // 2} with gradient_accumulation_steps={steps * 2}, the same batch "
            "(it goes on from its checkpoint)"
        )
    if not args.recomputes:
        newer = args.written("activation_checkpointing")  # where both names are set, the newer one counts
        ways.append(f"{'activation' if newer else 'gradient'}_checkpointing=true")
    longest = "max_completion_length" if spec.type == "grpo" else "max_length"
    ways.append(f"a lower {longest} (now {args[longest]})")
    if spec.model.lora is None:
        ways.append("a lora block")
    return f"What helps, in this order: {'; '.join(ways)}; more GPUs with --config zero3."
