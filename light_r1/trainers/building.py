"""Checks and defaults that the three trainers share when they are built."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar

import torch
from datasets import Dataset, IterableDataset
from peft import LoraConfig, PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer, TrainingArguments
from transformers.trainer_pt_utils import AcceleratorConfig
from transformers.trainer_utils import get_last_checkpoint

from data_tools.rows.row import Dropped
from light_r1.batch import batch_of
from light_r1.errors import DataError, StageError, did_you_mean
from light_r1.models.chat import ChatFormat
from light_r1.models.checkpoints import why_torn
from light_r1.models.load import keep_trainable, load_tokenizer, show_tied_heads_bias
from light_r1.trainers.finite import FiniteWatch
from light_r1.trainers.neftune import RowNoise

log = logging.getLogger(__name__)
Config = TypeVar("Config", bound=TrainingArguments)
Rows: TypeAlias = Dataset | IterableDataset | str | Path | Iterable[Mapping[str, Any] | Dropped]


def prepared(
    model: str | PreTrainedModel,
    args: Config | None,
    kind: type[Config],
    tokenizer: PreTrainedTokenizerBase | None,
    chat: ChatFormat | None,
) -> tuple[Config, PreTrainedTokenizerBase, ChatFormat]:
    """Return the config, tokenizer and chat format of a trainer that is about to be built.

    Args:
        model: Model, or path of one.
        args: The config; if `None`, a default one whose output folder is named after the model, as TRL has it.
        kind: The trainer's config class.
        tokenizer: The tokenizer; that of `chat` or beside the model if `None`.
        chat: How rows are rendered; as the tokenizer's family says if `None`.

    Raises:
        StageError: `model` is the path of an adapter, `args` another trainer's, or there is no tokenizer.
    """
    _refuse_adapter(model)
    config = _config_or_default(args, kind, model)
    config.logging_nan_inf_filter = False  # it puts older losses in the place of those that are none
    if tokenizer is None:
        tokenizer = _tokenizer_of(model, chat)
    return config, tokenizer, chat or ChatFormat(tokenizer)


def adapter_weights(model: str | PreTrainedModel | PeftModel) -> dict[str, torch.Tensor]:
    """Return a copy of the trained weights of a model's adapter by name; nothing without one.

    For `mend_adapter`: TRL rounds those on quantised weights to bfloat16 when a trainer is built.
    """
    if not isinstance(model, PeftModel):
        return {}
    return {name: weight.detach().clone() for name, weight in model.named_parameters() if weight.requires_grad}


def mend_adapter(trainer: Trainer, kept: Mapping[str, torch.Tensor]) -> None:
    """Mend what TRL does to the adapter of a trainer that is being built; does nothing without one.

    - Quantised weights under it stay in a form that can be trained through, also those that TRL loaded;
    - it is held in fp32, also on quantised weights, unless DeepSpeed or FSDP hold it;
    - the reference that TRL copies from it gets all of it: TRL forgets the rows of trained tokens;
    - TRL's fused head finds a bias where peft has wrapped an output layer.

    Args:
        trainer: The trainer.
        kept: What `adapter_weights` returned before.
    """
    model = trainer.model
    if not isinstance(model, PeftModel):
        return
    keep_trainable(model)
    show_tied_heads_bias(model)
    weights = dict(model.named_parameters())
    for name, value in kept.items():
        weights[name].data = value.to(weights[name].device)
    if not (trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled):
        for weight in weights.values():
            if weight.requires_grad and weight.is_floating_point():
                weight.data = weight.data.float()
    if "ref" in model.peft_config:
        for name, weight in weights.items():
            parts = name.split(".")
            if "default" in parts:
                twin = weights[".".join("ref" if part == "default" else part for part in parts)]
                twin.data = weight.data.clone()


def settle(
    trainer: Trainer, tokenizer: PreTrainedTokenizerBase, chat: ChatFormat, kept: Mapping[str, torch.Tensor]
) -> FiniteWatch:
    """Refuse what would spoil the training of a trainer that was just built, or its model; mend what TRL leaves of it.

    Args:
        trainer: The trainer.
        tokenizer: Its tokenizer, which gets the template that it is trained with.
        chat: How rows are rendered.
        kept: What `adapter_weights` returned before it was built.

    Returns:
        What watches its numbers, for its loss, `_get_grad_norm` and `save_model`.

    Raises:
        StageError: Its adapter would untie tied embeddings, or its batch is not `global_batch_size`.
    """
    _refuse_unmet_batch(trainer)
    _refuse_untying(trainer.model)
    mend_adapter(trainer, kept)
    if trainer.neftune_noise_alpha is not None:
        RowNoise(trainer)
    if not (isinstance(trainer.model, PeftModel) or trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled):
        _warn_of_lost_steps(trainer.model)
    _answer_as_trained(trainer.model, tokenizer, chat)
    watch = FiniteWatch(trainer)
    trainer.add_callback(watch)
    return watch


def hold_as_computed(model: PreTrainedModel, dtype: torch.dtype) -> None:
    """Hold the matrices of a model that is only scored in the type that autocast computes their products in.

    They give the same numbers from half the memory. All else stays: the embedding and the norms, for the residual
    stream of the policy, which is fp32, and an output layer that is the embedding.
    """
    embedding = model.get_input_embeddings().weight
    for module in model.modules():
        if isinstance(module, torch.nn.Linear) and module.weight is not embedding:
            module.to(dtype)


def _warn_of_lost_steps(model: PreTrainedModel) -> None:
    """Say that weights of less than fp32 lose most of a small step, where nothing keeps them in fp32."""
    held = {weight.dtype for weight in model.parameters() if weight.requires_grad} - {torch.float32, torch.float64}
    if held:
        log.warning(
            "Weights are trained in %s and nothing keeps them in fp32: AdamW's steps at 1e-6 change few of them, the "
            "whole update is about a tenth of what it should be. Load the model in float32 and compute in bfloat16 "
            "(bf16=True).",
            ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in held)),
        )


def _tokenizer_of(model: str | PreTrainedModel, chat: ChatFormat | None) -> PreTrainedTokenizerBase:
    """Return the tokenizer of a chat format, or that which lies beside a model.

    Raises:
        StageError: There is neither.
    """
    if chat is not None:
        return chat.tokenizer
    path = model if isinstance(model, str) else model.config._name_or_path
    if not path:
        raise StageError("a model that was not loaded from anywhere needs processing_class, its tokenizer.")
    return load_tokenizer(path)


def _refuse_adapter(model: str | PreTrainedModel) -> None:
    """Refuse the path of a LoRA adapter.

    Raises:
        StageError: transformers would load base and adapter as one model and train on top of both.
    """
    if isinstance(model, str) and (Path(model) / "adapter_config.json").exists():
        raise StageError(
            f"{model} holds a LoRA adapter, not a model. Pass light_r1.load_model({model!r}), which merges it "
            "into its base, or peft.AutoPeftModelForCausalLM.from_pretrained(..., is_trainable=True) to "
            "go on training the adapter itself."
        )


def _config_or_default(args: Config | None, kind: type[Config], model: str | PreTrainedModel) -> Config:
    """Return the config, or as TRL does a default one whose output folder is named after the model.

    Raises:
        StageError: The config is another trainer's, or plain TRL's.
    """
    if args is None:
        path = model if isinstance(model, str) else model.config._name_or_path
        return kind(f"{Path(path or 'model').name}-{kind.__name__.removesuffix('Config')}")
    if not isinstance(args, kind):
        raise StageError(f"args: expected a {kind.__name__}, got {type(args).__name__}.")
    return args


class _Batched(Protocol):
    """The settings of a trainer's config that its batch follows from; its properties are transformers' own."""

    global_batch_size: int | None
    gradient_accumulation_steps: int | None
    per_device_train_batch_size: int
    auto_find_batch_size: bool
    accelerator_config: Any
    device: torch.device
    n_gpu: int
    world_size: int


def settle_batch(args: _Batched, *, group: int = 1) -> None:
    """Set `gradient_accumulation_steps` of a config that is being built, from its `global_batch_size` if it has one.

    To be called before TRL's `__post_init__`: DeepSpeed's config and GRPO's generation batch are made from it there.

    Args:
        args: The config.
        group: Sequences that a batch holds all or none of.

    Raises:
        StageError: The batch cannot be split over the processes, or another setting would change it.
    """
    if args.global_batch_size is None:
        if args.gradient_accumulation_steps is None:
            args.gradient_accumulation_steps = 1
        return
    if args.auto_find_batch_size:
        raise StageError(
            "auto_find_batch_size: would make another batch than global_batch_size. A smaller "
            "per_device_train_batch_size leaves the batch as it is."
        )
    if args.accelerator_config is None or isinstance(args.accelerator_config, dict):
        # As transformers has it before it looks for the processes: it may say that they were found already.
        args.accelerator_config = AcceleratorConfig(**(args.accelerator_config or {}))
    _ = args.device  # transformers looks for the processes and GPUs when it is first asked for
    batch = batch_of(
        args.global_batch_size,
        per_device=args.per_device_train_batch_size,
        accumulation=args.gradient_accumulation_steps,
        processes=args.world_size * max(1, args.n_gpu),  # one process may drive several GPUs, each with its own rows
        group=group,
    )
    args.gradient_accumulation_steps = batch.accumulation


def _refuse_unmet_batch(trainer: Trainer) -> None:
    """Refuse a trainer whose optimizer step is not of `global_batch_size`.

    Raises:
        StageError: accelerate's settings make another one of it, or processes share a sequence.
    """
    args = trainer.args
    if args.global_batch_size is None:
        return
    made = trainer.get_total_train_batch_size(args)
    if args.accelerator_config.split_batches:
        made //= args.world_size
    if made != args.global_batch_size:
        raise StageError(f"global_batch_size: {args.global_batch_size}, and the trainer would take {made} a step.")


def check_choice(name: str, value: object, choices: Sequence[object]) -> None:
    """Refuse a value that is none of its choices, which dataclasses take without a word.

    Raises:
        StageError: It is none.
    """
    if value not in choices:
        hint = did_you_mean(str(value), [str(choice) for choice in choices])
        raise StageError(f"{name}: {value!r} is not one of {list(choices)}. {hint}".rstrip())


def as_rows(rows: Rows, name: str, dropped: list[dict[str, Any]]) -> Dataset:
    """Return rows as a data set.

    Args:
        rows: A data set, or mappings, among them what `data_tools` and `build_pairs` dropped.
        name: What they are called in errors.
        dropped: Gets those that were dropped, each with its reason.

    Raises:
        DataError: There are none, or they are neither a data set nor mappings.
    """
    if isinstance(rows, IterableDataset):
        raise DataError(f"{name} dataset: a stream has no order to plan and no length; pass a Dataset or a list.")
    if isinstance(rows, str | Path):
        raise DataError(f"{name} dataset: {str(rows)!r} is a path; pass list(data_tools.read_rows(path)).")
    if not isinstance(rows, Dataset):
        items = list(rows)
        dropped += [{"row": row.row, "reason": row.reason} for row in items if isinstance(row, Dropped)]
        rows = Dataset.from_list([dict(row) for row in items if not isinstance(row, Dropped)])
    if not len(rows):
        reasons = Counter(item["reason"] for item in dropped)
        raise DataError(f"{name} dataset has no rows{f', all were dropped: {dict(reasons)}' if reasons else ''}.")
    return rows


def held_out_rows(
    rows: Rows | Mapping[str, Rows] | None, dropped: list[dict[str, Any]]
) -> Dataset | dict[str, Dataset] | None:
    """Return what is evaluated on as a data set, or as one for each name."""
    if rows is None:
        return None
    if isinstance(rows, Mapping):
        return {name: as_rows(each, f"eval {name}", dropped) for name, each in rows.items()}
    return as_rows(rows, "eval", dropped)


def _answer_as_trained(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, chat: ChatFormat) -> None:
    """Make the saved model prompt and stop as it was trained.

    The tokenizer's own chat template would prompt otherwise (another system prompt, no forced tag), and a base model
    whose generation config does not know the chat's end token would write on behind it.
    """
    tokenizer.chat_template = chat.jinja()
    config = model.generation_config
    if config is None:
        return
    known = config.eos_token_id
    ends = [] if known is None else [known] if isinstance(known, int) else list(known)
    if chat.end_token_id not in ends:
        config.eos_token_id = [chat.end_token_id, *ends]


def _refuse_untying(model: torch.nn.Module) -> None:
    """Refuse an adapter that trains a copy of one of two tied layers: merging it would leave them apart.

    Raises:
        StageError: `modules_to_save` names an embedding or output layer of a model that ties them.
    """
    if not isinstance(model, PeftModel) or not model.get_base_model().config.tie_word_embeddings:
        return
    for config in model.peft_config.values():
        if not isinstance(config, LoraConfig) or config.ensure_weight_tying:
            continue
        tied = {"embed_tokens", "lm_head"} & set(config.modules_to_save or ())
        if tied:
            raise StageError(
                f"modules_to_save={sorted(tied)}: this model ties its embeddings, and merging would untie them. Set "
                "ensure_weight_tying=True, or train single tokens with trainable_token_indices."
            )


def refuse_torn(resume_from_checkpoint: str | bool | None, output_dir: str) -> None:
    """Refuse to resume from a checkpoint that would silently start with a fresh optimizer.

    Args:
        resume_from_checkpoint: As `Trainer.train` takes it. Folders with other names than `checkpoint-<step>` are
            left to transformers.
        output_dir: Where `True` looks for the last one.

    Raises:
        StageError: Something of the checkpoint is missing, as with `save_only_model=True`.
    """
    if not resume_from_checkpoint:
        return
    checkpoint = get_last_checkpoint(output_dir) if resume_from_checkpoint is True else resume_from_checkpoint
    if checkpoint is None or not Path(checkpoint).name.startswith("checkpoint-"):
        return
    if why := why_torn(Path(checkpoint)):
        raise StageError(f"{checkpoint} cannot be resumed from: {why}. (save_only_model=True keeps no optimizer.)")
