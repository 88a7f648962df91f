"""Sampling from a server process on localhost: order, seeds, failures, token ids and text."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import urllib.request
from contextlib import contextmanager

import pytest

from light_r1.errors import LightR1Error
from light_r1.models.chat import ChatFormat
from light_r1.rollouts.openai import OpenAISampler, from_chat, request_seed
from light_r1.rollouts.sampler import Request, SamplingParams
from tests.completions_server import completion

PARAMS = SamplingParams(max_tokens=8, seed=3)
OF_VLLM = SamplingParams(max_tokens=8, top_k=5, min_p=0.1, repetition_penalty=1.2)


@contextmanager
def server(chat, *options):
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.completions_server", "--end", str(chat.end_token_id), *options],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def stats(url):
    with urllib.request.urlopen(f"{url}/stats") as answer:
        return json.loads(answer.read())


def sampler(chat, url, **options):
    return OpenAISampler(chat, url=url, served_model="served", **{"first_wait_s": 0.01, **options})


def requests(count):
    return [Request(f"p{i // 4}", i % 4, (1, 2, 3 + i // 4)) for i in range(count)]


@pytest.fixture
def chat(tokenizer):
    return ChatFormat(tokenizer)


def expected(request, chat, params=PARAMS):
    body = {"prompt": list(request.prompt_ids), "seed": request_seed(params.seed, request)}
    return completion({**body, "max_tokens": params.max_tokens, "return_token_ids": True}, chat.end_token_id)


def test_completions_come_in_order_with_seeds_of_their_own_from_many_requests_at_once(chat):
    asked = requests(48)
    with server(chat, "--seconds", "0.05") as url:
        found = sampler(chat, url, in_flight=16).sample(asked, PARAMS)
        seen = stats(url)
    assert [one.request for one in found] == asked
    for one in found:
        choice = expected(one.request, chat)
        assert one.completion_ids == choice["token_ids"]
        assert one.finished == (choice["finish_reason"] == "stop")
    assert {one.finished for one in found} == {True, False}
    assert seen["requests"] == 48 and 8 <= seen["at_once"] <= 16
    assert len({tuple(one.completion_ids) for one in found[:4]}) > 1


def test_a_sample_does_not_depend_on_those_beside_it(chat):
    asked = requests(12)
    with server(chat) as url:
        one = sampler(chat, url)
        whole = one.sample(asked, PARAMS)
        random.Random(0).shuffle(asked)
        again = {found.request: found for found in one.sample(asked[:5], PARAMS)}
        other = one.sample(asked, SamplingParams(max_tokens=8, seed=4))
    assert all(again[found.request] == found for found in whole if found.request in again)
    assert sorted(f.completion_ids for f in other) != sorted(f.completion_ids for f in whole)


def test_failures_that_pass_are_sent_again(chat):
    asked = requests(32)
    with server(chat, "--fail-every", "3") as url:
        found = sampler(chat, url, in_flight=4, retries=20).sample(asked, PARAMS)
        seen = stats(url)
    assert [one.completion_ids for one in found] == [expected(r, chat)["token_ids"] for r in asked]
    assert seen["failed"] > 8 and seen["requests"] == 32 + seen["failed"]


def test_a_server_that_refuses_or_is_not_there_stops_with_its_words(chat):
    with server(chat) as url:
        wrong = OpenAISampler(chat, url=url, served_model="other")
        with pytest.raises(LightR1Error, match="no model other"):
            wrong.sample(requests(3), PARAMS)
        assert stats(url)["requests"] <= 3
    with pytest.raises(LightR1Error, match="failed 3 times, last with URLError"):
        sampler(chat, url, retries=2).sample(requests(1), PARAMS)


def test_vllm_servers_get_the_settings_that_are_in_use(chat):
    usual = {"max_tokens", "model", "prompt", "return_token_ids", "seed", "stop_token_ids", "temperature", "top_p"}
    for params, more in (
        (SamplingParams(8, top_k=0, min_p=0.0), set()),
        (OF_VLLM, {"top_k", "min_p", "repetition_penalty"}),
    ):
        with server(chat) as url:
            sampler(chat, url).sample(requests(1), params)
            assert set(stats(url)["keys"]) == usual | more


def test_plain_servers_get_and_give_text(chat):
    asked = [Request("a", 0, tuple(chat.encode("one and one"))), Request("a", 1, tuple(chat.encode("one and one")))]
    with server(chat) as url:
        found = sampler(chat, f"{url}/v1/", server="plain").sample(asked, PARAMS)
        seen = stats(url)
        with pytest.raises(LightR1Error, match="no top_k and no min_p and no repetition_penalty"):
            sampler(chat, url, server="plain").sample(asked, OF_VLLM)
    assert seen["keys"] == ["max_tokens", "model", "prompt", "seed", "temperature", "top_p"]
    for one in found:
        body = {"prompt": "one and one", "seed": request_seed(3, one.request), "max_tokens": 8}
        choice = completion(body, chat.end_token_id)
        assert one.completion_ids == chat.encode(choice["text"]) + [chat.end_token_id] * one.finished


def test_a_vllm_server_without_token_ids_is_named(chat, monkeypatch):
    one = sampler(chat, "http://nowhere")
    monkeypatch.setattr(one, "_post", lambda body: {"choices": [{"text": "a", "finish_reason": "stop"}]})
    with pytest.raises(LightR1Error, match="no token ids"):
        one.sample(requests(1), PARAMS)
    monkeypatch.setattr(one, "_post", lambda body: {"error": "x"})
    with pytest.raises(LightR1Error, match="without a choice"):
        one.sample(requests(1), PARAMS)


def test_the_key_is_read_from_the_environment(chat, monkeypatch):
    options = {"model": None, "chat": chat, "batch_size": 4, "served_model": "served", "api_key_variable": "MY_KEY"}
    with pytest.raises(LightR1Error, match="MY_KEY is not set"):
        from_chat(url="http://nowhere", **options)
    monkeypatch.setenv("MY_KEY", "secret")
    with server(chat) as url:
        from_chat(url=url, **options).sample(requests(1), PARAMS)
        assert stats(url)["authorization"] == "Bearer secret"


@pytest.mark.parametrize(
    ("alike", "temperature", "warned"), [(True, 1.0, True), (False, 1.0, False), (True, 0, False)]
)
def test_a_server_that_decodes_greedily_although_asked_to_sample_is_warned_of(
    chat, monkeypatch, caplog, alike, temperature, warned
):
    def answer(body):
        text = "a" if alike or body["seed"] % 2 else "b"
        return {"choices": [{"text": text * (len(body["prompt"]) % 5), "finish_reason": "stop"}]}

    one = sampler(chat, "http://nowhere", server="plain")
    monkeypatch.setattr(one, "_post", answer)
    one.sample(requests(12), SamplingParams(max_tokens=8, temperature=temperature))
    assert [r.levelname for r in caplog.records] == ["WARNING"] * warned
    assert ("4 samples alike" in caplog.text) == warned
