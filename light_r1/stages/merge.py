"""Merging models (`type: merge`): linear, SLERP, TIES, DARE-TIES."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from light_r1.errors import StageError
from light_r1.recipe.check.findings import Findings
from light_r1.recipe.cost.estimate import Estimate, Work
from light_r1.recipe.cost.formulas import model_bytes
from light_r1.recipe.spec import Recipe, StageSpec
from light_r1.stages.base import Kind, Stage, StageJob, StageResult


@dataclass(frozen=True, slots=True)
class MergeArgs:
    """How models are merged (`args:` of a `merge` stage).

    Args:
        method: `linear`, `slerp`, `ties` (arXiv 2306.01708) or `dare_ties` (arXiv 2311.03099).
        weights: One per model; equal ones if null. For `slerp`, the second is the fraction of the way.
        densities: Share of each task vector that is kept, one per model; needed by `ties` and `dare_ties`.
        scale: Factor on the merged task vector.
        normalize: Divide by the sum of the weights.
    """

    method: Literal["linear", "slerp", "ties", "dare_ties"]
    weights: list[float] | None = None
    densities: list[float] | None = None
    scale: float = 1.0
    normalize: bool = True


@dataclass(frozen=True, slots=True)
class MergeOptions:
    """Keys of a `merge` stage.

    Args:
        base: What task vectors are taken against (TIES, DARE-TIES): `model` or a stage.
    """

    base: str | None = None


class MergeStage(Stage):
    """Merges the models of `from`, with `base` as what task vectors are taken against."""

    makes: ClassVar[Kind] = "model"
    output = "model"
    args_class = "light_r1.stages.merge:MergeArgs"
    options_class = "light_r1.stages.merge:MergeOptions"
    data = "none"
    models = (2, None)

    def run(self, job: StageJob) -> StageResult:
        """Merge on rank 0, one tensor at a time; no GPU is used."""
        from light_r1.models.merge import merge_models
        from light_r1.stages.handover import compare_bytes, leave_rows

        if job.ranks.is_main:
            names = [*job.spec.inputs, *filter(None, [job.spec.options.get("base")])]
            folders = {name: _folder(job, name) for name in names}
            for name, folder in folders.items():
                if files := compare_bytes(folder, job.spec.name):
                    job.dir.note_loaded(name, {"files": files})
            models, out = [folders[name] for name in job.spec.inputs], job.dir.output / "model"
            base = folders.get(job.spec.options.get("base", ""))
            merge_models(models, out, base=base, seed=job.recipe.seed, **job.spec.args)
            leave_rows(models[0], out)
        job.ranks.barrier()
        return StageResult()

    def check(self, spec: StageSpec, findings: Findings, *, world_size: int) -> None:
        """Check that the method gets the models, weights, densities and base that it needs."""
        key, args, count = f"{spec.name}.args", spec.args, len(spec.inputs)
        for name in ("weights", "densities"):
            values = args.get(name)
            if values is not None and len(values) != count:
                findings.at(f"{key}.{name}", f"{len(values)} {name} for {count} models", f"{count} numbers")
        method = args.get("method")
        if method in ("ties", "dare_ties") and spec.options.get("base") is None:
            findings.at(spec.name, f"{method} needs a base to take task vectors against", "base: model or a stage")
        if method in ("ties", "dare_ties") and args.get("densities") is None:
            findings.at(f"{key}.method", f"{method} needs densities", f"{count} numbers above 0 and at most 1")
        if method == "slerp" and count != 2:
            findings.at(f"{spec.name}.from", f"slerp goes between two models, here are {count}")
        weights = args.get("weights")
        if weights and args.get("normalize", True) and sum(weights) == 0:
            findings.at(f"{key}.weights", "sum to zero and cannot be normalised")

    def estimate(self, work: Work) -> Estimate:
        """Estimate the disk; no device is used."""
        shape = work.shape
        if shape is None:
            return Estimate()
        weights = model_bytes(shape, work.stage.model.dtype)
        return Estimate(disk_peak=weights, disk_kept=weights)

    def less_memory(self, spec: StageSpec, recipe: Recipe) -> str:
        """Say what a merge holds in memory."""
        return "A merge holds one tensor per model at a time; free memory, or merge fewer models at once."


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
