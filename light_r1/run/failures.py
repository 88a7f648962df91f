"""What a stage's failure means for the user: faulty data, memory that ran out, a disk that is full or read-only.

The traceback stays in the attempt's log; what the user sees is the stage, the cause and the settings that would help.
"""

from __future__ import annotations

import errno
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from data_tools.errors import DataToolsError
from light_r1.errors import DataError, LightR1Error, StageError
from light_r1.run_dir.folder import existing_folder
from light_r1.run_dir.words import readable_bytes

_FULL = (errno.ENOSPC, errno.EDQUOT)
_NOT_WRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST)
# Writers in C++ and Rust raise errors of their own kinds around the system's.
_FULL_TEXTS = ("No space left on device", "StorageFull", "PytorchStreamWriter failed", "Disk quota exceeded")


def explained(error: BaseException, stage: str, log: Path, *, advice: Callable[[], str]) -> LightR1Error | None:
    """Return what a stage's failure means for the user, or None if it is none of those known here.

    A fault of the data keeps its words and gets the names of the stage and of its step.

    Args:
        error: What the stage raised.
        stage: The stage's name.
        log: The folder with the attempts' logs.
        advice: Gives the settings that would need less memory, as a sentence.
    """
    if isinstance(error, DataToolsError):
        return DataError(f"{stage}{f' ({error.step})' if error.step else ''}: {error}")
    if is_out_of_memory(error):
        parts = (f"{stage}: memory ran out.", advice(), f"The traceback is in {log}.")
        return StageError(" ".join(filter(None, parts)))
    trouble = disk_trouble(error, log)
    return StageError(f"{stage}: {trouble} The same command goes on from there.") if trouble else None


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
