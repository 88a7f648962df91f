"""Sampling with plain transformers: finished rows leave the batch and waiting ones take their place.

`model.generate` keeps every row until the longest is done and copies the whole KV cache at each token. Here

- each distinct prompt is encoded once and its cache shared out to its n samples,
- rows that end make room for the next requests, whose encoded prompts are written over them (long prompts first, so
  that a memory error comes at once and not at the end, and that every prompt fits where a longer one was),
- the cache is a slab that grows in blocks and is written in place.

Every sample draws from its own random stream, keyed by seed, prompt and sample index. A result does not depend on
which other requests share its batch, except through floating-point rounding of the batched forward.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from torch.nn.functional import pad
from transformers import Cache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from light_r1.errors import LightR1Error
from light_r1.models.chat import ChatFormat
from light_r1.rollouts.sampler import Completion, Request, SamplingParams

_BLOCK = 64  # cache positions allocated at a time
_UNIFORMS = 256  # random numbers drawn per row at a time
_PER_ROW = ("last", "tokens", "written", "done", "uniforms")


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
        model: A causal language model whose layers all attend to everything before them.
        eos_token_ids: Tokens that end a completion.
        pad_token_id: Token for the padding of prompts.
        batch_size: Rows decoded at once.

    Raises:
        LightR1Error: The model has layers with a window or a recurrent state.
    """

    def __init__(
        self, model: PreTrainedModel, *, eos_token_ids: Sequence[int], pad_token_id: int, batch_size: int = 64
    ) -> None:
        other = sorted(set(model.config.layer_types) - {"full_attention"}) if "layer_types" in model.config else []
        if other:
            raise LightR1Error(
                f"the hf sampler needs full attention in every layer, this model has {other}: use vllm."
            )
        self.model = model
        self.eos = torch.tensor(list(eos_token_ids), device=model.device)
        self.pad_token_id = pad_token_id
        self.batch_size = batch_size

    @torch.no_grad()
    def sample(self, requests: Sequence[Request], params: SamplingParams) -> list[Completion]:
        """Return one completion for each request, in order."""
        if any(len(request.prompt_ids) < 2 for request in requests):
            raise LightR1Error("the hf sampler needs prompts of at least two tokens.")
        queue = deque(sorted(requests, key=lambda r: (-len(r.prompt_ids), r.prompt_id, r.sample_index)))
        results: dict[tuple[str, int], Completion] = {}
        was_training = self.model.training
        self.model.eval()
        batch: _Batch | None = None
        while queue or batch is not None:
            if batch is None:
                batch = self._prefill(_taken(queue, self.batch_size), params)
            while not _worth_turning_over(batch):
                self._step(batch, params)
            batch = self._turn_over(batch, queue, results, params)
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
        cache = [SlabLayer() for _ in range(self.model.config.num_hidden_layers)]
        # The last prompt token is the input of the first decoding step.
        self._forward(input_ids[:, :-1], mask[:, :-1], cache)
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
        batch.last = choose(logits.float(), _next_uniforms(batch), params)
        rows = (~batch.done).nonzero().flatten()
        batch.tokens[rows, batch.written[rows]] = batch.last[rows]
        batch.written[rows] += 1
        batch.done |= torch.isin(batch.last, self.eos) | (batch.written >= params.max_tokens)


def choose(logits: torch.Tensor, uniforms: torch.Tensor, params: SamplingParams) -> torch.Tensor:
    """Draw one token per row by inverting the cumulative distribution.

    Args:
        logits: `[rows, vocabulary]`, fp32.
        uniforms: `[rows]`, in [0, 1).
        params: Temperature, `top_p` and `top_k`.

    Returns:
        Token ids, `[rows]`.
    """
    if params.temperature == 0:
        return logits.argmax(-1)
    probabilities = torch.softmax(logits / params.temperature, -1)
    if params.top_p >= 1 and params.top_k is None:
        return _invert(probabilities, uniforms)
    probabilities, order = torch.sort(probabilities, dim=-1, descending=True, stable=True)
    if params.top_k is not None:
        probabilities[:, params.top_k :] = 0
    if params.top_p < 1:
        # A token stays if the mass before it is below top_p, so at least one always does.
        before = probabilities.cumsum(-1) - probabilities
        probabilities = probabilities.masked_fill(before >= params.top_p * probabilities.sum(-1, keepdim=True), 0)
    return order.gather(-1, _invert(probabilities, uniforms)[:, None])[:, 0]


def _invert(probabilities: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
    cumulative = probabilities.cumsum(-1)
    target = uniforms[:, None] * cumulative[:, -1:]
    index = torch.searchsorted(cumulative, target, right=True)[:, 0]
    # Rounding can leave the target at the very end; the last token with any mass is then the right one.
    last = probabilities.shape[-1] - 1 - (probabilities > 0).flip(-1).int().argmax(-1)
    return torch.minimum(index, last)


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
