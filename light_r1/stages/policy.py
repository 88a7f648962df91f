"""The model of a stage: loading, trainer config, sampling, saving."""

from __future__ import annotations

import gc
import json
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch
from peft import PeftModel
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainingArguments,
)

from data_tools.rows.files import write_rows, written_whole
from data_tools.rows.row import Dropped, Row
from light_r1.errors import LightR1Error, did_you_mean
from light_r1.models.chat import ChatFormat, chat_format
from light_r1.models.handover import Handover, check_words, read_handover
from light_r1.models.load import (
    add_think_tokens,
    init_model,
    is_adapter,
    load_adapter,
    load_model,
    load_tokenizer,
    lora_config,
    merged,
    save_model,
    to_type_of_base,
    with_pad_token,
)
from light_r1.models.weights import cast_weights, kept_in_fp32
from light_r1.recipe.options.source import call_by_name
from light_r1.recipe.sources import tokenizer_folder
from light_r1.recipe.spec import EvaluateSpec
from light_r1.rollouts.collector import Collector
from light_r1.rollouts.sampler import READS_FROM_DISK, SAMPLERS, Completion, Request, Sampler, SamplingParams
from light_r1.stages.base import StageJob
from light_r1.stages.handover import prove, verify_bytes
from light_r1.stages.precision import Precision, is_sharded, mixed_precision, precision_of
from light_r1.stages.sampling import SampleOptions

log = logging.getLogger(__name__)
Config = TypeVar("Config", bound=TrainingArguments)


