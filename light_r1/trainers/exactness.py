"""Whether a packed row means the same to a model as its padded rows do; a reason where it does not.

What is known is asked first: the attention, the adapters, what else of the settings looks along a row. What a model
class does between its layers is not known, so it is tried: a copy of the model with a few small layers, made from its
config, scores a few tokens packed and padded. The copy has the same class and the same kinds of layers, and costs
milliseconds on a CPU; the model itself is not called, so that sharded weights are not gathered, ranks stay in step,
and low precision cannot hide or feign a difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from accelerate.utils import extract_model_from_parallel
from peft import PeftModel
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils import logging

from light_r1.errors import LightR1Error
from light_r1.trainers.packing import dense_mask, pack_rows
from light_r1.trainers.segments import read_segments, reads_segments

TOLERANCE = 1e-4
"""Difference of log-probs, as a share of what another prompt changes: 3e-6 by rounding, 1e-2 and more by meaning."""

_LAYERS = {"full_attention", "sliding_attention"}

# fmt: off
BY_TOKEN = {
    "LORA", "ADALORA", "BOFT", "C3A", "DELORA", "FOURIERFT", "GLORA", "GRALORA", "HIRA", "HRA", "IA3", "LN_TUNING",
    "LOHA", "LOKR", "MISS", "OFT", "OSF", "RANDLORA", "ROAD", "SHIRA", "TRAINABLE_TOKENS", "VBLORA", "VERA", "WAVEFT",
}
# fmt: on
"""Adapters of PEFT that change weights, or each token by itself."""


def unwrapped(model: torch.nn.Module) -> tuple[PreTrainedModel, PeftModel | None]:
    """Return the transformers model inside every wrapper (compiled, DDP, DeepSpeed, FSDP, PEFT), and its adapters.

    Raises:
        LightR1Error: There is no transformers model inside.
    """
    outer, adapted = None, None
    while model is not outer:
        outer = model
        model = extract_model_from_parallel(model, keep_torch_compile=False)
        if isinstance(model, PeftModel):
            adapted, model = model, model.get_base_model()
    if not isinstance(model, PreTrainedModel):
        raise LightR1Error(f"expected a transformers model, possibly wrapped, got {type(model).__name__}")
    return model, adapted


def why_padded(model: torch.nn.Module) -> str | None:
    """Return why a model must be called with padded rows, or `None` where a packed row means the same to it."""
    base, adapted = unwrapped(model)
    config = base.config.get_text_config()
    attention = config._attn_implementation
    for adapter in adapted.peft_config.values() if adapted is not None else ():
        if adapter.peft_type not in BY_TOKEN:
            return f"{adapter.peft_type.value} adapters are not known to leave tokens apart"
        if adapter.to_dict().get("alora_invocation_tokens"):
            return "a LORA adapter with alora_invocation_tokens looks along the row"
    if "neftune_noise_alpha" in vars(base.get_input_embeddings()):
        return "NEFTune scales its noise by the length of a row"
    if attention != "eager" and not reads_segments(attention):
        return f"{attention} attention is not computed by segments"
    if base.is_remote_code() or not base._supports_attention_backend:
        return f"{config.model_type} brings attention of its own"
    by_masks = attention == "eager"
    key = (type(base), base.config.to_json_string(use_diff=False), by_masks)
    if key not in _KNOWN:
        _KNOWN[key] = _why_differs(type(base), base.config, by_masks=by_masks)
    return _KNOWN[key]


_KNOWN: dict[tuple[type[PreTrainedModel], str, bool], str | None] = {}


def _why_differs(kind: type[PreTrainedModel], config: PreTrainedConfig, *, by_masks: bool) -> str | None:
    """Return why packed rows are not padded ones to models of a config, or `None`."""
    fields = config.get_text_config().to_dict()
    name = fields["model_type"]
    if fields.get("output_router_logits"):
        return "the loss that balances a router's load counts the tokens of padded rows"
    if fields.get("attn_logit_softcapping"):
        return f"{name} has soft-capped attention"
    if others := set(fields.get("layer_types") or ()) - _LAYERS:
        return f"{name} has layers of {', '.join(sorted(others))}"
    if by_masks and fields.get("sliding_window"):
        return f"{name} has a sliding window, of which a mask for all layers of eager attention knows nothing"
    try:
        difference = _tried(kind, small_config(config), by_masks=by_masks)
    except Exception as error:  # whatever the code of a model raises
        said = str(error).strip().partition("\n")[0]
        return f"{name} cannot be tried on a small copy: {type(error).__name__}: {said}"
    if difference < TOLERANCE:
        return None
    return f"{name} looks along the row: packed, log-probs of a small copy differ by {difference:.0e}"


def _tried(kind: type[PreTrainedModel], config: PreTrainedConfig, *, by_masks: bool) -> float:
    """Return how far packed log-probs of a small copy are from padded ones, as a share of what another prompt changes.

    Not a number where another prompt changes nothing.
    """
    config._attn_implementation = "eager" if by_masks else "sdpa"
    config._experts_implementation = "eager"  # fused kernels want sizes that small copies do not have
    read_segments("sdpa")
    with _apart():
        torch.manual_seed(0)
        model = kind(config).float().eval()
        for parameter in model.parameters():
            if parameter.dim() > 1:  # as drawn, layers hardly add to what a token is by itself
                parameter.normal_(std=2 / parameter.size(-1) ** 0.5)
        input_ids, attention_mask, labels = _rows()
        row = pack_rows(input_ids, attention_mask, labels)
        padded = model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).logits
        packed = model(
            input_ids=row.input_ids,
            position_ids=row.position_ids,
            attention_mask=dense_mask(row, torch.float32) if by_masks else row.segments,
            use_cache=False,
        ).logits
    expected = padded[:, :-1].flatten(0, 1)[row.cells]
    first, other = padded[[0, -1], _PROMPT - 1 : _PROMPT + _COMPLETIONS[0] - 1]
    return float(_distance(packed[0, row.slots], expected) / _distance(first, other))


@contextmanager
def _apart() -> Iterator[None]:
    """Compute on the CPU in fp32, and leave random numbers and logs of the training alone."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with (
            torch.random.fork_rng(devices=[]),
            torch.device("cpu"),
            torch.no_grad(),
            torch.autocast("cpu", enabled=False),
        ):
            yield
    finally:
        logging.set_verbosity(verbosity)


