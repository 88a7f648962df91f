"""The openai backend against `transformers serve`, a server that is not ours: `pip install transformers[serving]`."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
from transformers.utils.import_utils import is_serve_available

from light_r1.models.chat import ChatFormat
from light_r1.models.load import load_tokenizer, save_model
from light_r1.rollouts.hf import HFSampler
from light_r1.rollouts.openai import OpenAISampler
from light_r1.rollouts.sampler import Request, SamplingParams
from tests.conftest import make_model
from tests.shared import ROOT

TOKENIZER = ROOT / "recipes" / "data" / "gsm8k_tokenizer"


@contextmanager
def served(folder: Path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(folder), "--host", "127.0.0.1"]
    process = subprocess.Popen([*command, "--port", str(port), "--device", "cpu", "--dtype", "float32"])
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{url}/health", timeout=5).close()
                break
            except (urllib.error.URLError, ConnectionError):
                assert process.poll() is None, "the server ended"
                time.sleep(0.5)
        yield url
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
@pytest.mark.skipif(not is_serve_available(), reason="needs transformers[serving]")
def test_greedy_completions_are_those_of_the_model_in_memory(tmp_path):
    tokenizer = load_tokenizer(TOKENIZER)  # the server reads it as the model type's own, which this one is
    chat = ChatFormat(tokenizer, think_tokens=())  # a plain server prints no special tokens
    model = make_model(tokenizer)
    save_model(model, tokenizer, tmp_path / "model")
    asked = [Request(f"p{i}", 0, tuple(chat.prompt_ids(f"{i} + {i}?"))) for i in range(6)]
    params = SamplingParams(max_tokens=12, temperature=0)
    with served(tmp_path / "model") as url:
        sampler = OpenAISampler(chat, url=url, served_model=str(tmp_path / "model"), server="plain", in_flight=3)
        found = sampler.sample(asked, params)
    expected = HFSampler(
        model.eval(), eos_token_ids=[chat.end_token_id], pad_token_id=tokenizer.pad_token_id, batch_size=3
    ).sample(asked, params)
    for server, memory in zip(found, expected, strict=True):
        text = tokenizer.decode(memory.completion_ids, skip_special_tokens=True)
        assert tokenizer.decode(server.completion_ids, skip_special_tokens=True) == text
        assert server.finished == memory.finished
    assert len({tuple(one.completion_ids) for one in found}) > 1
