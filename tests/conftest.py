"""Shared fixtures: tiny real models and tokenizers, built here, no download."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import string

import pytest
from hypothesis import settings

# The same examples in every run, so that a failure names the change that caused it, and no verdict from the clock.
# `--hypothesis-profile=explore` tries new ones.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None, print_blob=True)
settings.load_profile("same")

TURN_TOKENS = {
    "chatml": ["<|im_start|>", "<|im_end|>", "<|endoftext|>"],
    "qwen3": ["<|im_start|>", "<|im_end|>", "<|endoftext|>"],
    "deepseek_r1": ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"],
    "llama3": [
        "<|begin_of_text|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<|eot_id|>",
        "<|end_of_text|>",
    ],
    "plain": ["</s>"],
}
END = {
    "chatml": "<|im_end|>",
    "qwen3": "<|im_end|>",
    "deepseek_r1": "<｜end▁of▁sentence｜>",
    "llama3": "<|eot_id|>",
    "plain": "</s>",
}


def character_tokenizer(family: str, *, think_special: bool):
    """One token per printable character, and the turn tokens of a template family."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", *TURN_TOKENS[family], *(["<think>", "</think>"] if think_special else [])]
    vocabulary = {token: index for index, token in enumerate([*special, *string.printable])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    core.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        eos_token=END[family],
        unk_token="?",
        additional_special_tokens=special[1:],
    )
    if family == "qwen3":
        tokenizer.chat_template = "{% if enable_thinking is defined %}{% endif %}"
    return tokenizer


@pytest.fixture(scope="session")
def tokenizer():
    return character_tokenizer("chatml", think_special=True)


@pytest.fixture
def tiny_model(tokenizer):
    return make_model(tokenizer)


def make_model(tokenizer, *, seed: int = 0, layers: int = 2, tied: bool = True, hidden: int = 32):
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        initializer_range=0.1,
        tie_word_embeddings=tied,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    return Qwen2ForCausalLM(config)
