"""Hashes of files, model folders and modules: content, remembered by size and time where that is safe."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from light_r1.errors import DataError
from light_r1.recipe.options.source import project_modules
from light_r1.run_dir.files import write_json
from light_r1.run_dir.fingerprint import canonical, log

_SAMPLED_ABOVE = 64 << 20  # smaller weight files are hashed whole
_WINDOW = 64 << 10
_WINDOWS = 64
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf")
_NOT_THE_MODEL = (
    ".*",
    "*.md",
    "handover.json",
    "training_args.bin",
    "trainer_state.json",
    "optimizer*",
    "scheduler*",
    "rng_state*",
)
_RACY_NS = 2_000_000_000


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
    included. The model card, the proof of its handover, what a trainer leaves for its own resume, hidden files and
    subfolders do not count.

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