def _distance(some: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    return (some.log_softmax(-1) - others.log_softmax(-1)).abs().max()


_PROMPT, _COMPLETIONS = 7, (9, 6, 11)


def _rows() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return a padded batch: completions of one prompt, and the first again behind a prompt with another token."""
    tokens = torch.randint(3, _SIZES["vocab_size"], (_PROMPT + sum(_COMPLETIONS),))
    prompt, *completions = tokens.split([_PROMPT, *_COMPLETIONS])
    other = prompt.clone()
    other[-2] = 3 + (prompt[-2] - 2) % 61
    rows = [torch.cat([prompt, completion]) for completion in completions] + [torch.cat([other, completions[0]])]
    input_ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    labels = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-100)
    labels[:, :_PROMPT] = -100
    return input_ids, (torch.arange(input_ids.size(1)) < torch.tensor([[len(row)] for row in rows])).long(), labels


# A small number for each size, under the names that configs give it. The size of a head stays, which lists of rotary
# factors have to fit. Windows and such are below the length of the rows that are tried, or layers that have them
# would look like layers that have none.
_SIZES = {
    **dict.fromkeys(("vocab_size", "vocab_size_per_layer_input", "max_position_embeddings", "n_positions"), 64),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "n_inner", "decoder_ffn_dim", "ffn_hidden_size"), 64),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size", "expert_ffn_hidden_size"), 32),
    **dict.fromkeys(("hidden_size_per_layer_input", "kv_lora_rank", "q_lora_rank"), 16),
    **dict.fromkeys(("num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k"), 2),
    **dict.fromkeys(("n_group", "topk_group"), 1),
    **dict.fromkeys(("sliding_window", "sliding_window_size", "window_size", "attention_chunk_size"), 4),
    **dict.fromkeys(("index_topk", "index_topk_blocks", "index_block_size"), 4),
}
_HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads", "decoder_attention_heads")
_WIDTHS = ("hidden_size", "d_model", "n_embd", "embedding_size", "word_embed_proj_dim")
# Settings that give a kind to every n-th layer, or to the first n.
_PATTERNS = ("first_k", "interval", "pattern", "period", "sparse_step")
_DEPTHS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers")


def small_config(config: PreTrainedConfig) -> PreTrainedConfig:
    """Return a config of a model with the same kinds of layers, the first that have all, and small sizes."""
    return type(config).from_dict(_small(config.to_dict()))


def _small(fields: Mapping[str, Any]) -> dict[str, Any]:
    small: dict[str, Any] = {
        key: _small(value) if isinstance(value, Mapping) else value for key, value in fields.items()
    }
    small |= {key: min(small[key], size) for key, size in _SIZES.items() if type(small.get(key)) is int}
    small |= {key: None if fields[key] is None else 0 for key in fields if str(key).endswith("_token_id")}
    heads = next((fields[key] for key in _HEADS if type(fields.get(key)) is int), None)
    width = next((fields[key] for key in _WIDTHS if type(fields.get(key)) is int), None)
    kept_heads = min(heads or 2, 2)
    if heads and width:
        small |= {key: kept_heads for key in _HEADS if key in fields}
        small |= {key: width // heads * kept_heads for key in _WIDTHS if key in fields}
    if type(fields.get("num_key_value_heads")) is int:
        small["num_key_value_heads"] = kept_heads if fields["num_key_value_heads"] == heads else 1
    depths: dict[str, int] = {key: fields[key] for key in _DEPTHS if type(fields.get(key)) is int}
    for depth in depths.values():
        by_layer = {key: value for key, value in fields.items() if isinstance(value, list) and len(value) == depth}
        last = [value.index(kind) for value in by_layer.values() for kind in value if isinstance(kind, str)]
        last += [
            value
            for key, value in fields.items()
            if type(value) is int and any(word in str(key) for word in _PATTERNS)
        ]
        kept = min(depth, max([1, *(place for place in last if place < depth)]) + 1)
        small |= {key: value[:kept] for key, value in by_layer.items()} | dict.fromkeys(depths, kept)
        # Exceptions by the number of their layer.
        for key, value in small.items():
            if isinstance(value, dict) and value and all(str(layer).isdigit() for layer in value):
                small[key] = {layer: of_layer for layer, of_layer in value.items() if int(layer) < kept}
    return small
