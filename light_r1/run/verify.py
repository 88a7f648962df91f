"""Compare the outputs of a run with its manifests, byte by byte (`--verify-outputs`)."""

from __future__ import annotations

import logging
from pathlib import Path

from light_r1.errors import RunDirError
from light_r1.recipe.spec import Recipe
from light_r1.run_dir.folder import RunDir
from light_r1.run_dir.manifest import wrong_outputs

log = logging.getLogger(__name__)


def verify_outputs(recipe: Recipe) -> int:
    """Compare the outputs of all stages of a recipe that are done.

    Returns:
        Number of files compared.

    Raises:
        RunDirError: Files are gone, have other bytes, or were not written by their stage; it names all of them.
    """
    run_dir = RunDir(Path(recipe.output_dir) / recipe.name)
    wrong: list[str] = []
    files = stages = 0
    for spec in recipe.stages:
        folder = run_dir.stage(spec.name)
        manifest = folder.read_manifest()
        if manifest is not None:
            wrong += wrong_outputs(folder.path, manifest.outputs)
            files, stages = files + len(manifest.outputs), stages + 1
    if wrong:
        lines = "\n".join(f"  {one}" for one in wrong)
        raise RunDirError(
            f"{len(wrong)} outputs are not as they were written:\n{lines}\n"
            "Put good copies back, or delete the manifest.json of their stages to run those again."
        )
    log.info("%d output files of %d finished stages are as they were written", files, stages)
    return files
