"""Sampling with plain transformers: finished rows leave the batch and waiting ones take their place.

`model.generate` keeps every row until the longest is done and copies the whole KV cache at each token. Here

- each distinct prompt is encoded once and its cache shared out to its n samples,
- rows that end make room for the next requests, whose encoded prompts are written over them (long prompts first, so
  that a memory error comes at once and not at the end, and that every prompt fits where a longer one was),
- the cache is a slab that grows in blocks and is written in place,
- rows attend to it by torch's own attention also where the model trains with FlashAttention, which would copy all of
  it without padding in each layer for each token.

What a token is drawn from is what transformers' own logits processors leave. Every sample draws from its own random
stream, keyed by seed, prompt and sample index. A result does not depend on which other requests share its batch,
except through floating-point rounding of the batched forward. Layers with a window keep the whole cache and mask it.
Models with a recurrent state cannot be sampled here.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from torch.nn.functional import pad
from transformers import (
    Cache,
    DynamicCache,
    MinPLogitsWarper,
    PreTrainedConfig,
    PreTrainedModel,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from light_r1.errors import LightR1Error, StageError
from light_r1.models.chat import ChatFormat
from light_r1.rollouts.sampler import Completion, Request, SamplingParams

_BLOCK = 64  # cache positions allocated at a time
_UNIFORMS = 256  # random numbers drawn per row at a time
_PER_ROW = ("last", "tokens", "written", "done", "unusable", "seen", "uniforms")


class SlabLayer(DynamicLayer):
    """A cache layer that appends in place instead of concatenating at each token.

    All rows end at the same position. What lies before a row's own tokens is masked; positions that no row needs are
    out of view, and given up when the slab grows.
    """

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Start empty; buffers come with the first update."""
        self.dtype, self.device = key_states.dtype, key_states.device
        self._hold([key_states[..., :0, :], value_states[..., :0, :]])
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append `[batch, heads, new, dim]` states; return all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        new = key_states.shape[-2]
        if self.stop + new > self.slabs[0].shape[-2]:
            stop = self.stop - self.first
            self._hold([_grown(live, stop + new + _BLOCK) for live in (self.keys, self.values)], stop)
        for slab, states in zip(self.slabs, (key_states, value_states), strict=True):
            slab[..., self.stop : self.stop + new, :] = states
        self._view(self.first, self.stop + new)
        return self.keys, self.values

    def repeat(self, counts: torch.Tensor) -> None:
        """Repeat each row so many times."""
        self._hold([live.repeat_interleave(counts, 0) for live in (self.keys, self.values)])

    def write_over(self, rows: torch.Tensor, other: SlabLayer) -> None:
        """Put the rows of another layer, not longer than the slab, in the place of these."""
        start = self.stop - other.keys.shape[-2]
        for slab, states in zip(self.slabs, (other.keys, other.values), strict=True):
            slab[rows, :, start : self.stop] = states
        self._view(min(self.first, start), self.stop)

    def keep(self, rows: torch.Tensor) -> None:
        """Give up all rows but these."""
        self._hold([slab[rows, :, self.first :] for slab in self.slabs], self.stop - self.first)

    def skip(self, count: int) -> None:
        """Take the first positions out of view."""
        self._view(self.first + count, self.stop)

    def _hold(self, slabs: list[torch.Tensor], stop: int | None = None) -> None:
        self.slabs = slabs
        self._view(0, slabs[0].shape[-2] if stop is None else stop)

    def _view(self, first: int, stop: int) -> None:
        self.first, self.stop = first, stop
        self.keys, self.values = (slab[..., first:stop, :] for slab in self.slabs)


def _grown(live: torch.Tensor, size: int) -> torch.Tensor:
    slab = live.new_empty((*live.shape[:-2], size, live.shape[-1]))
    slab[..., : live.shape[-2], :] = live
    return slab


