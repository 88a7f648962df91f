"""The recipe as frozen dataclasses, and `Where`, the file and line of each key.

The field annotations here are also the key tables of the recipe's blocks: `options/table.py` reads them as it reads
the configs of TRL. Defaults of `EvaluateSpec` are the evaluation protocol of Light-R1 (arXiv 2503.10460 §2:
64 samples, temperature 0.6, top-p 0.95, 32,768 tokens).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from light_r1.recipe.yaml_lines import Place


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Which model a stage starts from and how it is loaded (`model:`).

    Args:
        name_or_path: Hub name or folder. Exactly one of this and `init`.
        init: A model from nothing: `tokenizer` ("module:function" or a tokenizer name) and `config`
            (fields of a transformers config, with `model_type`).
        revision: Branch, tag or commit on the hub.
        dtype: Floating-point type that is computed in.
        attn_implementation: `auto` takes flash_attention_2 where it is importable, else sdpa.
        trust_remote_code: Whether code from the hub may run.
        lora: Fields of `peft.LoraConfig`; null trains all weights.
        quantization: Fields of `transformers.BitsAndBytesConfig`.
        master_weights: Where weights that train are kept in fp32 and cast for each matrix product: `auto` does so
            unless DeepSpeed or FSDP keep fp32 weights of their own, `fp32` always, `none` never: then bfloat16 weights
            take no step that is smaller than half of their last bit, which is most of those at 1e-6.
        save_dtype: Type of the saved weights; `dtype` if null. `float32` keeps those that were trained.
        size: Shape of the model for the plan (fields of its config, e.g. `hidden_size`), for models that
            are neither on disk nor among the shapes that `cost/shapes.py` knows.
    """

    name_or_path: str | None = None
    init: dict[str, Any] | None = None
    revision: str | None = None
    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    attn_implementation: str = "auto"
    trust_remote_code: bool = False
    lora: dict[str, Any] | None = None
    quantization: dict[str, Any] | None = None
    master_weights: Literal["auto", "fp32", "none"] = "auto"
    save_dtype: Literal["bfloat16", "float16", "float32"] | None = None
    size: dict[str, Any] | None = None

    def keeps_masters(self, *, sharded: bool) -> bool:
        """Whether weights that train are held in fp32 though another type is computed in.

        Args:
            sharded: Whether DeepSpeed or FSDP train, which keep fp32 weights of their own.
        """
        if self.lora is not None or self.dtype == "float32":
            return False
        return self.master_weights == "fp32" or (self.master_weights == "auto" and not sharded)


@dataclass(frozen=True, slots=True)
class ChatSpec:
    """How problems and solutions become token ids (`chat:`).

    Args:
        template: Family of the chat template (`FAMILIES` in `models/chat.py`); `auto` recognises the tokenizer's own.
        think_tokens: Opening and closing marker of the reasoning; empty for none.
        add_think_tokens: Register the markers as tokens of their own and resize the embedding.
        force_think: The generation prompt ends with the opening marker.
        system: System prompt.
        suffix: Text appended to every problem.
    """

    template: str = "auto"
    think_tokens: tuple[str, ...] = ("<think>", "</think>")
    add_think_tokens: bool = False
    force_think: bool = True
    system: str | None = None
    suffix: str | None = None


@dataclass(frozen=True, slots=True)
class MixPart:
    """One part of a mixture: a named source or an earlier data stage, and the seeded random share of its rows."""

    source: str
    fraction: float = 1.0


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """Where rows come from (`data.<name>:` and `evaluate.benchmarks.<name>:`).

    Exactly one of `path`, `hub`, `generator`, `mix`.

    Args:
        path: One or more files or folders; looked up beside the recipe, then in the current directory.
        hub: Name of a data set on the hub, with `config`, `split`, `data_files` and `revision`.
        config: Configuration of the hub data set.
        split: Split of the hub data set.
        data_files: Files of the hub data set.
        revision: Branch, tag or commit on the hub.
        generator: Dotted path `module:function`, called with `options`; yields rows.
        options: Keyword arguments of the generator.
        mix: Parts of a mixture of other sources.
        columns: Canonical column -> column of the data, where detection does not do.
        fraction: Seeded random share of the rows.
        limit: At most this many rows, after `fraction`.
        rows: Expected number of rows, used by the plan where the data is not local.
    """

    path: tuple[str, ...] = ()
    hub: str | None = None
    config: str | None = None
    split: str = "train"
    data_files: str | list[str] | None = None
    revision: str | None = None
    generator: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    mix: tuple[MixPart, ...] = ()
    columns: dict[str, str] = field(default_factory=dict)
    fraction: float = 1.0
    limit: int | None = None
    rows: int | None = None

    @property
    def kind(self) -> Literal["path", "hub", "generator", "mix"]:
        """Which of the four kinds of source this is."""
        if self.hub is not None:
            return "hub"
        if self.generator is not None:
            return "generator"
        return "mix" if self.mix else "path"