class Policy:
    """A stage's starting model with its tokenizer and chat format, proven to be the model that was handed over.

    An adapter is gone on with where the stage trains one with the same settings. Elsewhere it is merged into its base,
    in memory: for another adapter, for training all weights, and for sampling.

    Args:
        job: The stage's job.
        trains: Whether the stage updates the weights.

    Attributes:
        origin: What it was loaded from; `None` for a model made from nothing.
        path: A folder or hub name that holds exactly these weights, or `None` if none does (a model made from
            nothing, resized for new tokens, or merged from an adapter).
        precision: Types that are computed in, held and saved.
        pending: What is still to be proven, by a trainer that has the model wrapped.

    Raises:
        StageError: The model is not the one that was handed over.
    """

    def __init__(self, job: StageJob, *, trains: bool = False) -> None:
        source, spec = job.model_input, job.spec.model
        self.path: str | None = str(source.path) if source else spec.name_or_path
        if self.path is not None and Path(self.path).is_dir():
            self.path = str(Path(self.path).resolve())  # absolute, as adapters store it as that of their base
        self.origin = self.path
        self.precision = precision_of(job.spec, trains=trains)
        self.tokenizer: PreTrainedTokenizerBase
        self.model: PreTrainedModel | PeftModel
        self.pending: Handover | None = None
        self.continues = False
        if trains and spec.lora is None:
            held, computed, saved = self.precision.held, self.precision.computed, self.precision.saved
            log.info("%s: weights are held in %s, computed in %s, saved in %s", job.spec.name, held, computed, saved)
        if self.path is None:
            assert spec.init is not None
            self.tokenizer = _tokenizer(job)
            self.model = init_model(
                spec.init["config"],
                self.tokenizer,
                seed=job.recipe.seed,
                dtype=self.precision.held,
                attn_implementation=spec.attn_implementation,
            )
        else:
            verify_bytes(self.path, job)
            self._load(job, trains=trains)
        chat = asdict(job.recipe.chat)
        self.new_token_ids: list[int] = []
        if chat.pop("add_think_tokens"):
            rows = self.model.get_input_embeddings().weight.shape[0]
            self.new_token_ids = add_think_tokens(self.model, self.tokenizer, job.recipe.chat.think_tokens)
            if self.model.get_input_embeddings().weight.shape[0] != rows:
                self.path = None
        self.chat: ChatFormat = chat_format(self.tokenizer, **chat)

    def _load(self, job: StageJob, *, trains: bool) -> None:
        """Load the model and prove it."""
        assert self.path is not None
        path, spec = self.path, job.spec.model
        options: dict[str, Any] = {
            "dtype": self.precision.held,
            "attn_implementation": spec.attn_implementation,
            "quantization": spec.quantization,
            "trust_remote_code": spec.trust_remote_code,
        }
        revision = None if job.model_input else spec.revision
        self.tokenizer = load_tokenizer(path, revision=revision, trust_remote_code=spec.trust_remote_code)
        handover = job.ranks.from_main(lambda: read_handover(path))
        if handover is not None:
            check_words(handover, self.tokenizer, path)
        if not is_adapter(path):
            self.model = load_model(path, revision=revision, **options)
            self._prove(job, handover, trains=trains)
            return
        adapter = load_adapter(path, trainable=trains, **options)
        self.model, tags = adapter, job.recipe.chat
        grows = tags.add_think_tokens and not set(tags.think_tokens) <= set(self.tokenizer.get_vocab())
        # A reference beside the adapter is a second one, and peft takes biases of one alone.
        biased = (spec.lora or {}).get("bias", "none") != "none"
        same = handover is not None and trains and not biased and handover.lora == _plain(spec.lora)
        self.continues = same and not grows
        self._prove(job, handover, trains=trains)
        if self.continues:
            log.info("%s: goes on with the adapter of %s", job.spec.name, ", ".join(job.spec.inputs))
        elif spec.quantization and trains:
            log.info("%s: the adapter is merged into its base before that is quantised", job.spec.name)
            del adapter, self.model
            whole = self._written(job, "merged", lambda: load_model(path, **{**options, "quantization": None}))
            self.path = self.origin = whole
            self.model = load_model(whole, **options)
        elif spec.quantization:  # merging would round the weights again
            to_type_of_base(adapter)
        else:
            self.model = merged(adapter)
            self.path = None

    def _prove(self, job: StageJob, handover: Handover | None, *, trains: bool) -> None:
        """Score the rows that the model was handed over with; later, where it will be wrapped first."""
        if handover is None or job.recipe.handover == "bytes":
            return
        if handover.quantization != _plain(job.spec.model.quantization):
            log.info("%s: %s was trained with another quantization; its bytes are compared alone", *_who(job))
            return
        reads_disk = job.spec.samples and job.recipe.sampler.backend in READS_FROM_DISK
        if trains and (reads_disk or is_sharded(job.spec.args)):
            self.pending = handover
            return
        if reads_disk:
            return  # an engine of its own loads it from the files, which were compared
        self.model.to(_device())
        prove(self.model, handover, job, held=self.precision.held)

    def saved(self, job: StageJob) -> str:
        """Return a path that holds exactly these weights, writing them to the stage's folder if there is none."""
        if self.path is None or (self.continues and is_adapter(self.path)):
            folder = self._written(job, "start", lambda: self._whole(job))
            # peft takes the base of a new adapter from the first, engines and TRL's references from the second.
            self.model.name_or_path = self.model.config._name_or_path = folder
            if self.continues:
                return folder
            self.path = folder
        return self.path

    def _written(self, job: StageJob, name: str, make: Callable[[], PreTrainedModel]) -> str:
        """Return a folder of the stage that holds a model, which rank 0 makes and writes whole if it is not there."""
        folder = (job.dir.path / name).resolve()

        def write() -> None:
            if not folder.exists():
                whole, dtype = make(), job.spec.model.dtype
                with written_whole(folder) as temporary:
                    save_model(whole, self.tokenizer, temporary)
                    cast_weights(temporary, dtype, keep=kept_in_fp32(whole, dtype))

        job.ranks.from_main(write)
        return str(folder)

    def _whole(self, job: StageJob) -> PreTrainedModel:
        """Return the weights to write to disk: as they are held, but whole and in no fewer bits."""
        options: dict[str, Any] = {
            "dtype": self.precision.held,
            "trust_remote_code": job.spec.model.trust_remote_code,
        }
        if self.path is not None:
            return load_model(self.path, **options)  # an adapter that is gone on with
        if not job.spec.model.quantization or self.origin is None:
            return self.model
        whole = load_model(self.origin, **options)
        held = (self.model.get_input_embeddings(), self.model.get_output_embeddings())
        whole.resize_token_embeddings(len(held[0].weight), mean_resizing=False)
        for layer, grown in zip((whole.get_input_embeddings(), whole.get_output_embeddings()), held, strict=True):
            layer.weight.data.copy_(grown.weight.data)  # these are never quantised, and have the rows of new tokens
        return whole

    def lora(self, job: StageJob) -> dict[str, Any]:
        """Return the trainer's `peft_config` argument, or nothing without LoRA or to go on with an adapter.

        An adapter is only as good as the path of its base, so the weights it starts from are on disk afterwards.
        """
        spec = job.spec.model
        if not spec.lora or self.continues:
            return {}
        base = self.saved(job)
        revision = None if job.model_input or Path(base).is_dir() else spec.revision
        return {
            "peft_config": lora_config(
                spec.lora, new_token_ids=self.new_token_ids, model=self.model, revision=revision
            )
        }

    def collector(self, job: StageJob, folder: Path, *, batch_size: int) -> Collector:
        """Return a collector that samples from this model with the recipe's sampler backend."""
        self.model.to(_device())
        if job.recipe.sampler.backend in READS_FROM_DISK:
            self.saved(job)
        sampler = make_sampler(
            job.recipe.sampler.backend,
            model=self.model,
            chat=self.chat,
            batch_size=batch_size,
            **job.recipe.sampler.options,
        )
        if job.recipe.sampler.backend not in READS_FROM_DISK:  # others compute on their own
            sampler = ComputingAs(sampler, self.precision, self.model.device)
        return Collector(sampler, self.chat, folder, job.ranks, group_size=2 * batch_size)