@dataclass(slots=True)
class _Batch:
    """The rows being decoded.

    Args:
        requests: One per row.
        cache: One layer each, `[rows, heads, positions, dim]`, left-padded to one length.
        mask: `[rows, positions]`, 1 for real tokens.
        last: `[rows]`, the token that goes in next.
        tokens: `[rows, max_tokens]`, what has been sampled.
        written: `[rows]`, how many of `tokens` are valid.
        done: `[rows]`, rows that have ended and wait to be taken out.
        unusable: `[rows]`, rows that ended because their logits were no numbers.
        seen: `[rows, vocabulary]`, tokens that the row holds; `[rows, 0]` without a repetition penalty.
        streams: Random stream of each row.
        uniforms: `[rows, _UNIFORMS]`, the current block of each row's stream.
    """

    requests: list[Request]
    cache: list[SlabLayer]
    mask: torch.Tensor
    last: torch.Tensor
    tokens: torch.Tensor
    written: torch.Tensor
    done: torch.Tensor
    unusable: torch.Tensor
    seen: torch.Tensor
    streams: list[np.random.Generator]
    uniforms: torch.Tensor

    def write_over(self, rows: torch.Tensor, fresh: _Batch) -> None:
        """Put the rows of a new batch in the place of these; none may be longer than the longest here."""
        for mine, theirs in zip(self.cache, fresh.cache, strict=True):
            mine.write_over(rows, theirs)
        width = self.cache[0].keys.shape[-2]
        self.mask = pad(self.mask, (width - self.mask.shape[1], 0))
        self.mask[rows] = pad(fresh.mask, (width - fresh.mask.shape[1], 0))
        for name in _PER_ROW:
            getattr(self, name)[rows] = getattr(fresh, name)
        for row, request, stream in zip(rows.tolist(), fresh.requests, fresh.streams, strict=True):
            self.requests[row], self.streams[row] = request, stream

    def keep(self, rows: torch.Tensor) -> None:
        """Give up all rows but these."""
        for layer in self.cache:
            layer.keep(rows)
        for name in ("mask", *_PER_ROW):
            setattr(self, name, getattr(self, name)[rows])
        self.requests = [self.requests[row] for row in rows.tolist()]
        self.streams = [self.streams[row] for row in rows.tolist()]

    def trim(self) -> None:
        """Leave out the positions before all rows."""
        first = int(self.mask.argmax(1).min())
        self.mask = self.mask[:, first:]
        for layer in self.cache:
            layer.skip(first)


