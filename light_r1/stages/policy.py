"""The model of a stage: loading, trainer config, sampling, saving."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainingArguments,
)

from data_tools.rows.files import write_rows
from data_tools.rows.row import Dropped, Row
from light_r1.errors import LightR1Error, did_you_mean
from light_r1.models.chat import ChatFormat, chat_format
from light_r1.models.load import (
    add_think_tokens,
    init_model,
    load_model,
    load_tokenizer,
    lora_config,
    save_model,
    with_pad_token,
)
from light_r1.recipe.options.source import call_by_name
from light_r1.recipe.sources import tokenizer_folder
from light_r1.rollouts.collector import Collector
from light_r1.rollouts.sampler import READS_FROM_DISK, SAMPLERS, Sampler, SamplingParams
from light_r1.stages.base import StageJob
from light_r1.stages.sampling import SampleOptions

log = logging.getLogger(__name__)
Config = TypeVar("Config", bound=TrainingArguments)


class Policy:
    """A stage's starting model with its tokenizer and chat format.

    Args:
        job: The stage's job.

    Attributes:
        path: A folder or hub name that holds exactly these weights, or `None` if none does (a model made from
            nothing, resized for new tokens, or merged from an adapter).
    """

    def __init__(self, job: StageJob) -> None:
        spec, recipe = job.spec.model, job.recipe
        source = job.model_input
        # An absolute path, as adapters store it as that of their base.
        self.path: str | None = str(source.path.resolve()) if source else spec.name_or_path
        self.tokenizer: PreTrainedTokenizerBase
        self.model: PreTrainedModel
        if self.path is None:
            assert spec.init is not None
            self.tokenizer = _tokenizer(job)
            self.model = init_model(
                spec.init["config"],
                self.tokenizer,
                seed=recipe.seed,
                dtype=spec.dtype,
                attn_implementation=spec.attn_implementation,
            )
        else:
            options: dict[str, Any] = {
                "revision": None if source else spec.revision,
                "trust_remote_code": spec.trust_remote_code,
            }
            self.tokenizer = load_tokenizer(self.path, **options)
            self.model = load_model(
                self.path,
                dtype=spec.dtype,
                attn_implementation=spec.attn_implementation,
                quantization=spec.quantization,
                **options,
            )
            if (Path(self.path) / "adapter_config.json").exists():
                self.path = None
        chat = asdict(recipe.chat)
        self.new_token_ids: list[int] = []
        if chat.pop("add_think_tokens"):
            self.new_token_ids = add_think_tokens(self.model, self.tokenizer, tuple(recipe.chat.think_tokens))
        if self.new_token_ids:
            self.path = None
        self.chat: ChatFormat = chat_format(self.tokenizer, **chat)

    def saved(self, job: StageJob) -> str:
        """Return a path that holds exactly these weights, writing them to the stage's folder if there is none."""
        if self.path is None:
            folder = (job.dir.path / "start").resolve()
            if job.ranks.is_main and not (folder / "config.json").exists():
                save_model(self.model, self.tokenizer, folder)
            job.ranks.barrier()
            self.path = str(folder)
            self.model.config._name_or_path = self.path
        return self.path

    def lora(self, job: StageJob) -> dict[str, Any]:
        """Return the trainer's `peft_config` argument, or nothing without LoRA.

        An adapter is only as good as the path of its base, so the weights it starts from are on disk afterwards.
        """
        if not job.spec.model.lora:
            return {}
        self.saved(job)
        return {"peft_config": lora_config(job.spec.model.lora, new_token_ids=self.new_token_ids)}

    def collector(self, job: StageJob, folder: Path, *, batch_size: int) -> Collector:
        """Return a collector that samples from this model with the recipe's sampler backend."""
        self.model.to(torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else "cpu")
        if job.recipe.sampler.backend in READS_FROM_DISK:
            self.saved(job)
        sampler = make_sampler(
            job.recipe.sampler.backend,
            model=self.model,
            chat=self.chat,
            batch_size=batch_size,
            **job.recipe.sampler.options,
        )
        return Collector(sampler, self.chat, folder, job.ranks, group_size=2 * batch_size)


def _tokenizer(job: StageJob) -> PreTrainedTokenizerBase:
    """Return a tokenizer made by a function `module:name`, or loaded from a folder or the hub."""
    assert job.spec.model.init is not None
    name = job.spec.model.init["tokenizer"]
    if ":" in name:
        return with_pad_token(call_by_name(name))
    return load_tokenizer(tokenizer_folder(job.spec, job.recipe) or name)


def sampling_params(options: SampleOptions, seed: int) -> SamplingParams:
    """Return the sampler's parameters for a stage's `sample` options."""
    return SamplingParams(options.max_tokens, options.temperature, options.top_p, options.top_k, seed)


def config_for(job: StageJob, config_class: type[Config]) -> Config:
    """Build a stage's config from its args, its folder and the recipe's seed.

    Without a GPU `use_cpu` is set, which is what makes several processes find each other.
    """
    args: dict[str, Any] = {"seed": job.recipe.seed, **job.spec.args}
    args.setdefault("use_cpu", not torch.cuda.is_available() and not torch.backends.mps.is_available())
    args.setdefault("run_name", f"{job.recipe.name}-{job.spec.name}")
    return config_class(output_dir=str(job.dir.checkpoints), **args)


def write_dropped(job: StageJob, dropped: Iterable[tuple[str, Dropped]]) -> None:
    """Write dropped rows aside, each with the step and the reason."""
    if job.ranks.is_main:
        rows: list[Row] = [
            {"step": step, "reason": item.reason, "match": item.match, "row": item.row} for step, item in dropped
        ]
        write_rows(job.dir.dropped, rows)


def release() -> None:
    """Give the memory of a finished stage back before the next one loads."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def make_sampler(
    backend: str, *, model: PreTrainedModel, chat: ChatFormat, batch_size: int, **options: Any
) -> Sampler:
    """Build a sampler.

    Args:
        backend: A name of `SAMPLERS`, or `module:Class`.
        model: The model to sample from.
        chat: Its chat format, which knows the end token.
        batch_size: Rows decoded at once.
        **options: The backend's own options.

    Raises:
        LightR1Error: There is no such backend.
    """
    path = SAMPLERS.get(backend, backend)
    if ":" not in path:
        raise LightR1Error(
            f"sampler.backend: {backend!r} is not one of {list(SAMPLERS)}. {did_you_mean(backend, SAMPLERS)}"
        )
    return call_by_name(path, model=model, chat=chat, batch_size=batch_size, **options)
