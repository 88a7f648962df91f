"""Fingerprint of a stage: a hash of the settings and inputs that its result follows from.

A fingerprint is the SHA-256 of canonical JSON, cut to 16 hex digits (64 bits: a run has tens of stages, not
billions). What has no stable text is refused, never turned into one: a `str()` of an object holds its
address, and the same recipe would be another one in every process.

Settings in `INERT` are left out, since they cannot change what a stage produces. A setting belongs there only
if that is certain; a needless rerun costs hours, a wrong skip costs the result. Beside `global_batch_size` the
settings that only say how it is split are left out too.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

log = logging.getLogger(__name__)

DIGITS = 16

_LOGS = "says when and where numbers are logged"
_SAVES = "says which checkpoints are written; counts with load_best_model_at_end, which picks among them"
_HUB = "says where a copy is uploaded"
_LOADER = "says how batches are fetched, not which"
_PLACE = "a name or a place"

INERT: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("logging_steps", "logging_strategy", "logging_first_step", "log_on_each_node"), _LOGS),
        **dict.fromkeys(("log_level", "log_level_replica", "disable_tqdm", "report_to"), _LOGS),
        **dict.fromkeys(("log_completions", "num_completions_to_print", "log_unique_prompts"), _LOGS),
        **dict.fromkeys(("log_completions_hub_repo", "log_multimodal", "skip_memory_metrics"), _LOGS),
        **dict.fromkeys(("save_steps", "save_strategy", "save_total_limit"), _SAVES),
        **dict.fromkeys(("save_on_each_node", "enable_jit_checkpoint"), _SAVES),
        **dict.fromkeys(("push_to_hub", "hub_model_id", "hub_strategy", "hub_token", "hub_private_repo"), _HUB),
        **dict.fromkeys(("hub_always_push", "hub_revision"), _HUB),
        **dict.fromkeys(("dataloader_num_workers", "dataloader_pin_memory", "dataloader_prefetch_factor"), _LOADER),
        **dict.fromkeys(("dataset_num_proc", "ddp_timeout"), _LOADER),
        **dict.fromkeys(("output_dir", "run_name", "project"), _PLACE),
        **dict.fromkeys(("trackio_space_id", "trackio_bucket_id", "trackio_static_space_id"), _PLACE),
    }
)

_SPLIT = ("per_device_train_batch_size", "gradient_accumulation_steps")


def canonical(value: Any) -> str:
    """Return the one JSON text of a value: keys sorted, no spaces, ASCII.

    Raises:
        TypeError: A value has no stable text (a path, a set, an object, a key that is not text). The message
            names its dotted key.
    """
    _require_stable(value, "")
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _require_stable(value: Any, key: str) -> None:
    if value is None or isinstance(value, str | bool | int | float):
        return
    if isinstance(value, dict):
        for name, inner in value.items():
            if not isinstance(name, str):
                raise TypeError(f"{key or 'the mapping'}: the key {name!r} is not text, so it has no stable place")
            _require_stable(inner, f"{key}.{name}" if key else name)
    elif isinstance(value, list | tuple):
        for position, inner in enumerate(value):
            _require_stable(inner, f"{key}[{position}]")
    else:
        raise TypeError(
            f"{key or 'the value'}: a {type(value).__name__} has no stable text; "
            "pass text, numbers, lists and dicts, or a hash of the content"
        )


def fingerprint(mapping: Mapping[str, Any]) -> str:
    """Return 16 hex digits that are the same in every process, and differ where any value differs.

    Raises:
        TypeError: A value has no stable text.
    """
    return hashlib.sha256(canonical(dict(mapping)).encode()).hexdigest()[:DIGITS]


def without_inert(resolved: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stage's resolved settings without the `args` that cannot change its result.

    With `load_best_model_at_end` the saving settings decide which checkpoints can be the best, so they stay.
    """
    kept = dict(resolved)
    args = kept.get("args")
    if isinstance(args, Mapping):
        picks_best = bool(args.get("load_best_model_at_end", False))
        split = _SPLIT if args.get("global_batch_size") is not None else ()
        kept["args"] = {
            name: value
            for name, value in args.items()
            if name not in split and (name not in INERT or (picks_best and INERT[name] == _SAVES))
        }
    return kept


def stage_fingerprint(resolved: Mapping[str, Any]) -> str:
    """Return the fingerprint of a stage: that of its resolved settings without the inert ones.

    Args:
        resolved: Everything the stage's result follows from: type, version, args, model and chat blocks,
            seed, fingerprints of its inputs, hashes of its data.
    """
    return fingerprint(without_inert(resolved))
