"""Sampling from an OpenAI-compatible server, many requests in flight.

One request for each sample, to `/v1/completions`, with a seed of its own, so that a sample does not depend on what is
sampled beside it. Requests that fail for reasons that pass (no connection, 408, 429, 5xx) are sent again, later and
later; others stop the sampling with the server's words.

Two kinds of servers: `vllm` takes and returns token ids, which keeps prompts and completions exact (`vllm serve`, also
when TRL updates its weights). `plain` takes and returns text (`transformers serve`, hosted models): completions are
tokenised again, and special tokens that the server does not print are lost. Nobody checks that the server holds the
stage's model: that is yours to see to.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import logging
import os
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal

from light_r1.errors import LightR1Error
from light_r1.rollouts.sampler import Completion, Request, SamplingParams

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from light_r1.models.chat import ChatFormat

log = logging.getLogger(__name__)

PASSING = (408, 429, 500, 502, 503, 504)
LONGEST_WAIT_S = 30.0


def request_seed(seed: int, request: Request) -> int:
    """Return the seed of one sample, keyed by what it is and not by where it is in a list."""
    key = f"{seed}:{request.prompt_id}:{request.sample_index}".encode()
    return int.from_bytes(hashlib.sha256(key).digest()[:4]) >> 1  # servers want 31 bits


class OpenAISampler:
    """Samples from a server.

    Args:
        chat: The model's chat format: tokenizer and end token.
        url: Address of the server, with or without `/v1`.
        served_model: Name of the model on the server.
        in_flight: Requests sent at once.
        server: `vllm` for token ids, `plain` for text.
        api_key: Sent as bearer token if given.
        retries: How often a request is sent again.
        first_wait_s: Seconds before the first of these; doubled each time.
        timeout_s: Seconds one request may take.
    """

    def __init__(
        self,
        chat: ChatFormat,
        *,
        url: str,
        served_model: str,
        in_flight: int = 64,
        server: Literal["vllm", "plain"] = "vllm",
        api_key: str | None = None,
        retries: int = 6,
        first_wait_s: float = 1.0,
        timeout_s: float = 3600.0,
    ) -> None:
        self.chat = chat
        self.endpoint = f"{url.rstrip('/').removesuffix('/v1')}/v1/completions"
        self.served_model = served_model
        self.in_flight = in_flight
        self.server = server
        self.api_key = api_key
        self.retries = retries
        self.first_wait_s = first_wait_s
        self.timeout_s = timeout_s

    def sample(self, requests: Sequence[Request], params: SamplingParams) -> list[Completion]:
        """Return one completion for each request, in order.

        Raises:
            LightR1Error: The server refuses a request, keeps failing, or does not answer as its kind should.
        """
        if self.server == "plain" and (taken := _of_vllm(params)):
            raise LightR1Error(f"sampler.server: plain servers take no {' and no '.join(taken)}")
        with ThreadPoolExecutor(max_workers=self.in_flight, thread_name_prefix="sampling") as pool:
            waiting = [pool.submit(self._one, request, params) for request in requests]
            try:
                completions = [future.result() for future in waiting]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        if params.temperature > 0 and _all_alike(completions):
            log.warning(
                "%s gives every prompt's %d samples alike at temperature %g: it seems to decode greedily. "
                "(transformers serve does unless the model's generation_config.json has do_sample: true.)",
                self.endpoint,
                max(Counter(one.request.prompt_id for one in completions).values()),
                params.temperature,
            )
        return completions

    def _one(self, request: Request, params: SamplingParams) -> Completion:
        answer = self._post(self._body(request, params))
        try:
            choice = answer["choices"][0]
            reason = choice["finish_reason"]
        except (KeyError, IndexError) as error:
            raise LightR1Error(f"{self.endpoint} answered without a choice: {str(answer)[:300]}") from error
        if reason not in ("stop", "length"):
            raise LightR1Error(f"{self.endpoint} ended a completion with finish_reason={reason!r}")
        ids = self._ids(choice)
        end = self.chat.end_token_id
        if reason == "stop" and ids[-1:] != [end]:
            ids.append(end)
        return Completion(request, ids, finished=reason == "stop")

    def _body(self, request: Request, params: SamplingParams) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.served_model,
            "prompt": list(request.prompt_ids),
            "max_tokens": params.max_tokens,
            "temperature": params.temperature,
            "top_p": params.top_p,
            "seed": request_seed(params.seed, request),
        }
        if self.server == "plain":
            text = self.chat.tokenizer.decode(list(request.prompt_ids), skip_special_tokens=False)
            return {**body, "prompt": text}
        body |= _of_vllm(params)
        return {**body, "return_token_ids": True, "stop_token_ids": [self.chat.end_token_id]}

    def _ids(self, choice: dict[str, Any]) -> list[int]:
        if self.server == "plain":
            return self.chat.encode(choice["text"])
        if choice.get("token_ids") is None:
            raise LightR1Error(
                f"{self.endpoint} returns no token ids (vLLM does since 0.10.2). With `server: plain` completions "
                "are tokenised again from text."
            )
        return list(choice["token_ids"])

    def _post(self, body: dict[str, Any]) -> dict[str, Any]:
        """Send one request until it is answered."""
        headers = {"Content-Type": "application/json"}
        if self.api_key is not None:
            headers["Authorization"] = f"Bearer {self.api_key}"
        sent = urllib.request.Request(self.endpoint, json.dumps(body).encode(), headers)
        wait = self.first_wait_s
        for attempt in range(self.retries + 1):
            try:
                with urllib.request.urlopen(sent, timeout=self.timeout_s) as answer:
                    return json.loads(answer.read())
            except urllib.error.HTTPError as error:
                fault = f"HTTP {error.code}: {error.read()[:500].decode(errors='replace')}"
                if error.code not in PASSING:
                    raise LightR1Error(f"{self.endpoint} refused a request: {fault}") from error
            except (OSError, http.client.HTTPException, json.JSONDecodeError) as error:
                fault = f"{type(error).__name__}: {error}"
            if attempt < self.retries:
                time.sleep(wait)
                wait = min(LONGEST_WAIT_S, 2 * wait)
        raise LightR1Error(f"{self.endpoint} failed {self.retries + 1} times, last with {fault}")


def _of_vllm(params: SamplingParams) -> dict[str, float]:
    """Return the settings in use that OpenAI's interface does not have and vLLM's does."""
    penalty = params.repetition_penalty if params.repetition_penalty != 1 else None
    settings = {"top_k": params.top_k or None, "min_p": params.min_p or None, "repetition_penalty": penalty}
    return {name: value for name, value in settings.items() if value is not None}


def _all_alike(completions: Sequence[Completion]) -> bool:
    """Whether no prompt has two different samples, of at least eight that could differ."""
    different = {(one.request.prompt_id, tuple(one.completion_ids)) for one in completions}
    prompts = {one.request.prompt_id for one in completions}
    return len(different) == len(prompts) and len(completions) - len(prompts) >= 8


def from_chat(
    *,
    model: PreTrainedModel,
    chat: ChatFormat,
    batch_size: int,
    url: str,
    served_model: str,
    server: Literal["vllm", "plain"] = "vllm",
    api_key_variable: str | None = None,
    retries: int = 6,
    timeout_s: float = 3600.0,
) -> OpenAISampler:
    """Build the sampler of a recipe: `sampler: {backend: openai, url: ..., served_model: ...}`.

    Args:
        model: The stage's model; not used, its weights are the server's business.
        chat: Its chat format.
        batch_size: Requests in flight.
        url: Address of the server.
        served_model: Name of the model on the server.
        server: `vllm` for servers that take and return token ids, `plain` for text.
        api_key_variable: Environment variable that holds the key; no key if `None`.
        retries: How often a failed request is sent again.
        timeout_s: Seconds one request may take.

    Raises:
        LightR1Error: The environment variable is not set.
    """
    if api_key_variable is not None and api_key_variable not in os.environ:
        raise LightR1Error(f"sampler.api_key_variable: {api_key_variable} is not set")
    return OpenAISampler(
        chat,
        url=url,
        served_model=served_model,
        in_flight=batch_size,
        server=server,
        api_key=os.environ[api_key_variable] if api_key_variable is not None else None,
        retries=retries,
        timeout_s=timeout_s,
    )