@dataclass(frozen=True, slots=True)
class EvaluateSpec:
    """How models are scored (`evaluate:`).

    Args:
        benchmarks: Name -> source with the columns problem and answer.
        n: Samples per question.
        temperature: Sampling temperature.
        top_p: Nucleus sampling.
        top_k: Only the k likeliest tokens; null for all.
        min_p: Only tokens with at least this share of the likeliest one's probability; null for all.
        repetition_penalty: Above 1, tokens that the text already holds are less likely.
        max_tokens: Longest completion, in tokens.
        k: pass@k values; null for pass@1 and pass@n.
        batch_size: Completions sampled together by the `hf` backend.
        after: Behind which stages an evaluation is added: `all`, `none` or stage names.
    """

    benchmarks: dict[str, SourceSpec] = field(default_factory=dict)
    n: int = 64
    temperature: float = 0.6
    top_p: float = 0.95
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float = 1.0
    max_tokens: int = 32768
    k: tuple[int, ...] | None = None
    batch_size: int = 64
    after: tuple[str, ...] | Literal["all", "none"] = "none"


@dataclass(frozen=True, slots=True)
class SamplerSpec:
    """What generates completions (`sampler:`): a backend of `light_r1.rollouts.sampler` and its options."""

    backend: str = "hf"
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StageSpec:
    """One stage, with `defaults` merged in and its values checked against its config class.

    Args:
        name: Name of the stage; also of its folder.
        type: Key of `STAGE_TYPES`, or dotted path `module:Class`.
        makes: Kind of its output: `model`, `rows` or `scores`.
        inputs: The `from`: `model`, or names of earlier stages.
        data: Name of a source or of an earlier `data` stage.
        eval_data: Held-out source of an `sft` stage.
        args: Fields of the stage's config class, as written (no defaults filled in).
        options: All other keys of the stage, e.g. `sample`, `pairs`, `steps`, `rewards`, `base`.
        model: The model block with the stage's own `model:` merged over it.
        enabled: A stage that is not enabled runs only when it is asked for by name.
        implicit: Whether the stage was added by `evaluate.after`.
    """

    name: str
    type: str
    makes: str = "model"
    inputs: tuple[str, ...] = ("model",)
    data: str | None = None
    eval_data: str | None = None
    args: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    model: ModelSpec = field(default_factory=ModelSpec)
    enabled: bool = True
    implicit: bool = False

    @property
    def samples(self) -> bool:
        """Whether the stage draws completions from a model, as whatever makes scores does."""
        steps = self.options.get("steps", ())
        return self.makes == "scores" or "sample" in self.options or any(s["tool"] == "sample" for s in steps)

    @property
    def takes(self) -> str:
        """What goes into the stage, for people: `from sft-stage1 on stage2`."""
        parts = [f"from {' + '.join(self.inputs)}"] if self.samples or self.makes != "rows" else []
        return " ".join([*parts, *([f"on {self.data}"] if self.data else [])])


@dataclass(frozen=True, slots=True)
class Where(Mapping[str, Place]):
    """Dotted key -> place it was written at. Keys of a stage start with the stage's name."""

    places: dict[str, Place]
    default: Place

    def __getitem__(self, key: str) -> Place:
        return self.places[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)

    def near(self, key: str) -> Place:
        """Return the place of `key`, or of the nearest enclosing key that was written, or of the recipe."""
        parts = key.split(".")
        for end in range(len(parts), 0, -1):
            place = self.places.get(".".join(parts[:end]))
            if place is not None:
                return place
        return self.default


@dataclass(frozen=True, slots=True)
class Recipe:
    """One recipe, resolved: `extends`, `defaults` and overrides are merged in.

    Args:
        name: Name of the recipe and of its run folder.
        seed: Seed of everything random, unless a stage's args give another.
        output_dir: Parent of the run folder, relative to the current directory.
        model: The model the first stage starts from.
        chat: How text becomes tokens.
        data: Named sources.
        evaluate: How models are scored, if they are.
        sampler: What generates completions.
        stages: Stages in the order they run, with the evaluations that `evaluate.after` adds.
        handover: How a loaded model is proven to be the one that was trained: by its bytes and by the `logprobs` of a
            few rows, or by its `bytes` alone.
        path: The recipe file.
        where: Place of every key that was written.
        files: The recipe file and those it extends, nearest first.
    """

    name: str
    seed: int
    output_dir: str
    model: ModelSpec
    chat: ChatSpec
    data: dict[str, SourceSpec]
    evaluate: EvaluateSpec | None
    sampler: SamplerSpec
    stages: tuple[StageSpec, ...]
    path: Path
    where: Where
    handover: Literal["logprobs", "bytes"] = "logprobs"
    files: tuple[Path, ...] = ()

    def stage(self, name: str) -> StageSpec:
        """Return the stage called `name`; `KeyError` if there is none."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise KeyError(name)
