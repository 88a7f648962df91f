r"""The tokenizer of the embedded curriculum: built here from a word list, nothing is downloaded.

It is a byte-level BPE in the very form of Qwen2's, so that `AutoTokenizer` and inference engines, which rebuild a
Qwen2 model's tokenizer from its vocabulary and merges alone, tokenise exactly as training did. Every word of the
problems is one token, and so is every digit. A step's letter never takes in the space before it, so it is the same
token wherever it stands, and copying it is one step of attention. Any other text is encoded in bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import Qwen2Tokenizer

PAD, END = "<|endoftext|>", "<|im_end|>"
_TURN_AND_THINK = ("<|im_start|>", "<think>", "</think>")

# In the alphabet of byte-level BPE `Ġ` is a space and `Ċ` a line break.
_FIRST = ("Start", "The", "Here", "Take", "Think", "Go", "Write", "This", "Good")
_LATER = (
    *("with", "Step", "add", "times", "What", "is", "the", "last", "digit", "\\"),
    *("puzzle", "your", "time", "first", "step", "by", "order", "matters", "every", "down"),
    *("not", "hard", "at", "all", "luck"),
)
_WORDS = (*_FIRST, "boxed", "=_", "user", "assistant", "system", "ĊĊ", *(f"Ġ{word}" for word in _LATER))


def build_tokenizer() -> Qwen2Tokenizer:
    """Build the tokenizer: ChatML with `<think>` and `</think>` as special tokens, fewer than 400 tokens in all."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import Qwen2Tokenizer

    merges = word_merges(_WORDS)
    pieces = [*sorted(ByteLevel.alphabet()), *(left + right for left, right in merges)]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    return Qwen2Tokenizer(
        vocab=vocabulary,
        merges=merges,
        unk_token=PAD,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=list(_TURN_AND_THINK),
    )


def word_merges(words: Iterable[str]) -> list[tuple[str, str]]:
    """Return the merges, first ones first, that make each word one token.

    Each word is cut by the merges so far and its pieces joined from the right, so that a space meets a whole word and
    never its first letter alone. What is added later cannot change an earlier word, of which nothing is left to merge.
    """
    merges: list[tuple[str, str]] = []
    for word in words:
        pieces = _merged(word, merges)
        while len(pieces) > 1:
            merges.append((pieces[-2], pieces[-1]))
            pieces = _merged(word, merges)
    return merges


def _merged(word: str, merges: list[tuple[str, str]]) -> list[str]:
    pieces = list(word)
    for pair in merges:
        joined: list[str] = []
        for piece in pieces:
            if joined and (joined[-1], piece) == pair:
                joined[-1] += piece
            else:
                joined.append(piece)
        pieces = joined
    return pieces
