"""What was found of each model that a stage of the run loaded: the two proofs of a handover, as a table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from light_r1.run_dir.folder import RunDir


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model as a stage has found it.

    Args:
        model: Name of the stage that made it, or its path.
        loader: The stage that loaded it.
        found: What its manifest says: `files`, `logprob`, `distance`, `tolerance`; each only where it was compared.
        before: Mean log-prob when it was handed over; None where nobody had scored it.
    """

    model: str
    loader: str
    found: dict[str, Any]
    before: float | None


HEAD = ["model", "loaded by", "files compared", "log-prob handed over", "as loaded", "distance (tolerance)"]


def loaded_models(root: Path) -> list[Loaded]:
    """Return every model that a finished stage of a run has loaded, in the order of the run."""
    manifests = {stage.name: manifest for stage in RunDir(root).stages() if (manifest := stage.read_manifest())}
    found = []
    for name, manifest in manifests.items():
        for model, numbers in manifest.loaded.items():
            made = manifests[model].handover if model in manifests else None
            found.append(Loaded(model, name, numbers, made["logprob"] if made else None))
    return found


def table_row(one: Loaded) -> list[str]:
    """Return the cells of a loaded model under `HEAD`."""
    found = one.found
    distance = f"{found['distance']:.2g} ({found['tolerance']:g})" if "distance" in found else ""
    return [
        one.model,
        one.loader,
        str(found.get("files", "")),
        "" if one.before is None else f"{one.before:.4f}",
        f"{found['logprob']:.4f}" if "logprob" in found else "",
        distance,
    ]


def card_text(root: Path, stage: str, handover: dict[str, Any] | None) -> str:
    """Return, for a model card, the log-probs that a model was handed over with and those who found it so; or nothing.

    Args:
        root: The run folder.
        stage: The stage that made it.
        handover: What its manifest says.
    """
    parts = []
    if handover:
        parts.append(
            f"Handed over with a mean log-prob of {handover['logprob']:.4f} over {handover['tokens']:,} tokens of its "
            f"own data, computed in {handover['computed']}, saved in {handover['saved']}."
        )
    for one in loaded_models(root):
        if one.model == stage and "logprob" in one.found:
            parts.append(f"{one.loader} loaded it with {one.found['logprob']:.4f}.")
    return " ".join(parts)