class HFSampler:
    """Samples from a transformers model held in memory.

    Args:
        model: A causal language model with a key and a value for each position and layer; see `why_not_sampled`.
        eos_token_ids: Tokens that end a completion.
        pad_token_id: Token for the padding of prompts.
        batch_size: Rows decoded at once.

    Raises:
        LightR1Error: The model is of another kind.
    """

    def __init__(
        self, model: PreTrainedModel, *, eos_token_ids: Sequence[int], pad_token_id: int, batch_size: int = 64
    ) -> None:
        if reason := why_not_sampled(model):
            raise LightR1Error(f"the hf sampler cannot sample this model: {reason}. Use the backend vllm or openai.")
        self.model = model
        self.eos = torch.tensor(list(eos_token_ids), device=model.device)
        self.pad_token_id = pad_token_id
        self.batch_size = batch_size
        self.config: PreTrainedConfig = model.config.get_text_config(decoder=True)
        flash = "flash" in str(self.config._attn_implementation)
        self.decoding = "sdpa" if flash and model._supports_sdpa else self.config._attn_implementation

    @torch.no_grad()
    def sample(self, requests: Sequence[Request], params: SamplingParams) -> list[Completion]:
        """Return one completion for each request, in order.

        Raises:
            LightR1Error: A prompt has fewer than two tokens.
            StageError: The model gives logits that are no numbers.
        """
        if any(len(request.prompt_ids) < 2 for request in requests):
            raise LightR1Error("the hf sampler needs prompts of at least two tokens.")
        queue = deque(sorted(requests, key=lambda r: (-len(r.prompt_ids), r.prompt_id, r.sample_index)))
        results: dict[tuple[str, int], Completion] = {}
        was_training = self.model.training
        self.model.eval()
        batch: _Batch | None = None
        try:
            while queue or batch is not None:
                if batch is None:
                    batch = self._prefill(_taken(queue, self.batch_size), params)
                with _attending(self.config, self.decoding):
                    while not _worth_turning_over(batch):
                        self._step(batch, params)
                batch = self._turn_over(batch, queue, results, params)
        finally:
            self.model.train(was_training)
        return [results[request.prompt_id, request.sample_index] for request in requests]

    def _turn_over(
        self,
        batch: _Batch,
        queue: deque[Request],
        results: dict[tuple[str, int], Completion],
        params: SamplingParams,
    ) -> _Batch | None:
        """Take out the rows that have ended and put waiting requests in their place."""
        if unusable := int(batch.unusable.sum()):
            raise StageError(
                f"the model gave NaN or infinite logits for {unusable} of the {len(batch.requests)} completions being "
                "sampled. The weights may have become NaN in training (a learning rate that is too high, float16), "
                "or overflow where the model computes in float16: try bfloat16 or float32."
            )
        eos = set(self.eos.tolist())
        ended = batch.done.nonzero().flatten()
        for row in ended.tolist():
            ids = batch.tokens[row, : batch.written[row]].tolist()
            request = batch.requests[row]
            results[request.prompt_id, request.sample_index] = Completion(request, ids, finished=ids[-1] in eos)
        if fresh := _taken(queue, len(ended)):
            batch.write_over(ended[: len(fresh)], self._prefill(fresh, params))
        if len(fresh) < len(ended):
            kept = (~batch.done).nonzero().flatten()
            if not len(kept):
                return None
            batch.keep(kept)
        batch.trim()
        return batch

    def _prefill(self, requests: list[Request], params: SamplingParams) -> _Batch:
        prompts = [(ids, len(list(rows))) for ids, rows in groupby(requests, key=lambda r: r.prompt_ids)]
        device = self.model.device
        longest = max(len(ids) for ids, _ in prompts)
        input_ids = torch.tensor([[self.pad_token_id] * (longest - len(ids)) + list(ids) for ids, _ in prompts])
        mask = torch.tensor([[0] * (longest - len(ids)) + [1] * len(ids) for ids, _ in prompts], device=device)
        input_ids = input_ids.to(device)
        repeats = torch.tensor([count for _, count in prompts], device=device)
        cache = [SlabLayer() for _ in DynamicCache(config=self.config).layers]
        # The last prompt token is the input of the first decoding step.
        logits = self._forward(input_ids[:, :-1], mask[:, :-1], cache)
        seen = torch.zeros_like(logits[:, :0], dtype=torch.bool)
        if params.repetition_penalty != 1:
            unpadded = torch.where(mask.bool(), input_ids, input_ids[:, -1:])
            seen = torch.zeros_like(logits, dtype=torch.bool).scatter_(1, unpadded, True)
        for layer in cache:
            layer.repeat(repeats)
        rows = len(requests)
        return _Batch(
            requests=requests,
            cache=cache,
            mask=mask[:, :-1].repeat_interleave(repeats, 0),
            last=input_ids[:, -1].repeat_interleave(repeats),
            tokens=torch.zeros((rows, params.max_tokens), dtype=torch.long, device=device),
            written=torch.zeros(rows, dtype=torch.long, device=device),
            done=torch.zeros(rows, dtype=torch.bool, device=device),
            unusable=torch.zeros(rows, dtype=torch.bool, device=device),
            seen=seen.repeat_interleave(repeats, 0),
            streams=[_stream(params.seed, request) for request in requests],
            uniforms=torch.zeros((rows, _UNIFORMS), device=device),
        )

    def _forward(self, input_ids: torch.Tensor, mask: torch.Tensor, cache: list[SlabLayer]) -> torch.Tensor:
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -input_ids.shape[1] :]
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=Cache(layers=cache),
            use_cache=True,
            logits_to_keep=1,
        )
        return outputs.logits[:, -1]

    def _step(self, batch: _Batch, params: SamplingParams) -> None:
        batch.mask = pad(batch.mask, (0, 1), value=1)
        logits = self._forward(batch.last[:, None], batch.mask, batch.cache)
        batch.last = choose(logits.float(), _next_uniforms(batch), params, batch.seen)
        if params.repetition_penalty != 1:
            batch.seen.scatter_(1, batch.last[:, None], True)
        rows = (~batch.done).nonzero().flatten()
        batch.tokens[rows, batch.written[rows]] = batch.last[rows]
        batch.written[rows] += 1
        # Read where rows are taken out: here it would make the host wait for the device.
        batch.unusable |= ~logits.amax(-1).isfinite()
        batch.done |= torch.isin(batch.last, self.eos) | (batch.written >= params.max_tokens) | batch.unusable


def why_not_sampled(model: PreTrainedModel) -> str | None:
    """Say why the hf sampler cannot sample a model, or return `None` if it can.

    It can where the cache holds a key and a value for each position in each layer. The text part of a model that also
    takes images is sampled like any other.
    """
    name = type(model).__name__
    if model.config.is_encoder_decoder:
        return f"{name} has an encoder"
    kinds = {type(layer) for layer in DynamicCache(config=model.config).layers}
    other = sorted(kind.__name__ for kind in kinds - {DynamicLayer, DynamicSlidingWindowLayer})
    if model._is_stateful or other:
        return f"{name} has a recurrent state" if model._is_stateful else f"{name} has caches of type {other}"
    return None


