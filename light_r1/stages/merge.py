"""Merging models (`type: merge`): linear, SLERP, TIES, DARE-TIES."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from light_r1.errors import StageError
from light_r1.stages.base import Kind, Stage, StageJob, StageResult


class MergeStage(Stage):
    """Merges the models of `from`, with `base` as what task vectors are taken against."""

    makes: ClassVar[Kind] = "model"
    output = "model"
    args_class = "light_r1.stages.options:MergeArgs"
    options_class = "light_r1.stages.options:MergeOptions"

    def run(self, job: StageJob) -> StageResult:
        """Merge on rank 0, one tensor at a time; no GPU is used."""
        from light_r1.merge import merge_models

        if job.ranks.is_main:
            models = [_folder(job, name) for name in job.spec.inputs]
            base = job.spec.options.get("base")
            merge_models(
                models,
                job.dir.output / "model",
                base=_folder(job, base) if base else None,
                seed=job.recipe.seed,
                **job.spec.args,
            )
        job.ranks.barrier()
        return StageResult()


def _folder(job: StageJob, name: str) -> Path:
    if name in job.inputs:
        return job.inputs[name].path
    start = job.spec.model.name_or_path
    if start is None:
        raise StageError(f"{job.spec.name}: `model` is made from nothing, so it cannot be merged with anything.")
    if Path(start).is_dir():
        return Path(start)
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(start, revision=job.spec.model.revision))
