"""The models that go into a merge or an export: tensors by name, read when asked for, and fitted to each other.

An adapter is merged into its base first, in a temporary folder; that loads the base, everything else does not.

Two models fit if they have the same tensors, with two allowances. Vocabularies may differ in length: the shorter one
gets rows at the mean of its own, as `light_r1.models.load.add_think_tokens` gives them to new tokens, and a base that
is longer is cut. An output layer that is a copy of the embedding may be stored or not.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors import safe_open
from tokenizers import Tokenizer

from light_r1.errors import LightR1Error
from light_r1.models.load import base_of, is_adapter, load_model
from light_r1.models.merge_output import INDEX, TYPES, Entry, copy_rest, note_dtype

log = logging.getLogger(__name__)

_NAMES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32", "F64": "float32"}
_SAFETENSORS = "model.safetensors"


class Weights:
    """The tensors of one model folder by name, read when asked for.

    Args:
        folder: A folder with a whole model.
        stack: Closes its files.
        model: The folder as the user named it.
        like: Gives the types that the tensors are written in; the folder itself by default.

    Raises:
        LightR1Error: There are no weights as safetensors, some are missing, or there are two sets of them.
    """

    def __init__(
        self, folder: Path, stack: ExitStack, *, model: Path | None = None, like: Weights | None = None
    ) -> None:
        self.folder = folder
        self.model = model or folder
        self.like = like
        config = folder / "config.json"
        self.config: dict[str, Any] = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
        self.files: dict[str, Any] = {}
        for path in _weight_files(folder):
            handle = stack.enter_context(safe_open(path, framework="pt"))
            self.files.update(dict.fromkeys(handle.keys(), handle))
        self._copies: dict[str, str] = {}
        self._rows: dict[str, int] = {}

    @property
    def vocabulary(self) -> int | None:
        """Number of rows of the embedding, where the config tells it."""
        size = self.config.get("vocab_size", self.config.get("text_config", {}).get("vocab_size"))
        return None if size is None else int(size)

    def entry(self, name: str) -> Entry:
        """Return the type that a tensor is written in, and its shape."""
        name = self._copies.get(name, name)
        tensor = self.files[name].get_slice(name)
        shape = tuple(tensor.get_shape())
        if name in self._rows:
            shape = (self._rows[name], *shape[1:])
        if self.like is not None and name in self.like.files:
            return Entry(self.like.files[name].get_slice(name).get_dtype(), shape)
        return Entry(tensor.get_dtype(), shape)

    def tensor(self, name: str) -> torch.Tensor:
        """Read a tensor.

        Raises:
            LightR1Error: It holds what is no number.
        """
        name = self._copies.get(name, name)
        tensor: torch.Tensor = self.files[name].get_tensor(name)
        check_finite(tensor, f"{name} of {self.model}")
        return fit_rows(tensor, self._rows[name]) if name in self._rows else tensor

    def fit(self, lead: Weights) -> None:
        """See that the model has the tensors of another, and grow or cut its vocabulary to that of the other.

        Raises:
            LightR1Error: A name or a shape differs, or a token has another id.
        """
        self._fit_names(lead)
        for name in lead.files:
            here, there = lead.entry(name).shape, self.entry(name).shape
            if here == there:
                continue
            if here[1:] != there[1:] or (here[:1], there[:1]) != ((lead.vocabulary,), (self.vocabulary,)):
                raise LightR1Error(
                    f"{name} is {list(here)} in {lead.model} and {list(there)} in {self.model}: models of other sizes "
                    "cannot be merged"
                )
            self._rows[self._copies.get(name, name)] = here[0]
        _compare_tokens(lead, self, exact=bool(self._rows))

    def _fit_names(self, lead: Weights) -> None:
        shared = lead.files.keys() & self.files.keys()
        missing, extra = sorted(lead.files.keys() - shared), sorted(self.files.keys() - shared)
        for owner, names in ((lead, missing), (self, extra)):
            for name in list(names):
                original = next((one for one in sorted(shared) if owner.repeats(name, one)), None)
                if original is not None:
                    names.remove(name)
                    self._copies[name] = original
        if missing or extra:
            raise LightR1Error(
                f"{self.model} and {lead.model} hold other tensors: {len(extra)} only in the first "
                f"({', '.join(extra[:3])}), {len(missing)} only in the second ({', '.join(missing[:3])}). Only an "
                "output layer that is a copy of the embedding may be left out."
            )

    def spans_vocabulary(self, name: str) -> bool:
        """Whether a tensor has a row for each token."""
        name = self._copies.get(name, name)
        shape = self.files[name].get_slice(name).get_shape()
        return len(shape) == 2 and shape[0] == self.vocabulary

    def repeats(self, name: str, other: str) -> bool:
        """Whether a tensor over the vocabulary is a copy of another, as a tied output layer is of the embedding."""
        if not (self.spans_vocabulary(name) and self.spans_vocabulary(other)):
            return False
        return self.entry(name) == self.entry(other) and torch.equal(self.tensor(name), self.tensor(other))

    @cached_property
    def words(self) -> dict[int, str] | None:
        """Token by id, if there is a `tokenizer.json`."""
        file = self.folder / "tokenizer.json"
        if not file.is_file():
            return None
        return {index: token for token, index in Tokenizer.from_file(str(file)).get_vocab().items()}


def _weight_files(folder: Path) -> list[Path]:
    """Return the files that transformers loads."""
    single, index = folder / _SAFETENSORS, folder / INDEX
    if single.is_file() and index.is_file():
        raise LightR1Error(
            f"{folder} holds two sets of weights, {_SAFETENSORS} and the files of {INDEX}: move away the one that is "
            "not meant"
        )
    if single.is_file():
        return [single]
    if index.is_file():
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        if gone := [name for name in names if not (folder / name).is_file()]:
            raise LightR1Error(f"{folder / INDEX} names {', '.join(gone[:3])}, not there: an incomplete copy")
        return [folder / name for name in names]
    if any(folder.glob("*.bin")):
        raise LightR1Error(
            f"{folder} has its weights as pytorch_model.bin. Convert it first: "
            "AutoModelForCausalLM.from_pretrained(folder, dtype='auto').save_pretrained(another) writes safetensors."
        )
    raise LightR1Error(f"no safetensors files in {folder}: expected {_SAFETENSORS} or {INDEX}")


def check_finite(tensor: torch.Tensor, what: str) -> None:
    """Refuse NaN and infinity in a floating-point tensor; types of 8 bits, which have scales beside them, may be so.

    Raises:
        LightR1Error: There is one.
    """
    if not tensor.is_floating_point() or tensor.element_size() == 1 or not tensor.numel():
        return
    low, high = torch.aminmax(tensor)  # in one pass, and no copy; a NaN comes through
    if not (low.isfinite() and high.isfinite()):
        broken = int((~torch.isfinite(tensor)).sum())
        raise LightR1Error(f"{what} holds NaN or infinity ({broken:,} of {tensor.numel():,} numbers)")


def fit_rows(tensor: torch.Tensor, rows: int) -> torch.Tensor:
    """Return the first rows of a tensor; those that it lacks are the mean of all that it has.

    They are where `resize_token_embeddings` of transformers draws those of new tokens, but for its noise (a covariance
    of 1e-9 of the embedding's own).
    """
    mean = tensor.float().mean(0, keepdim=True).to(tensor.dtype)
    return torch.cat([tensor[:rows], mean.expand(max(0, rows - len(tensor)), *tensor.shape[1:])])


def _compare_tokens(lead: Weights, other: Weights, *, exact: bool) -> None:
    """See that an id is the same token in two models, which is what rows of vocabularies of two lengths go by."""
    mine, theirs = lead.words, other.words
    if mine is None or theirs is None:
        if exact:
            raise LightR1Error(
                f"the vocabularies of {lead.model} and {other.model} differ in length, and there is no tokenizer.json "
                f"in {(lead if mine is None else other).folder} to tell which row is whose"
            )
        return
    differing = sorted(index for index in mine.keys() & theirs.keys() if mine[index] != theirs[index])
    if not differing:
        return
    first = differing[0]
    found = (
        f"{len(differing)} tokens of {lead.model} and {other.model} differ: {first} is {mine[first]!r} in the first "
        f"and {theirs[first]!r} in the second"
    )
    if exact:
        raise LightR1Error(f"{found}. Vocabularies of two lengths merge only where one goes on from the other.")
    log.warning("%s; their rows are merged as they stand", found)


@contextmanager
def whole_model(model: Path, beside: Path) -> Iterator[Weights]:
    """Open a model; an adapter is merged into its base first, in a temporary folder.

    Args:
        model: Model or adapter folder.
        beside: The temporary folder lies beside this path.

    Raises:
        LightR1Error: It is no model, or a quantised one, which cannot be computed with.
    """
    if not model.is_dir():
        raise LightR1Error(f"{model} is not a folder")
    with ExitStack() as stack:
        if not is_adapter(model):
            yield Weights(model, stack)
            return
        base = Weights(local_folder(*base_of(model)), stack)
        refuse_quantized(base)
        beside.parent.mkdir(parents=True, exist_ok=True)
        scratch = TemporaryDirectory(prefix=f".{beside.name}.", dir=beside.parent)
        folder = Path(stack.enter_context(scratch))
        _merge_adapter(model, base, folder)
        yield Weights(folder, stack, model=model, like=base)


def _merge_adapter(model: Path, base: Weights, folder: Path) -> None:
    """Write base plus adapter, computed in the widest type of the base's tensors."""
    log.info("merging the adapter %s into its base", model)
    sizes: dict[str, int] = {}
    for name in base.files:
        entry = base.entry(name)
        if entry.dtype in _NAMES:
            sizes[_NAMES[entry.dtype]] = sizes.get(_NAMES[entry.dtype], 0) + entry.size
    if not sizes:
        raise LightR1Error(f"{base.model}, the base of {model}, has no weights in {', '.join(sorted(_NAMES))}")
    dtype = next(iter(sizes)) if len(sizes) == 1 else "float32"
    if not any(model.glob("tokenizer*")):
        copy_rest(base.folder, folder)
    load_model(model, dtype=dtype, attn_implementation="sdpa").save_pretrained(folder)
    copy_rest(model, folder)
    note_dtype(folder, max(sizes, key=lambda name: sizes[name]))


def refuse_quantized(weights: Weights) -> None:
    """Refuse weights of few bits with scales beside them, which mean nothing by themselves.

    Raises:
        LightR1Error: The config tells so.
    """
    if (settings := weights.config.get("quantization_config")) is not None:
        raise LightR1Error(
            f"{weights.model} is quantised ({settings.get('quant_method')}), and its tensors cannot be computed with: "
            "take the model that it was made from"
        )


def local_folder(name: str | Path, revision: str | None = None) -> Path:
    """Return a model folder, or the local copy of a model on the hub."""
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(str(name), revision=revision))


def check_apart(out: Path, models: Sequence[Path]) -> None:
    """Refuse to write over anything that is read: a model, its files, the base of an adapter, or a folder around one.

    Raises:
        LightR1Error: With the model that would be hit.
    """
    read = [*models, *(Path(base_of(model)[0]) for model in models if is_adapter(model))]
    for model in read:
        if not model.is_dir():
            continue
        # Files too: those of a model may be links into another folder.
        for path in (model, *(file for file in model.iterdir() if file.is_file())):
            if _lies_in(path, out) or (path is model and _lies_in(out, model)):
                raise LightR1Error(f"{out} is, holds or lies in {model}, which is read; write to another folder.")


def _lies_in(path: Path, folder: Path) -> bool:
    """Whether a path is a folder or lies in it, by what links lead to."""
    if not folder.exists():
        return False
    resolved = path.resolve()
    return any(place.samefile(folder) for place in (resolved, *resolved.parents) if place.exists())


def is_number(dtype: str) -> bool:
    """Whether tensors of a type, in safetensors' words, are averaged: floating point of 16 bits or more."""
    return TYPES[dtype].is_floating_point and TYPES[dtype].itemsize > 1 if dtype in TYPES else False
