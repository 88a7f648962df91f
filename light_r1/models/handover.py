"""Proof that a model folder, once loaded, is the model that was trained.

A stage that trains a model writes `handover.json` beside it: the token ids of a few rows of its own data and their
log-probs under the model in memory. Whatever loads the folder next scores the same rows first. A lost or doubled
adapter, another base, left-over weights, a tokenizer that has shifted or weights that were cast once too often change
the log-probs of text that the model was trained on by far more than rounding does.

Both sides are scored in fp32, whatever the weights are held in: each module's weights are cast as it is called, those
of a model in memory by way of the type that they are saved in. So a clean handover is exact to fp32's rounding, of a
model in bfloat16 too, and no more memory is needed than for one layer. Only a model that is sharded over processes is
scored as it is computed, by all of them, and held against a wider tolerance.

Two numbers are compared. The distance is the mean absolute difference of the log-probs of a row, at the worst row; it
is held against `TOLERANCE`. The mean log-prob of each side is for people. Bytes of files are another proof, kept in
the manifest of a stage (`light_r1.run_dir.manifest`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import PreTrainedModel

from data_tools.rows.files import written_whole
from light_r1.errors import StageError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

HANDOVER = "handover.json"
ROWS, TOKENS = 8, 256
DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}

TOLERANCE = {"float32": 2e-3, "bfloat16": 0.3, "float16": 0.05}
"""Largest distance that is rounding, by the coarser of the types that both sides were scored in. A test holds each at
five times what clean handovers show."""


@dataclass(frozen=True, slots=True)
class Handover:
    """What is written beside a trained model.

    Args:
        rows: Token ids of rows of the stage's data, at most `ROWS` of at most `TOKENS`.
        logprobs: Log-prob of every token of each row but its first; None until somebody has scored the model, as with
            a merge, which never has it in memory.
        vocabulary: Number of logits; a vocabulary that has grown since gives more.
        words: Token by id, of the ids in `rows`: what the tokenizer has to say of them.
        dtype: Type that the log-probs were computed in, or that weights were rounded to for them.
        held: Type that holds the scored weights exactly: the one that they are saved in, or that the base of an
            adapter was loaded in.
        quantization: Fields of `BitsAndBytesConfig` that the model was loaded with.
        lora: Fields of `LoraConfig` that an adapter was trained with.
        base: Where the base of an adapter lies, relative to the folder if it is part of the same run.
        base_hash: Hash of the base's folder (`light_r1.run_dir.hashes.model_folder_hash`); None for one of the hub.
    """

    rows: list[list[int]]
    logprobs: list[list[float]] | None = None
    vocabulary: int = 0
    words: dict[int, str] = field(default_factory=dict)
    dtype: str = "float32"
    held: str = "float32"
    quantization: dict[str, Any] | None = None
    lora: dict[str, Any] | None = None
    base: str | None = None
    base_hash: str | None = None

    @property
    def tokens(self) -> int:
        """Number of log-probs."""
        return sum(len(row) - 1 for row in self.rows)

    @property
    def mean(self) -> float | None:
        """Mean log-prob of a token, in nats; None while nobody has scored it."""
        return None if self.logprobs is None else _mean([value for row in self.logprobs for value in row])


@dataclass(frozen=True, slots=True)
class Checked:
    """What a loader found.

    Args:
        before: Mean log-prob of a token when the model was handed over.
        now: The same as it was loaded.
        distance: Mean absolute difference of log-probs, at the worst row.
        tolerance: What the distance may be.
        tokens: Number of log-probs.
    """

    before: float
    now: float
    distance: float
    tolerance: float
    tokens: int


def write_handover(folder: Path, handover: Handover) -> None:
    """Write `handover.json` into a model folder."""
    with written_whole(folder / HANDOVER) as temporary:
        temporary.write_text(json.dumps(asdict(handover)) + "\n", encoding="utf-8")


def read_handover(folder: str | Path) -> Handover | None:
    """Return what `write_handover` wrote into a model folder; None if nothing was.

    Raises:
        StageError: The file is not readable.
    """
    file = Path(folder) / HANDOVER
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        content["words"] = {int(index): word for index, word in content["words"].items()}
        return Handover(**content)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StageError(f"{file}: not readable ({error}). Put a good copy back, or run the stage again.") from error


def cut_rows(count: int, row_of: Callable[[int], Sequence[int]]) -> list[list[int]]:
    """Return `ROWS` rows, evenly spread over all, each cut to `TOKENS` tokens; rows of one token say nothing.

    Args:
        count: Number of rows that there are.
        row_of: Gives the token ids of a row.
    """
    chosen = sorted({number * count // ROWS for number in range(ROWS)}) if count else []
    rows = [list(row_of(index)[:TOKENS]) for index in chosen]
    return [row for row in rows if len(row) > 1]


def words_of(tokenizer: PreTrainedTokenizerBase, rows: Sequence[Sequence[int]]) -> dict[int, str]:
    """Return the token of each id in the rows, as the tokenizer has it."""
    ids = sorted({index for row in rows for index in row})
    return dict(zip(ids, tokenizer.convert_ids_to_tokens(ids), strict=True))


def score_rows(
    model: torch.nn.Module,
    rows: Sequence[Sequence[int]],
    *,
    vocabulary: int | None = None,
    context: AbstractContextManager[Any] | None = None,
) -> tuple[list[list[float]], int]:
    """Return the log-probs of rows under a model, and the number of its logits.

    A model sharded over processes is called as all of them call it: every process must come here with the same rows.

    Args:
        model: A causal language model, wrapped or not.
        rows: Token ids.
        vocabulary: Number of logits that count; all if `None`.
        context: What the forward passes run in, such as `in_fp32`.
    """
    was_training = model.training
    device = next(model.parameters()).device
    model.eval()
    found, width = [], 0
    try:
        with torch.no_grad(), context or nullcontext():
            for row in rows:
                ids = torch.tensor([row], device=device)
                logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits
                width = logits.size(-1)
                logps = logits[0, :-1, :vocabulary].float().log_softmax(-1)
                found.append(logps.gather(-1, ids[0, 1:, None].to(logps.device))[:, 0].tolist())
    finally:
        model.train(was_training)
    return [[round(value, 6) for value in row] for row in found], width


@contextmanager
def in_fp32(model: torch.nn.Module, saved: str | None = None, *, keep: Sequence[str] = ()) -> Iterator[None]:
    """Let a model compute in fp32 whatever its weights are held in, one module at a time.

    Args:
        model: A model that this process holds whole, not under autocast.
        saved: Round weights to this type first, as those will be that are saved in it.
        keep: Patterns of names that keep their type when they are saved.
    """
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    assert isinstance(base, PreTrainedModel)
    attention = base.config._attn_implementation
    precision = torch.backends.cuda.matmul.fp32_precision
    few_bits = [module for module in model.modules() if type(module).__module__.startswith("bitsandbytes.")]
    computed = [vars(module).get("compute_dtype") for module in few_bits]
    hooks: list[Any] = []
    inside = ""  # a layer with adapters, which reads the weights of the layer in it without calling that
    for place, module in model.named_modules():
        if inside and place.startswith(inside):
            continue
        whole = isinstance(module, BaseTunerLayer)
        inside = f"{place}." if whole else ""
        own = {name: weight for name, weight in module.named_parameters(recurse=whole) if weight.is_floating_point()}
        if own:
            rounded = [not any(word in f"{place}.{name}" for word in keep) for name in own]
            cast = _Cast(list(own.values()), [DTYPES[saved] if saved and each else None for each in rounded])
            hooks += [
                module.register_forward_pre_hook(cast.enter, with_kwargs=True),
                module.register_forward_hook(cast.leave, always_call=True),
            ]
    try:
        if "flash" in attention:  # its kernels take no fp32
            base.set_attn_implementation("sdpa" if base._supports_sdpa else "eager")
        torch.backends.cuda.matmul.fp32_precision = "ieee"
        for module in few_bits:
            module.compute_dtype = torch.float32
        yield
    finally:
        torch.backends.cuda.matmul.fp32_precision = precision
        for module, dtype in zip(few_bits, computed, strict=True):
            module.compute_dtype = dtype
        if base.config._attn_implementation != attention:
            base.set_attn_implementation(attention)
        for hook in hooks:
            hook.remove()


class _Cast:
    """Hooks that hold the weights of one module in fp32 while it is called."""

    def __init__(self, weights: list[torch.nn.Parameter], rounded: list[torch.dtype | None]) -> None:
        self.weights = weights
        self.rounded = rounded
        self.held: list[torch.Tensor] = []

    def enter(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        self.held = [weight.data for weight in self.weights]
        for weight, dtype in zip(self.weights, self.rounded, strict=True):
            weight.data = (weight.data if dtype is None else weight.data.to(dtype)).float()
        return tuple(map(_float, args)), {name: _float(value) for name, value in kwargs.items()}

    def leave(self, module: Any, args: Any, output: Any) -> None:
        for weight, data in zip(self.weights, self.held, strict=True):
            weight.data = data
        self.held = []


def _float(value: Any) -> Any:
    return value.float() if isinstance(value, torch.Tensor) and value.is_floating_point() else value


def check_words(handover: Handover, tokenizer: PreTrainedTokenizerBase, folder: str | Path) -> None:
    """Refuse a tokenizer that has other tokens under the ids that the model was trained on.

    Raises:
        StageError: It has.
    """
    found = words_of(tokenizer, handover.rows)
    other = [index for index, word in handover.words.items() if found.get(index) != word]
    if other:
        first = other[0]
        raise StageError(
            f"{folder}: the tokenizer is not the one that the model was trained with: token {first} is "
            f"{found.get(first)!r} and was {handover.words[first]!r} ({len(other)} of {len(found)} differ)."
        )


def check_logprobs(
    handover: Handover, found: Sequence[Sequence[float]], *, dtype: str, folder: str | Path, loader: str
) -> Checked:
    """Compare the log-probs of a loaded model with those that it was handed over with.

    Args:
        handover: What was handed over, with log-probs.
        found: Log-probs of the same rows, as loaded.
        dtype: Type that they were computed in.
        folder: The model folder, for the error.
        loader: Who loads it, for the error.

    Raises:
        StageError: They are further apart than rounding puts them, or not numbers.
    """
    assert handover.logprobs is not None
    assert handover.mean is not None
    tolerance = TOLERANCE[coarsest(handover.dtype, dtype)]
    distances = [
        _mean([abs(one - other) for one, other in zip(before, now, strict=True)])
        for before, now in zip(handover.logprobs, found, strict=True)
    ]
    now = _mean([value for row in found for value in row])
    result = Checked(handover.mean, now, max(distances), tolerance, handover.tokens)
    if not all(distance <= tolerance for distance in distances):  # a NaN is not
        raise StageError(
            f"{loader}: {folder} is not the model that was trained: its mean log-prob on {len(found)} rows of its own "
            f"data was {result.before:.4f} a token when it was handed over and is {result.now:.4f} as loaded "
            f"(distance {result.distance:.4g} at the worst row, rounding gives at most {tolerance:g}). "
            "Look for a base, an adapter or weights that were moved or changed since; run the stage that made it "
            "again, or set handover: bytes to go on with it as it is."
        )
    return result


def rescored(handover: Handover, found: list[list[float]], *, vocabulary: int, dtype: str, held: str) -> Handover:
    """Return a handover with the log-probs that its first loader found."""
    return replace(handover, logprobs=found, vocabulary=vocabulary, dtype=dtype, held=held)


def coarsest(*dtypes: str) -> str:
    """Return the type of these that rounds most."""
    return max(dtypes, key=lambda dtype: TOLERANCE[dtype])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(1, len(values))