class ComputingAs:
    """A sampler whose forward passes compute as those of the stage's training do."""

    def __init__(self, sampler: Sampler, precision: Precision, device: torch.device) -> None:
        self.sampler = sampler
        self.precision = precision
        self.device = device

    def sample(self, requests: Sequence[Request], params: SamplingParams) -> list[Completion]:
        """Return one completion for each request, in order."""
        with self.precision.computing(self.device):
            return self.sampler.sample(requests, params)


def _device() -> torch.device:
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def _who(job: StageJob) -> tuple[str, str]:
    return job.spec.name, ", ".join(job.spec.inputs)


def _plain(value: Any) -> Any:
    """Return the value as it comes back from JSON."""
    return json.loads(json.dumps(value))


def _tokenizer(job: StageJob) -> PreTrainedTokenizerBase:
    """Return a tokenizer made by a function `module:name`, or loaded from a folder or the hub."""
    assert job.spec.model.init is not None
    name = job.spec.model.init["tokenizer"]
    if ":" in name:
        return with_pad_token(call_by_name(name))
    return load_tokenizer(tokenizer_folder(job.spec, job.recipe) or name)


def sampling_params(options: SampleOptions | EvaluateSpec, seed: int) -> SamplingParams:
    """Return the sampler's parameters for a stage's `sample` options, or for an evaluation."""
    return SamplingParams(
        options.max_tokens,
        options.temperature,
        options.top_p,
        options.top_k,
        seed,
        min_p=options.min_p,
        repetition_penalty=options.repetition_penalty,
    )


def config_for(job: StageJob, config_class: type[Config]) -> Config:
    """Build a stage's config from its args, its folder and the recipe's seed.

    Without a GPU `use_cpu` is set, which is what makes several processes find each other.
    """
    args: dict[str, Any] = {"seed": job.recipe.seed, **job.spec.args}
    if "bf16" not in args and "fp16" not in args:
        mixed = mixed_precision(job.spec)
        args["bf16"], args["fp16"] = mixed == "bf16", mixed == "fp16"
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
