"""Model shapes (layers, heads, sizes) for the cost formulas: from a config, a table or a stated size.

Read from `size:` of the recipe, the `config` of a model made from nothing, a `config.json` on disk, or the table of
published configs below; never downloaded. Mixture-of-experts models are not covered: give `size` of the dense
equivalent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from light_r1.recipe.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class ModelShape:
    """Sizes of a Llama-like decoder (Qwen2, Qwen3, Llama): gated MLP, grouped-query attention.

    Args:
        hidden_size: Width of the residual stream.
        intermediate_size: Width of the MLP.
        num_hidden_layers: Layers.
        num_attention_heads: Query heads.
        num_key_value_heads: Key and value heads.
        vocab_size: Rows of the embedding; 0 if not known (models made from nothing).
        head_dim: Width of a head.
        tie_word_embeddings: Whether the output layer is the embedding.
        attention_bias: Whether q, k and v have a bias (Qwen2 does).
    """

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    vocab_size: int
    head_dim: int
    tie_word_embeddings: bool
    attention_bias: bool = True

    @property
    def parameters(self) -> int:
        """Number of weights."""
        h, q, kv = (
            self.hidden_size,
            self.num_attention_heads * self.head_dim,
            self.num_key_value_heads * self.head_dim,
        )
        attention = h * q + 2 * h * kv + q * h + (q + 2 * kv if self.attention_bias else 0)
        layer = attention + 3 * h * self.intermediate_size + 2 * h
        embeddings = self.vocab_size * h * (1 if self.tie_word_embeddings else 2)
        return embeddings + self.num_hidden_layers * layer + h

    @property
    def matrix_parameters(self) -> int:
        """Weights that every token is multiplied with: all but the embedding, which is a look-up."""
        looked_up = 0 if self.tie_word_embeddings else self.vocab_size * self.hidden_size
        return self.parameters - looked_up

    def lora_parameters(self, rank: int) -> int:
        """Weights of LoRA adapters of this rank on every linear layer of the blocks (arXiv 2106.09685)."""
        h, i = self.hidden_size, self.intermediate_size
        q, kv = self.num_attention_heads * self.head_dim, self.num_key_value_heads * self.head_dim
        sums = (h + q) + 2 * (h + kv) + (q + h) + 2 * (h + i) + (i + h)
        return self.num_hidden_layers * rank * sums


def shape_of(config: Mapping[str, Any]) -> ModelShape:
    """Read the shape from the fields of a transformers config.

    Raises:
        KeyError: A needed field is missing.
    """
    heads = config["num_attention_heads"]
    return ModelShape(
        hidden_size=config["hidden_size"],
        intermediate_size=config["intermediate_size"],
        num_hidden_layers=config["num_hidden_layers"],
        num_attention_heads=heads,
        num_key_value_heads=config.get("num_key_value_heads", heads),
        vocab_size=config.get("vocab_size", 0),
        head_dim=config.get("head_dim") or config["hidden_size"] // heads,
        tie_word_embeddings=config.get("tie_word_embeddings", True),
        attention_bias=config.get("attention_bias", config.get("model_type", "qwen2") == "qwen2"),
    )


def _qwen(hidden: int, mlp: int, layers: int, heads: int, kv: int, vocab: int, *, tied: bool = False) -> ModelShape:
    return ModelShape(hidden, mlp, layers, heads, kv, vocab, hidden // heads, tied)


_05B = _qwen(896, 4864, 24, 14, 2, 151936, tied=True)
_15B = _qwen(1536, 8960, 28, 12, 2, 151936, tied=True)
_15B_UNTIED = _qwen(1536, 8960, 28, 12, 2, 151936)
_3B = _qwen(2048, 11008, 36, 16, 2, 151936, tied=True)
_7B = _qwen(3584, 18944, 28, 28, 4, 152064)
_14B = _qwen(5120, 13824, 48, 40, 8, 152064)
_32B = _qwen(5120, 27648, 64, 40, 8, 152064)

# From the models' published config.json files.
SHAPES: dict[str, ModelShape] = {
    "Qwen/Qwen2.5-0.5B-Instruct": _05B,
    "Qwen/Qwen2.5-1.5B-Instruct": _15B,
    "Qwen/Qwen2.5-3B-Instruct": _3B,
    "Qwen/Qwen2.5-7B-Instruct": _7B,
    "Qwen/Qwen2.5-14B-Instruct": _14B,
    "Qwen/Qwen2.5-32B-Instruct": _32B,
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B": _15B_UNTIED,
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B": _7B,
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-14B": _14B,
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-32B": _32B,
    "qihoo360/Light-R1-7B-DS": _7B,
    "qihoo360/Light-R1-14B-DS": _14B,
    "qihoo360/Light-R1-32B": _32B,
    "agentica-org/DeepScaleR-1.5B-Preview": _15B_UNTIED,
    "Nickyang/FastCuRL-1.5B-Preview": _15B_UNTIED,
}


def model_shape(model: ModelSpec) -> ModelShape | None:
    """Return the shape of a recipe's model, or None where nothing local tells it."""
    if model.size is not None:
        return shape_of(model.size)
    if model.init is not None:
        return shape_of(model.init["config"])
    if model.name_or_path is None:
        return None
    config = Path(model.name_or_path).expanduser() / "config.json"
    if config.is_file():
        return shape_of(json.loads(config.read_text(encoding="utf-8")))
    return SHAPES.get(model.name_or_path)
