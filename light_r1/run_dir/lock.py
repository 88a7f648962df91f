"""Lock file of a run folder: names its owner; the lock of a dead owner is taken over.

The file holds host, process id and the process's start time, so that a process id used again is not taken for
the owner. On the same host a dead owner is replaced. From another host nobody can tell; the message says what
to do. No advisory locks (`flock`): network file systems of clusters often lack them, and forked workers
inherit them.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import psutil

from light_r1.errors import RunDirError

log = logging.getLogger(__name__)

_CLOCK_SLACK_S = 2.0  # start times are derived from the boot time, which a clock correction moves


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that holds a lock.

    Args:
        host: Its host name.
        pid: Its process id.
        started: When the process started, in seconds since 1970.
        since: When it took the lock, local time in ISO 8601.
    """

    host: str
    pid: int
    started: float
    since: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


def this_process() -> Owner:
    """Return the running process as an owner, from now."""
    started = psutil.Process().create_time()
    return Owner(socket.gethostname(), os.getpid(), started, datetime.now().astimezone().isoformat(timespec="seconds"))


def is_alive(owner: Owner) -> bool:
    """Say whether the owner's process runs on this host: same id, same start, and not a zombie."""
    try:
        process = psutil.Process(owner.pid)
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return False
        return abs(process.create_time() - owner.started) <= _CLOCK_SLACK_S
    except psutil.NoSuchProcess:
        return False


@contextmanager
def lock(path: str | Path) -> Iterator[None]:
    """Hold a lock file while the block runs.

    Args:
        path: The lock file. Its folder is made if missing.

    Raises:
        RunDirError: A live process holds it, or one on another host did, or its content is unreadable.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    me = this_process()
    while not _create(path, me):
        owner = _read_settled(path)
        if owner is not None:
            _refuse_if_held(path, owner, me)
            _remove_dead(path, owner)
            log.warning("%s: taken over from a run that died (%s)", path.parent, owner)
    try:
        yield
    finally:
        # A forked child that leaves the block must not free its parent's lock.
        if os.getpid() == me.pid and _read_settled(path) == me:
            path.unlink()


def _create(path: Path, me: Owner) -> bool:
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(json.dumps(asdict(me)) + "\n")
    return True


def _read_settled(path: Path) -> Owner | None:
    """Return the owner, or None if the file is gone; waits a second for one that is just being written."""
    error: Exception | None = None
    for _ in range(20):
        try:
            return Owner(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as caught:
            error = caught
            time.sleep(0.05)
    raise RunDirError(f"{path}: not a readable lock ({error}). If no run uses {path.parent}, delete it.")


def _refuse_if_held(path: Path, owner: Owner, me: Owner) -> None:
    if owner.host != me.host:
        raise RunDirError(
            f"{path.parent} is in use by {owner}; whether that process still runs cannot be seen from "
            f"{me.host}. If it does not, delete {path} and start again."
        )
    if is_alive(owner):
        raise RunDirError(
            f"{path.parent} is in use by {owner}. Wait for it, stop it, or give this run another name or output_dir."
        )


def _remove_dead(path: Path, owner: Owner) -> None:
    """Remove a dead owner's lock unless somebody has replaced it already.

    Of several processes that saw the same dead owner one makes the claim, so none removes a newer lock.
    """
    claim = path.with_name(f"{path.name}.{owner.pid}-{int(owner.started)}")
    try:
        os.close(os.open(claim, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        raise RunDirError(
            f"{path.parent} is just being taken over from a run that died ({owner}). If not, delete {claim}."
        ) from None
    try:
        if _read_settled(path) == owner:
            path.unlink()
    finally:
        claim.unlink()
