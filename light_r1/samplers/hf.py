"""Sampling with plain transformers: finished rows leave the batch and waiting ones take their place.

`model.generate` keeps every row until the longest is done and copies the whole KV cache at each token. Here

- each distinct prompt is encoded once and its cache shared out to its n samples,
- rows that end are taken out of the batch, and the next requests are encoded and merged in (long prompts first, so
  that a memory error comes at once and not at the end),
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

from light_r1.chat import ChatFormat
from light_r1.errors import LightR1Error
from light_r1.samplers import Completion, Request, SamplingParams

_BLOCK = 64  # cache positions allocated at a time
_UNIFORMS = 256  # random numbers drawn per row at a time


class SlabLayer(DynamicLayer):
    """A cache layer that appends in place instead of concatenating at each token."""

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Start empty; buffers come with the first update."""
        self.dtype, self.device = key_states.dtype, key_states.device
        self.keys = key_states[..., :0, :]
        self.values = value_states[..., :0, :]
        self.slab: tuple[torch.Tensor, torch.Tensor] | None = None
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append `[batch, heads, new, dim]` states; return all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start = self.keys.shape[-2]
        stop = start + key_states.shape[-2]
        if self.slab is None or self.slab[0].shape[-2] < stop:
            self.slab = (
                self._grown(self.keys, key_states, stop),
                self._grown(self.values, value_states, stop),
            )
        for slab, states in zip(self.slab, (key_states, value_states), strict=True):
            slab[..., start:stop, :] = states
        self.keys, self.values = (slab[..., :stop, :] for slab in self.slab)
        return self.keys, self.values

    @staticmethod
    def _grown(old: torch.Tensor, new: torch.Tensor, stop: int) -> torch.Tensor:
        slab = new.new_empty((*new.shape[:-2], stop + _BLOCK, new.shape[-1]))
        slab[..., : old.shape[-2], :] = old
        return slab

    def replace(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Set the whole content; the slab is rebuilt at the next update."""
        self.keys, self.values, self.slab = keys, values, None


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
            batch = self._refill(batch, queue, params)
            while not _worth_merging(batch):
                self._step(batch, params)
            batch = _retire(batch, results, set(self.eos.tolist()))
        self.model.train(was_training)
        return [results[request.prompt_id, request.sample_index] for request in requests]

    def _refill(self, batch: _Batch | None, queue: deque[Request], params: SamplingParams) -> _Batch:
        room = self.batch_size - (len(batch.requests) if batch else 0)
        taken = [queue.popleft() for _ in range(min(room, len(queue)))]
        if batch is not None and not taken:
            return batch
        fresh = self._prefill(taken, params)
        return fresh if batch is None else _merged(batch, fresh)

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
            layer.replace(layer.keys.repeat_interleave(repeats, 0), layer.values.repeat_interleave(repeats, 0))
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


def _worth_merging(batch: _Batch) -> bool:
    """Whether enough rows have ended to pay for a copy of the cache: an eighth of them."""
    return int(batch.done.sum()) * 8 >= len(batch.requests)


def _retire(batch: _Batch, results: dict[tuple[str, int], Completion], eos: set[int]) -> _Batch | None:
    ended = batch.done.nonzero().flatten().tolist()
    for row in ended:
        ids = batch.tokens[row, : batch.written[row]].tolist()
        request = batch.requests[row]
        results[request.prompt_id, request.sample_index] = Completion(request, ids, finished=ids[-1] in eos)
    keep = (~batch.done).nonzero().flatten()
    if not len(keep):
        return None
    rows = keep.tolist()
    first = int(batch.mask[keep].argmax(1).min())  # columns before it are padding in every row that stays
    for layer in batch.cache:
        layer.replace(layer.keys[keep, :, first:], layer.values[keep, :, first:])
    return _Batch(
        requests=[batch.requests[row] for row in rows],
        cache=batch.cache,
        mask=batch.mask[keep, first:],
        last=batch.last[keep],
        tokens=batch.tokens[keep],
        written=batch.written[keep],
        done=batch.done[keep],
        streams=[batch.streams[row] for row in rows],
        uniforms=batch.uniforms[keep],
    )


def _merged(old: _Batch, new: _Batch) -> _Batch:
    width = max(old.mask.shape[1], new.mask.shape[1])

    def left(tensor: torch.Tensor, dim: int) -> torch.Tensor:
        missing = width - tensor.shape[dim]
        return pad(tensor, (missing, 0) if dim == 1 else (0, 0, missing, 0)) if missing else tensor

    for mine, theirs in zip(old.cache, new.cache, strict=True):
        mine.replace(
            torch.cat([left(mine.keys, 2), left(theirs.keys, 2)]),
            torch.cat([left(mine.values, 2), left(theirs.values, 2)]),
        )
    return _Batch(
        requests=old.requests + new.requests,
        cache=old.cache,
        mask=torch.cat([left(old.mask, 1), left(new.mask, 1)]),
        last=torch.cat([old.last, new.last]),
        tokens=torch.cat([old.tokens, new.tokens]),
        written=torch.cat([old.written, new.written]),
        done=torch.cat([old.done, new.done]),
        streams=old.streams + new.streams,
        uniforms=torch.cat([old.uniforms, new.uniforms]),
    )


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
