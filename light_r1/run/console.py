"""Console and log output of a run: sentences of ours, without the noise of other libraries.

Torch is not imported; transformers only by `quiet_libraries`, which is for the moment before a stage works.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from light_r1.ranks import Ranks
from light_r1.run_dir.folder import StageDir

_BAR_AFTER_S = 3.0
# Warnings about what the user did not write and cannot change: TRL sets the one and announces the other itself.
_NOT_FOR_USERS = (
    r"`(is_)?gradient_checkpointing\w*` is deprecated",
    r"You are using 'rollout_func', which is an experimental feature",
)
# Weights that are tied to others are not in checkpoints; the trainer warns of them at every resume.
_TIED = "There were missing keys in the checkpoint model loaded: ['lm_head.weight']."


@contextmanager
def console(ranks: Ranks) -> Iterator[None]:
    """Log to the console: sentences on rank 0, warnings with the rank's number on the others."""
    handler = logging.StreamHandler(sys.stdout)
    prefix = "" if ranks.is_main else f"[rank {ranks.index}] "
    handler.setFormatter(logging.Formatter(f"%(asctime)s {prefix}%(message)s", datefmt="%H:%M:%S"))
    handler.setLevel(logging.INFO if ranks.is_main else logging.WARNING)
    root = logging.getLogger("light_r1")
    level, root.propagate = root.level, False
    root.setLevel(logging.INFO)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        root.propagate = True


@contextmanager
def attempt_log(folder: StageDir, ranks: Ranks) -> Iterator[None]:
    """Keep what is logged during one attempt in `attempts/<n>/log.txt`, the traceback of a failure included."""
    if not ranks.is_main:
        yield
        return
    handler = logging.FileHandler(folder.new_attempt() / "log.txt", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    ours = logging.getLogger("light_r1")
    ours.addHandler(handler)
    try:
        yield
    except BaseException as error:
        # Not through the loggers: the console would show every traceback twice.
        place = (ours.name, logging.ERROR, __file__, 0)
        handler.handle(ours.makeRecord(*place, f"{folder.name} failed", (), (type(error), error, error.__traceback__)))
        raise
    finally:
        ours.removeHandler(handler)
        root.removeHandler(handler)
        handler.close()


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Show the bars of transformers only where loading or saving takes seconds, and no warnings for its callers."""
    from transformers.utils.logging import set_tqdm_hook

    def delayed(make_bar: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        return make_bar(*args, **{"delay": _BAR_AFTER_S, **options})

    def untied(record: logging.LogRecord) -> bool:
        return record.getMessage() != _TIED

    before = set_tqdm_hook(delayed)
    trainer = logging.getLogger("transformers.trainer")
    trainer.addFilter(untied)
    kernels = logging.getLogger("bitsandbytes.backends")  # tells of faster ones that could be installed, at import
    level = kernels.level
    kernels.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for message in _NOT_FOR_USERS:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        kernels.setLevel(level)
        trainer.removeFilter(untied)
        set_tqdm_hook(before)