@contextmanager
def _attending(config: PreTrainedConfig, implementation: str | None) -> Iterator[None]:
    """Let a model attend by an implementation of transformers' attention table, which it looks up at each forward."""
    usual, config._attn_implementation = config._attn_implementation, implementation
    try:
        yield
    finally:
        config._attn_implementation = usual


def choose(
    logits: torch.Tensor, uniforms: torch.Tensor, params: SamplingParams, seen: torch.Tensor | None = None
) -> torch.Tensor:
    """Draw one token per row by inverting the cumulative distribution.

    Args:
        logits: `[rows, vocabulary]`, fp32.
        uniforms: `[rows]`, in [0, 1).
        params: How to sample.
        seen: `[rows, vocabulary]`, the tokens that a repetition penalty concerns.

    Returns:
        Token ids, `[rows]`.
    """
    scores = processed(logits, params, seen)
    return scores.argmax(-1) if params.temperature == 0 else _invert(torch.softmax(scores, -1), uniforms)


def processed(logits: torch.Tensor, params: SamplingParams, seen: torch.Tensor | None = None) -> torch.Tensor:
    """Return the logits, `[rows, vocabulary]`, as transformers' processors leave them; see `choose`."""
    if params.repetition_penalty != 1:
        # RepetitionPenaltyLogitsProcessor, whose input_ids would be rebuilt from rows of different lengths.
        assert seen is not None, "a repetition penalty needs the tokens that it concerns"
        penalty = params.repetition_penalty
        logits = torch.where(seen, torch.where(logits < 0, logits * penalty, logits / penalty), logits)
    if params.temperature == 0:
        return logits
    ids = logits.new_zeros((len(logits), 0), dtype=torch.long)  # what follows does not look at them
    if params.temperature != 1:
        logits = TemperatureLogitsWarper(float(params.temperature))(ids, logits)
    if params.top_k:
        logits = TopKLogitsWarper(params.top_k)(ids, logits)
    if params.top_p < 1:
        logits = TopPLogitsWarper(params.top_p)(ids, logits)
    if params.min_p:
        logits = MinPLogitsWarper(params.min_p)(ids, logits)
    return logits


def _invert(probabilities: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
    cumulative = probabilities.cumsum(-1)
    target = uniforms[:, None] * cumulative[:, -1:]
    index = torch.searchsorted(cumulative, target, right=True).clamp(max=probabilities.shape[-1] - 1)
    # A sum in blocks may rise a little where there is no mass: the token before, or the first that has mass, is right.
    places = torch.arange(probabilities.shape[-1], device=probabilities.device, dtype=torch.int32)
    before = torch.where(probabilities > 0, places, -1).cummax(-1).values
    index = before.gather(1, index)[:, 0].long()
    return torch.where(index < 0, (probabilities > 0).int().argmax(-1), index)


def _stream(seed: int, request: Request) -> np.random.Generator:
    key = f"{seed}:{request.prompt_id}:{request.sample_index}".encode()
    return np.random.Generator(np.random.PCG64(int.from_bytes(hashlib.sha256(key).digest()[:16], "little")))


def _next_uniforms(batch: _Batch) -> torch.Tensor:
    column = batch.written % _UNIFORMS
    for row in ((column == 0) & ~batch.done).nonzero().flatten().tolist():
        batch.uniforms[row] = torch.from_numpy(batch.streams[row].random(_UNIFORMS, dtype=np.float32))
    return batch.uniforms.gather(1, column[:, None])[:, 0]


def _taken(queue: deque[Request], count: int) -> list[Request]:
    return [queue.popleft() for _ in range(min(count, len(queue)))]


def _worth_turning_over(batch: _Batch) -> bool:
    """Whether enough rows have ended to pay for encoding their successors: an eighth of them."""
    return int(batch.done.sum()) * 8 >= len(batch.requests)


def from_chat(*, model: PreTrainedModel, chat: ChatFormat, batch_size: int) -> HFSampler:
    """Build the sampler of a model whose completions end as its chat format says."""
    declared = model.generation_config.eos_token_id
    ends = {chat.end_token_id, *([declared] if isinstance(declared, int) else declared or [])}
    return HFSampler(
        model,
        eos_token_ids=sorted(ends),
        pad_token_id=int(chat.tokenizer.pad_token_id),
        batch_size=batch_size,
    )
