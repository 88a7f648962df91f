"""`light-r1 launch`: run each stage in a subprocess of its own, under an accelerate config.

Accelerate keeps its state for the life of a process, so stages that differ in precision or sharding are safest each in
processes of their own. No stage logic lives here: what runs is `python -m light_r1.run RECIPE --stage NAME`, behind
`accelerate launch` where a config or a number of processes is given.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from light_r1.errors import LightR1Error, did_you_mean
from light_r1.recipe.shipped import shipped_recipes
from light_r1.recipe.spec import Recipe
from light_r1.run.agenda import selected


def find_config(name: str) -> Path:
    """Return an accelerate config: a file, or the name of a shipped one (`ddp`, `zero2`, `zero3`, `fsdp`).

    Raises:
        LightR1Error: There is none.
    """
    path = Path(name)
    if path.is_file():
        return path
    folder = shipped_recipes() / "accelerate"
    shipped = folder / f"{name.removesuffix('.yaml')}.yaml"
    if shipped.is_file():
        return shipped
    known = sorted(file.stem for file in folder.glob("*.yaml"))
    raise LightR1Error(f"no accelerate config {name!r}; shipped are {', '.join(known)}. {did_you_mean(name, known)}")


def config_processes(name: str) -> int | None:
    """Return the number of processes of an accelerate config, over all its machines; None if it leaves it open.

    Raises:
        LightR1Error: There is no such config.
    """
    count = (yaml.safe_load(find_config(name).read_text(encoding="utf-8")) or {}).get("num_processes")
    return count if count and count > 0 else None


def stage_commands(
    recipe: Recipe,
    *,
    config: str | None = None,
    processes: int | None = None,
    overrides: Sequence[str] = (),
    only: str | None = None,
    start: str | None = None,
) -> list[list[str]]:
    """Return one command per selected stage; an evaluation that `evaluate.after` adds goes with its stage.

    Args:
        recipe: A checked recipe.
        config: Accelerate config, by file or shipped name.
        processes: Processes; the config's number if not given.
        overrides: `key=value` texts to pass on.
        only: This stage alone.
        start: This stage and those after it.

    Raises:
        LightR1Error: There is no such stage or config.
    """
    chosen = selected(recipe, only=only, start=start)
    launcher = [sys.executable]
    if config is not None or (processes or 1) > 1:
        launcher = [sys.executable, "-m", "accelerate.commands.launch"]
        if config is not None:
            launcher += ["--config_file", str(find_config(config))]
        if processes is not None:
            launcher += ["--num_processes", str(processes)]
    settings = [part for override in overrides for part in ("--set", override)]
    return [
        [*launcher, "-m", "light_r1.run", str(recipe.path), "--stage", stage.name, *settings]
        for stage in recipe.stages
        if stage.name in chosen and not stage.implicit
    ]


def launch(commands: Sequence[Sequence[str]]) -> int:
    """Run the commands one after the other and stop at the first that fails; return its exit code, or 0."""
    for number, command in enumerate(commands, start=1):
        print(f"== {number} of {len(commands)}: {shlex.join(command)}", flush=True)  # noqa: T201
        code = subprocess.run(command, check=False).returncode
        if code:
            return code
    return 0
