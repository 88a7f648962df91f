"""What the vLLM backend asks of vLLM, against a stand-in: vLLM itself needs a GPU."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest

from light_r1.errors import LightR1Error
from light_r1.models.chat import ChatFormat
from light_r1.rollouts.openai import request_seed
from light_r1.rollouts.sampler import Request, SamplingParams
from light_r1.rollouts.vllm import from_chat


@pytest.fixture
def engine(monkeypatch):
    """A module `vllm` whose engine echoes the prompt; prompts of odd length end by themselves."""
    made = ModuleType("vllm")
    made.calls = []

    class LLM:
        def __init__(self, **options):
            made.options = options

        def generate(self, prompts, params, use_tqdm):
            made.calls += params
            return [
                SimpleNamespace(
                    outputs=[
                        SimpleNamespace(
                            token_ids=tuple(prompt["prompt_token_ids"]),
                            finish_reason="stop" if len(prompt["prompt_token_ids"]) % 2 else "length",
                        )
                    ]
                )
                for prompt in prompts
            ]

    made.LLM, made.SamplingParams = LLM, SimpleNamespace
    monkeypatch.setitem(sys.modules, "vllm", made)
    return made


def test_ids_and_seeds_go_through(engine, tokenizer, tiny_model):
    chat = ChatFormat(tokenizer)
    tiny_model.config._name_or_path = "somewhere/model"
    sampler = from_chat(model=tiny_model, chat=chat, batch_size=4, max_model_len=99)
    assert engine.options["model"] == "somewhere/model" and engine.options["dtype"] == "float32"
    assert engine.options["max_model_len"] == 99
    end = chat.end_token_id
    asked = [Request("a", 0, (5, 6, 7)), Request("a", 1, (5, 6)), Request("b", 0, (5, 7, end))]
    found = sampler.sample(asked, SamplingParams(max_tokens=9, seed=2))
    assert [one.completion_ids for one in found] == [
        [5, 6, 7, end],
        [5, 6],
        [5, 7, end],
    ]
    assert [one.finished for one in found] == [True, False, True]
    assert [call.seed for call in engine.calls] == [request_seed(2, request) for request in asked]
    assert len({call.seed for call in engine.calls}) == 3
    assert {(call.top_k, call.max_tokens, tuple(call.stop_token_ids)) for call in engine.calls} == {(-1, 9, (end,))}
    assert {(call.min_p, call.repetition_penalty) for call in engine.calls} == {(0.0, 1.0)}
    engine.calls.clear()
    sampler.sample(asked, SamplingParams(9, top_k=4, min_p=0.1, repetition_penalty=1.2))
    assert {(call.top_k, call.min_p, call.repetition_penalty) for call in engine.calls} == {(4, 0.1, 1.2)}


def test_what_is_missing_is_named(tokenizer, tiny_model, monkeypatch):
    chat = ChatFormat(tokenizer)
    tiny_model.config._name_or_path = ""
    with pytest.raises(LightR1Error, match="no folder"):
        from_chat(model=tiny_model, chat=chat, batch_size=4)
    tiny_model.config._name_or_path = "somewhere"
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(LightR1Error, match=r"light-r1\[vllm\]"):
        from_chat(model=tiny_model, chat=chat, batch_size=4)
