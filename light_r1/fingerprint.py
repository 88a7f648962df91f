"""The identity of a stage, and of the bytes it reads.

A fingerprint is the SHA-256 of canonical JSON, cut to 16 hex digits (64 bits: a run has tens of stages, not
billions). What has no stable text is refused, never turned into one: a `str()` of an object holds its
address, and the same recipe would be another one in every process.

Settings in `INERT` are left out, since they cannot change what a stage produces. A setting belongs there only
if that is certain; a needless rerun costs hours, a wrong skip costs the result.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from types import MappingProxyType
from typing import Any

from light_r1.atomic import write_json
from light_r1.definitions import project_modules
from light_r1.errors import DataError

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

_SAMPLED_ABOVE = 64 << 20  # smaller weight files are hashed whole
_WINDOW = 64 << 10
_WINDOWS = 64
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf")
_NOT_THE_MODEL = (
    ".*",
    "*.md",
    "training_args.bin",
    "trainer_state.json",
    "optimizer*",
    "scheduler*",
    "rng_state*",
)
_RACY_NS = 2_000_000_000


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
        kept["args"] = {
            name: value for name, value in args.items() if name not in INERT or (picks_best and INERT[name] == _SAVES)
        }
    return kept


def stage_fingerprint(resolved: Mapping[str, Any]) -> str:
    """Return the fingerprint of a stage: that of its resolved settings without the inert ones.

    Args:
        resolved: Everything the stage's result follows from: type, version, args, model and chat blocks,
            seed, fingerprints of its inputs, hashes of its data.
    """
    return fingerprint(without_inert(resolved))


def file_hash(path: str | Path, *, cache: str | Path | None = None) -> str:
    """Return the SHA-256 of a file's bytes, or of the names and bytes of all files in a folder.

    Args:
        path: The file or folder.
        cache: A JSON file that remembers hashes by path, size and modification time in nanoseconds.

    Raises:
        DataError: There is no such file.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: no such file")
    files = _files_below(path) if path.is_dir() else [path]
    known = _read_cache(cache)
    before = dict(known)
    hashes = {file: _cached_hash(file, known) for file in files}
    if cache is not None and known != before:
        write_json(cache, known)
    if not path.is_dir():
        return hashes[path]
    return _combined({file.relative_to(path).as_posix(): digest for file, digest in hashes.items()})


def _files_below(folder: Path) -> list[Path]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return sorted(file for file in files if not any(part.startswith(".") for part in file.relative_to(folder).parts))


def _combined(hashes: Mapping[str, str]) -> str:
    return hashlib.sha256(canonical(dict(hashes)).encode()).hexdigest()


def _read_cache(cache: str | Path | None) -> dict[str, list[Any]]:
    if cache is None or not Path(cache).exists():
        return {}
    try:
        known = json.loads(Path(cache).read_text(encoding="utf-8"))
    except ValueError as error:
        log.warning("%s: not readable (%s), every file is hashed anew", cache, error)
        return {}
    return known if isinstance(known, dict) else {}


def _cached_hash(file: Path, known: dict[str, list[Any]]) -> str:
    status = file.stat()
    key, state = str(file.resolve()), [status.st_size, status.st_mtime_ns]
    if key in known and known[key][:2] == state:
        return str(known[key][2])
    digest = _hash_bytes(_whole(file))
    # A file changed again within the clock's tick would keep its time: remember it only once it has settled.
    if time.time_ns() - status.st_mtime_ns > _RACY_NS:
        known[key] = [*state, digest]
    return digest


def _whole(file: Path) -> Iterator[bytes]:
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            yield block


def _hash_bytes(blocks: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
    return digest.hexdigest()


def code_hash(module: str) -> str:
    """Return the hash of a module's source and of the project's own modules that it imports, at any depth.

    What is installed from elsewhere does not count: a package's update must not retrain a model.

    Raises:
        SourceError: There is no such module, or it has no Python source.
    """
    return _combined({name: file_hash(path) for name, path in project_modules(module).items()})


def model_folder_hash(path: str | Path) -> str:
    """Return a hash of a model folder in seconds, however large: what identifies it, not all its bytes.

    Settings and tokenizer files and weights up to 64 MiB are hashed whole. Of a larger weight file: its size,
    its safetensors header (names, types, shapes), and 64 evenly spread windows of 64 KiB, first and last
    included. The model card, what a trainer leaves for its own resume, hidden files and subfolders do not
    count.

    Raises:
        DataError: The folder does not exist or has no `config.json` or `adapter_config.json`.
    """
    path = Path(path)
    if not any((path / name).is_file() for name in ("config.json", "adapter_config.json")):
        raise DataError(f"{path}: not a model folder; expected config.json or adapter_config.json in it")
    files = (file for file in path.iterdir() if file.is_file())
    counted = [file for file in files if not any(fnmatch(file.name, pattern) for pattern in _NOT_THE_MODEL)]
    return _combined({file.name: _model_file_hash(file) for file in counted})


def _model_file_hash(file: Path) -> str:
    size = file.stat().st_size
    if file.suffix not in _WEIGHTS or size <= _SAMPLED_ABOVE:
        return _hash_bytes(_whole(file))
    return f"{size}:{_hash_bytes(_windows(file, size))}"


def _windows(file: Path, size: int) -> Iterator[bytes]:
    with file.open("rb") as stream:
        if file.suffix == ".safetensors":
            yield stream.read(8 + int.from_bytes(stream.read(8), "little"))
        last = size - _WINDOW
        for number in range(_WINDOWS):
            stream.seek(last * number // (_WINDOWS - 1))
            yield stream.read(_WINDOW)
