"""Merging models (`type: merge`): linear, SLERP, TIES, DARE-TIES."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from light_r1.errors import StageError
from light_r1.models.merge_options import option_faults
from light_r1.recipe.check.findings import Findings
from light_r1.recipe.cost.estimate import Estimate, Work
from light_r1.recipe.cost.formulas import model_bytes
from light_r1.recipe.spec import ModelSpec, Recipe, StageSpec
from light_r1.stages.base import Kind, Stage, StageJob, StageResult

START = "model"
_SIZES = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")


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
    """Merges the models of `from`, with `base` as what task vectors are taken against; makes one adapter whole."""

    makes: ClassVar[Kind] = "model"
    output = "model"
    args_class = "light_r1.stages.merge:MergeArgs"
    options_class = "light_r1.stages.merge:MergeOptions"
    data = "none"
    models = (1, None)
    version = 2  # 1 counted votes of negative weight for the other side

    def run(self, job: StageJob) -> StageResult:
        """Merge on rank 0, one tensor at a time; no GPU is used."""
        from light_r1.models.merge import merge_models
        from light_r1.stages.handover import compare_bytes, leave_rows

        def merge() -> None:
            for left in job.dir.output.glob(".model.*"):  # of an attempt that was killed
                shutil.rmtree(left)
            names = [*job.spec.inputs, *filter(None, [job.spec.options.get("base")])]
            folders = {name: _folder(job, name) for name in names}
            for name, folder in folders.items():
                if files := compare_bytes(folder, job.spec.name):
                    job.dir.note_loaded(name, {"files": files})
            models, out = [folders[name] for name in job.spec.inputs], job.dir.output / "model"
            base = folders.get(job.spec.options.get("base", ""))
            merge_models(models, out, base=base, seed=job.recipe.seed, **job.spec.args)
            leave_rows(models[0], out)

        job.ranks.from_main(merge)
        return StageResult()

    def check(self, spec: StageSpec, findings: Findings, *, world_size: int) -> None:
        """Check the options of the method, and that there are weights to merge, of models of one size."""
        base, args = spec.options.get("base"), dict(spec.args)
        method = args.pop("method", None)
        if method is not None:
            for fault in option_faults(method, len(spec.inputs), has_base=base is not None, **args):
                places = {"models": f"{spec.name}.from", "base": spec.name}
                findings.at(places.get(fault.option, f"{spec.name}.args.{fault.option}"), fault.what, fault.expected)
        if method == "linear" and len(spec.inputs) == 1 and not _is_adapter(spec.inputs[0], spec, findings.recipe):
            findings.at(f"{spec.name}.from", "a merge of 1 model, which is whole", "two or more, or one adapter")
        first: tuple[str, dict[str, Any]] | None = None
        for name in (*spec.inputs, *([base] if base else [])):
            key = f"{spec.name}.from" if name in spec.inputs else f"{spec.name}.base"
            if name == START and spec.model.name_or_path is None:
                findings.at(key, "model is made from nothing: there are no weights to merge", "stages")
                continue
            sizes = _sizes(_start(name, spec, findings.recipe))
            first = first or (name, sizes)
            other = [f"{k} {v} and {first[1][k]}" for k, v in sizes.items() if first[1].get(k, v) != v]
            if other:
                findings.at(
                    key, f"{name} and {first[0]} are of other sizes ({', '.join(other)})", "models of one size"
                )

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


def _is_adapter(name: str, stage: StageSpec, recipe: Recipe) -> bool:
    """Whether a model, of an earlier stage or the one that all start from, is an adapter."""
    if name == START:
        return (Path(str(stage.model.name_or_path)).expanduser() / "adapter_config.json").is_file()
    return any(one.name == name and one.model.lora is not None for one in recipe.stages)


def _start(name: str, stage: StageSpec, recipe: Recipe) -> ModelSpec:
    """Return the model that a stage's model goes back to."""
    stages = {one.name: one for one in recipe.stages}
    while name in stages and name != START:
        stage = stages.pop(name)  # of a cycle, which is another finding, each once
        name = stage.inputs[0] if stage.inputs else START
    return stage.model


def _sizes(model: ModelSpec) -> dict[str, Any]:
    """Return what is known of a model's sizes without loading it; of one on the hub only where it is stated."""
    if model.init is not None:
        fields = model.init["config"]
    elif model.size is not None:
        fields = model.size
    else:
        file = Path(str(model.name_or_path)).expanduser() / "config.json"
        fields = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return {name: fields[name] for name in _SIZES if name in fields}


def _folder(job: StageJob, name: str) -> Path:
    if name in job.inputs:
        return job.inputs[name].path
    from light_r1.models.merge_inputs import local_folder

    start = job.spec.model
    if start.name_or_path is None:
        raise StageError(f"{job.spec.name}: `model` is made from nothing, so it cannot be merged with anything.")
    return local_folder(start.name_or_path, start.revision)
