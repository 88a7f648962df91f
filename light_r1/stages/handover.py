"""Handing a model from one stage to the next: both proofs (`models/handover.py`, `run_dir/manifest.py`) at work.

`hand_over` writes the rows and log-probs of a model that was just trained. Whatever loads a model calls `verify_bytes`
on its folder and `prove` on what it loaded, and notes what it found for manifest, report and model card.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from light_r1.errors import StageError
from light_r1.models.handover import (
    TOLERANCE,
    Handover,
    check_logprobs,
    check_words,
    coarsest,
    in_fp32,
    read_handover,
    rescored,
    score_rows,
    write_handover,
)
from light_r1.models.load import base_of, is_adapter, load_adapter, load_model, load_tokenizer
from light_r1.run_dir.hashes import model_folder_hash
from light_r1.run_dir.manifest import OutputFile, read_manifest, wrong_outputs
from light_r1.stages.base import StageJob

log = logging.getLogger(__name__)
ROUND = "done.json"


def verify_bytes(path: str | Path, job: StageJob) -> None:
    """Compare the files of a model that a stage wrote with its manifest, on rank 0; nothing is known of others.

    Raises:
        StageError: A file is gone or has other bytes, there are weights that the stage did not write, or the base of
            an adapter has changed.
    """
    files = job.ranks.from_main(lambda: compare_bytes(Path(path), job.spec.name))
    if files and job.ranks.is_main:
        _note(job, path, {"files": files})


def compare_bytes(model: Path, loader: str) -> int:
    """Compare the files of a model folder with the manifest of the stage that wrote it.

    Args:
        model: The folder.
        loader: Who loads it, for the error.

    Returns:
        How many were compared; 0 if no stage wrote it.

    Raises:
        StageError: As `verify_bytes`.
    """
    if is_adapter(model):
        _check_base(model, loader)
    noted = _noted(model)
    if noted is None:
        return 0
    stage, outputs = noted
    below = model.resolve().relative_to(stage).as_posix()
    if wrong := wrong_outputs(stage, outputs, below=below):
        more = f" ({len(wrong)} files)" if len(wrong) > 1 else ""
        raise StageError(
            f"{loader}: {wrong[0]}{more}. Put a good copy back, or delete {stage / 'manifest.json'} to make it again."
        )
    return sum(name.startswith(f"{below}/") for name in outputs)


def with_base(handover: Handover, folder: Path) -> Handover:
    """Return the handover of an adapter with the place and the hash of its base, if that is a folder."""
    base = base_of(folder)[0] if is_adapter(folder) else ""
    if not Path(base).is_absolute():
        return handover
    return replace(handover, base=os.path.relpath(base, folder.resolve()), base_hash=model_folder_hash(base))


def leave_rows(model: Path, merged: Path) -> None:
    """Give a merged model the rows of one that went into it; whoever loads it first notes their log-probs."""
    handover = read_handover(model)
    if handover is not None:
        write_handover(merged, Handover(handover.rows, words=handover.words))


def settle_base(folder: Path) -> None:
    """Note anew where the base of an adapter lies, whose folder was copied."""
    handover = read_handover(folder)
    if handover is not None:
        write_handover(folder, with_base(handover, folder))


def _check_base(adapter: Path, loader: str) -> None:
    handover = read_handover(adapter)
    if handover is not None and handover.base_hash is not None:
        base = base_of(adapter)[0]
        if model_folder_hash(base) != handover.base_hash:
            raise StageError(
                f"{loader}: {base} is not the base that the adapter {adapter} was trained on: its files have changed."
            )


def _noted(model: Path) -> tuple[Path, dict[str, OutputFile]] | None:
    """Return the folder of the stage (or round of one) that wrote a model, and what it noted of its files."""
    folder = model.resolve()
    if not folder.is_dir() or folder.parts[-2:] != ("output", "model"):
        return None  # not of a run
    stage = folder.parents[1]
    manifest = read_manifest(stage / "manifest.json")
    if manifest is not None:
        return stage, manifest.outputs
    if (stage / ROUND).is_file():
        outputs = json.loads((stage / ROUND).read_text(encoding="utf-8")).get("outputs", {})
        return stage, {name: OutputFile(**one) for name, one in outputs.items()}
    return None


def prove(
    model: torch.nn.Module, handover: Handover, job: StageJob, *, held: str, computed: str | None = None
) -> None:
    """Score a loaded model on the rows that it was handed over with; the first to load a merge notes them.

    Args:
        model: The model, wrapped or not; of a sharded one every process must come here.
        handover: What lies beside it.
        job: The job that loads it.
        held: Type that whole weights were loaded in.
        computed: Type that a sharded model computes in; `None` scores one that is held whole in fp32.

    Raises:
        StageError: It is another model.
    """
    path = job.model_input.path if job.model_input else Path(str(job.spec.model.name_or_path))
    context = in_fp32(model) if computed is None else None
    found, width = score_rows(model, handover.rows, vocabulary=handover.vocabulary or None, context=context)
    dtype = scored_in(computed, job.spec.model.quantization)
    if handover.logprobs is None and (job.model_input is None or is_adapter(path)):
        log.info("%s: %s was handed over with its bytes alone", job.spec.name, path)
        return
    if handover.logprobs is None:
        rounded = coarsest(dtype, held if TOLERANCE[held] > TOLERANCE[_file_dtype(path)] else "float32")
        scored = rescored(handover, found, vocabulary=width, dtype=rounded, held=held)
        if job.ranks.is_main:
            write_handover(path, scored)
            _note(job, path, {"logprob": scored.mean, "tokens": scored.tokens})
        return
    if held != handover.held and (is_adapter(path) or TOLERANCE[held] > TOLERANCE[handover.held]):
        dtype = coarsest(dtype, held, handover.held)  # what was scored then was rounded otherwise
    checked = check_logprobs(handover, found, dtype=dtype, folder=path, loader=job.spec.name)
    if job.ranks.is_main:
        _note(job, path, {"logprob": checked.now, "distance": checked.distance, "tolerance": checked.tolerance})
        log.info(
            "%s: %s is the model that was handed over: mean log-prob %.4f then, %.4f now (distance %.2g of %g)",
            job.spec.name,
            _name(path, job),
            checked.before,
            checked.now,
            checked.distance,
            checked.tolerance,
        )


def prove_folder(model: Path, loader: str) -> None:
    """Prove a model by itself, outside a stage: its bytes, and its log-probs as it was handed over.

    Args:
        model: The folder.
        loader: Who loads it, for the error.

    Raises:
        StageError: It is another model.
    """
    files = compare_bytes(model, loader)
    if files:
        log.info("%s: %d files of %s are as they were written", loader, files, model)
    handover = read_handover(model)
    if handover is None or handover.logprobs is None:
        return
    check_words(handover, load_tokenizer(model), model)
    dtype = handover.held if is_adapter(model) else "auto"
    load = load_adapter if is_adapter(model) else load_model
    loaded = load(model, dtype=dtype, attn_implementation="sdpa", quantization=handover.quantization)
    if torch.cuda.is_available():
        loaded.to("cuda")
    found, _ = score_rows(loaded, handover.rows, vocabulary=handover.vocabulary or None, context=in_fp32(loaded))
    checked = check_logprobs(
        handover, found, dtype=scored_in(None, handover.quantization), folder=model, loader=loader
    )
    log.info(
        "%s: %s is the model that was handed over: mean log-prob %.4f then, %.4f now (distance %.2g of %g)",
        loader, model, checked.before, checked.now, checked.distance, checked.tolerance,
    )  # fmt: skip


def _file_dtype(folder: Path) -> str:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return str(config.get("dtype") or config.get("torch_dtype") or "float32")


def scored_in(computed: str | None, quantization: Mapping[str, Any] | None) -> str:
    """Return the type that decides how far log-probs may differ; layers of 8 bits compute in one of their own."""
    return computed or ("bfloat16" if (quantization or {}).get("load_in_8bit") else "float32")


def _note(job: StageJob, path: str | Path, found: dict[str, Any]) -> None:
    job.dir.note_loaded(_name(path, job), found)


def _name(path: str | Path, job: StageJob) -> str:
    return job.spec.inputs[0] if job.model_input else str(path)
