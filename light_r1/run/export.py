"""Make a whole model folder of what a stage has trained (`light-r1 export RUN/STAGE TO`)."""

from __future__ import annotations

import logging
from pathlib import Path

from light_r1.errors import RunDirError, did_you_mean
from light_r1.run_dir.folder import RunDir

log = logging.getLogger(__name__)


def export(source: str | Path, to: str | Path, *, dtype: str | None = None) -> Path:
    """Write a model as one that needs nothing else: an adapter merged into its base, weights in the type asked for.

    The model is proven first, by its bytes and by the log-probs that it was handed over with.

    Args:
        source: `RUN/STAGE`, such as `runs/tiny/dpo`, or a model or adapter folder.
        to: Folder to write; it must not be there yet, or be empty.
        dtype: `bfloat16`, `float16` or `float32`; as it is saved if `None`.

    Returns:
        The folder.

    Raises:
        RunDirError: There is no such model, or its stage is not done.
        StageError: It is not the model that was trained.
        LightR1Error: `to` holds something.
    """
    model = model_of(Path(source))
    from light_r1.models.export import export_model
    from light_r1.stages.handover import prove_folder

    prove_folder(model, "export")
    return export_model(model, Path(to), dtype=dtype)


def model_of(source: Path) -> Path:
    """Return the model folder of a finished stage, or the folder itself if it is one.

    Raises:
        RunDirError: It is neither; it names what is missing and the nearest stage.
    """
    if any((source / name).is_file() for name in ("config.json", "adapter_config.json")):
        return source
    model = source / "output" / "model"
    if model.is_dir():
        if not (source / "manifest.json").is_file():
            raise RunDirError(f"{source}: this stage is not done, so its model is not the one that it trains.")
        return model
    stages = [stage for stage in RunDir(source.parent).stages() if (stage.output / "model").is_dir()]
    names = [stage.name for stage in stages]
    known = f" The stages with a model are {', '.join(names)}. {did_you_mean(source.name, names)}" if names else ""
    raise RunDirError(f"{source}: no finished stage with a model, and no model folder.{known}".rstrip())
