r"""The tokenizer of the embedded curriculum: built here from a word list, nothing is downloaded.

One token is a number below 100, a name, or a piece of a sentence with its spaces (` has `, ` more than `). A number
or a name is the same token wherever it stands, so copying it is one attention step. Every printable ASCII character
is a token too, so any such text can be encoded, and decoding gives back the very same text.
"""

from __future__ import annotations

import re
import string
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, END = "<|endoftext|>", "<|im_end|>"
SPECIAL = (PAD, "<|im_start|>", END, "<think>", "</think>")

NAMES = (
    *("Ann", "Ben", "Cid", "Dee", "Eli", "Fay", "Gus", "Hal", "Ivy", "Jon", "Kim", "Lea"),
    *("Max", "Ned", "Oda", "Pia", "Quin", "Roy", "Sue", "Tom", "Uma", "Vic", "Wes", "Zoe"),
)
THINGS = ("apples", "books", "cards", "coins", "marbles", "pens", "shells", "stamps")
MAX_NUMBER = 99

_PHRASES = (
    *(" has ", " more than ", " fewer than ", "twice as many as ", "three times as many as ", ". "),
    *("How many ", " does ", " have?", ": ", " = ", " + ", " - ", " * ", " has \\boxed{", "} ", "\n\n"),
    *("user", "assistant", "system"),
)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Build the tokenizer: ChatML with `<think>` and `</think>` as special tokens, about 260 tokens."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    pieces = [*NAMES, *THINGS, *_PHRASES, *(str(number) for number in range(MAX_NUMBER + 1)), *string.printable]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys([*SPECIAL, *pieces]))}
    longest_first = sorted(set(pieces), key=lambda piece: (-len(piece), piece))
    core = Tokenizer(models.WordLevel(vocabulary, unk_token=PAD))
    core.pre_tokenizer = pre_tokenizers.Split(Regex("|".join(map(re.escape, longest_first)) + r"|[\s\S]"), "isolated")
    core.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        eos_token=END,
        unk_token=PAD,
        additional_special_tokens=[token for token in SPECIAL if token not in (PAD, END)],
        clean_up_tokenization_spaces=False,
    )
