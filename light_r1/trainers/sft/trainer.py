"""CurriculumSFTTrainer: TRL's SFTTrainer, safe for long reasoning traces.

What it changes, each where TRL is silent:

- rows become token ids with an explicit mask in `light_r1.models.chat`, so no chat template can drop the reasoning;
- rows longer than `max_length` are dropped and counted instead of losing their end, and a run that would lose too
  many stops before it starts;
- rows come in curriculum order, on every rank and after every resume, packed or not;
- packing happens only where a variable-length attention kernel makes it cheap; elsewhere, batches of like length.
  Rows are packed whole: TRL's packing cuts those that are too long and sorts them by length;
- on CPU a batch is computed without its padding, and the head sees supervised tokens alone: the same numbers sooner;
- loss and token accuracy are logged by difficulty;
- the learning-rate schedule may span more epochs than are trained (Light-R1: a cosine over 100, stopped at 4).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

import torch
from datasets import Dataset
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import Sampler
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.trainer_utils import TrainOutput
from trl import SFTTrainer

from light_r1.errors import DataError, StageError
from light_r1.models.chat import ChatFormat
from light_r1.trainers.building import (
    Rows,
    adapter_weights,
    as_rows,
    held_out_rows,
    prepared,
    refuse_torn,
    settle,
)
from light_r1.trainers.difficulty import CollatorWithDifficulty, DifficultyBuckets
from light_r1.trainers.overlength import drop_report
from light_r1.trainers.scoring import SharedPrefixModel
from light_r1.trainers.settings import refuse, sft_conflicts
from light_r1.trainers.sft.accuracy import sampled_accuracy
from light_r1.trainers.sft.config import CurriculumSFTConfig
from light_r1.trainers.sft.curriculum import Curriculum, CurriculumSampler, Order, pack_best_fit, pack_in_order
from light_r1.trainers.sft.rendering import fit_row, join_rows, render_row


class CurriculumSFTTrainer(SFTTrainer):
    """Supervised fine-tuning on reasoning traces, in curriculum order.

    Args:
        model: Model, or path of one, as in TRL.
        args: A `CurriculumSFTConfig`; one of defaults, with a folder named after the model, if `None`.
        train_dataset: Rows of one of these forms, checked on the first row: `problem` and `solution`; `prompt` and
            `completion` (strings); `messages` ending with the assistant's turn; `text` (everything is trained);
            `input_ids` and `labels`.
        eval_dataset: Rows of the same forms, or a dict of them.
        processing_class: The tokenizer.
        chat: How rows are rendered; `ChatFormat(processing_class)` if `None`. Its template is stored in the tokenizer
            and its end token in the model's generation config, so that the saved model answers as it was trained.
        **kwargs: Further arguments of `trl.SFTTrainer`.

    Attributes:
        dropped: Rows that were taken out, each `{"row": ..., "reason": ...}`.

    Raises:
        DataError: A row has none of the forms above, or its thought cannot be made out.
        StageError: More rows than `max_drop_rate` would be lost.

    Example:
        >>> args = CurriculumSFTConfig("out", max_length=20_000, order="by_difficulty")
        >>> CurriculumSFTTrainer("Qwen/Qwen2.5-7B-Instruct", args, train_dataset=rows).train()
    """

    _tag_names = ["trl", "sft", "light_r1"]  # noqa: RUF012 - TRL's own attribute

    def __init__(
        self,
        model: str | PreTrainedModel,
        args: CurriculumSFTConfig | None = None,
        train_dataset: Rows = (),
        eval_dataset: Rows | Mapping[str, Rows] | None = None,
        processing_class: PreTrainedTokenizerBase | None = None,
        *,
        chat: ChatFormat | None = None,
        **kwargs: Any,
    ) -> None:
        config, processing_class, self.chat = prepared(model, args, CurriculumSFTConfig, processing_class, chat)
        self.dropped: list[dict[str, Any]] = []
        kept = adapter_weights(model)
        train_rows = as_rows(train_dataset, "train", self.dropped)
        held_out = held_out_rows(eval_dataset, self.dropped)
        if config.order != "random" and config.difficulty_column not in train_rows.column_names:
            raise DataError(
                f"order={config.order!r} needs a difficulty: no column {config.difficulty_column!r} among "
                f"{', '.join(sorted(train_rows.column_names))}"
            )
        if config.packing == "auto":
            config.packing = _has_varlen_kernel(model, config)
            refuse((), {}, sft_conflicts(vars(config)))
        self._questions = _questions(held_out) if config.eval_samples else []
        self._keeps_order = config.order != "random"
        super().__init__(
            model=model,
            args=config,
            train_dataset=train_rows,
            eval_dataset=held_out,
            processing_class=processing_class,
            **kwargs,
        )
        self.finite = settle(self, processing_class, self.chat, kept)
        selective = (config.activation_checkpointing_kwargs or {}).get("selective")
        self._unpads = self.accelerator.device.type == "cpu" and config.neftune_noise_alpha is None and not selective
        self._watch_difficulty()

    def _get_grad_norm(self, *args: Any, **kwargs: Any) -> Any:
        norm = super()._get_grad_norm(*args, **kwargs)
        self.finite.see_norm(norm)
        return norm

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the model, unless weights of it are no numbers."""
        self.finite.before_save(output_dir)
        super().save_model(output_dir, _internal_call)

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> TrainOutput:
        """Train, or go on from a checkpoint; one without its optimizer is refused."""
        refuse_torn(resume_from_checkpoint, self.args.output_dir)
        return super().train(resume_from_checkpoint, *args, **kwargs)

    def _watch_difficulty(self) -> None:
        """Log loss and accuracy by difficulty where every row has one."""
        self.buckets: DifficultyBuckets | None = None
        column, dataset = self.args.difficulty_column, self.train_dataset
        if column not in dataset.column_names:
            return
        values = dataset[column]
        if "seq_lengths" in dataset.column_names:
            values = [value for packed in values for value in packed]
        if all(isinstance(value, int | float) for value in values) and len(set(values)) > 1:
            self.buckets = DifficultyBuckets(values)
            self.data_collator: Any = CollatorWithDifficulty(self.data_collator, column)
            self._set_signature_columns_if_needed()
            self._signature_columns: list[str] = [*self._signature_columns, column]
            self.model.register_forward_hook(self._keep_scores)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,
    ) -> Any:
        """Compute TRL's loss, on CPU without padding and prompts in the head, and note it by difficulty."""
        difficulty = inputs.pop(CollatorWithDifficulty.KEY, None)
        scoring = None
        if self._unpads and "attention_mask" in inputs and "position_ids" not in inputs:
            scoring = SharedPrefixModel(model)
        result = super().compute_loss(scoring or model, inputs, return_outputs, num_items_in_batch)
        if self.buckets and difficulty is not None:
            outputs = self._scored.pop()
            if scoring is not None and scoring.output is not None:  # what the hook kept is packed
                outputs = scoring.output
            sums = self.accelerator.reduce(self.buckets.sums(outputs, difficulty), reduction="sum")
            for key, value in self.buckets.metrics(sums).items():
                self._metrics["train" if self.model.training else "eval"][key].append(value)
        return result if return_outputs else self.finite.spread(result)

    def evaluate(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> dict[str, float]:
        """Evaluate as TRL does, and by samples of the held-out problems where `eval_samples` asks for them."""
        metrics = super().evaluate(*args, metric_key_prefix=metric_key_prefix, **kwargs)
        if self._questions:
            if self.is_fsdp_enabled or self.is_deepspeed_enabled:
                raise StageError("eval_samples needs the whole model in each process; evaluate checkpoints instead.")
            accuracy = sampled_accuracy(
                self.accelerator.unwrap_model(self.model),
                self.chat,
                self._questions,
                self.accelerator,
                n=self.args.eval_samples,
                max_tokens=self.args.eval_max_tokens,
                batch_size=self.args.eval_samples * self.args.eval_batch_size,
            )
            metrics[f"{metric_key_prefix}_accuracy"] = accuracy
            self.log({f"{metric_key_prefix}_accuracy": accuracy})
        return metrics

    def _keep_scores(self, module: torch.nn.Module, inputs: Any, outputs: Any) -> None:
        # Asking the parent for its outputs would cost a second forward pass.
        self._scored = [outputs]

    def _prepare_dataset(
        self,
        dataset: Dataset,
        processing_class: PreTrainedTokenizerBase,
        args: CurriculumSFTConfig,
        packing: bool,
        formatting_func: Any,
        dataset_name: str,
    ) -> Dataset:
        if "input_ids" not in dataset.column_names:
            if formatting_func is not None:
                dataset = dataset.map(
                    lambda row: {args.dataset_text_field: formatting_func(row)},
                    num_proc=args.dataset_num_proc,
                    desc=f"Formatting {dataset_name} dataset",
                )
            dataset = self._kept(dataset, render_row, args, dataset_name)
        max_length, args.max_length = args.max_length, None  # nothing is cut
        try:  # the parent packs by sorting rows and cutting those that are too long: packing is done below
            dataset = super()._prepare_dataset(dataset, processing_class, args, False, None, dataset_name)
        finally:
            args.max_length = max_length
        if "length" not in dataset.column_names:  # rows of token ids
            dataset = self._kept(dataset, fit_row, args, dataset_name)
        return (
            self._packed(dataset, args, dataset_name) if packing and "seq_lengths" not in dataset.features else dataset
        )

    def _kept(
        self, dataset: Dataset, to_ids: Callable[..., dict[str, Any]], args: CurriculumSFTConfig, name: str
    ) -> Dataset:
        """Return the rows as token ids, those that fit; note the others, and stop if they are too many."""
        rendered = dataset.map(
            to_ids,
            with_indices=True,
            fn_kwargs={"chat": self.chat, "args": args, "name": name},
            remove_columns=[column for column in dataset.column_names if column != args.difficulty_column],
            num_proc=args.dataset_num_proc,
            desc=f"Rendering {name} dataset",
        )
        reasons = rendered["reason"]
        lost = [i for i, reason in enumerate(reasons) if reason]
        self.dropped += [{"row": dataset[i], "reason": reasons[i]} for i in lost]
        if len(lost) > args.max_drop_rate * len(dataset):
            raise StageError(drop_report(name, Counter(reasons[i] for i in lost), rendered["length"], args.max_length))
        return rendered.select([i for i, reason in enumerate(reasons) if not reason]).remove_columns("reason")

    def _packed(self, dataset: Dataset, args: CurriculumSFTConfig, name: str) -> Dataset:
        """Return rows that hold several, whole and next to each other in curriculum order where there is one."""
        if args.max_length is None:
            raise StageError("packing needs a max_length, the size of a packed row.")
        if name == "train" and args.train_sampling_strategy == "sequential":
            groups = pack_in_order(dataset["length"], args.max_length)
        elif self._keeps_order and name == "train":
            difficulty = _difficulty(dataset, args)
            dataset = dataset.select(_curriculum(args).indices(difficulty, dataset["length"], epoch=0, batch=None))
            groups = pack_in_order(dataset["length"], args.max_length)
        else:
            groups = pack_best_fit(dataset["length"], args.max_length)
        return Dataset.from_dict({"rows": groups}).map(
            lambda group: join_rows(dataset[group["rows"]], args.difficulty_column),
            remove_columns="rows",
            num_proc=args.dataset_num_proc,
            new_fingerprint=uuid4().hex,  # or the whole data set would be hashed as part of the function
            desc=f"Packing {name} dataset",
        )

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler[int]:
        if self.args.train_sampling_strategy == "sequential":
            return super()._get_train_sampler(train_dataset)
        # The argument has lost every column that the model does not take; ours still has difficulty and length.
        dataset, args = self.train_dataset, self.args
        packed = "seq_lengths" in dataset.column_names
        has_length = "length" in dataset.column_names
        lengths = dataset["length"] if has_length else [len(ids) for ids in dataset["input_ids"]]
        # Packed rows were put in curriculum order when they were packed; their position is their difficulty.
        difficulty = list(range(len(dataset))) if packed else _difficulty(dataset, args)
        return CurriculumSampler(
            _curriculum(args, order="by_difficulty" if packed and self._keeps_order else args.order),
            difficulty,
            list(lengths),
            batch=args.train_batch_size * args.world_size if args.batch_by_length and not packed else None,
            epoch=lambda: int((self.state.epoch or 0) + 1e-6),
        )

    def set_initial_training_values(self, *args: Any, **kwargs: Any) -> Any:
        """Note how many optimizer steps an epoch has, which the schedule is made from."""
        values = super().set_initial_training_values(*args, **kwargs)
        self._steps_per_epoch: int = values[1]
        return values

    def create_scheduler(self, num_training_steps: int, optimizer: Optimizer | None = None) -> LRScheduler:
        """Create the schedule over `schedule_epochs`, of which only the first steps are run.

        Raises:
            StageError: It ends before training does.
        """
        span = num_training_steps
        if self.args.schedule_epochs is not None:
            span = math.ceil(self.args.schedule_epochs * self._steps_per_epoch)
        if span < num_training_steps:
            raise StageError(
                f"schedule_epochs={self.args.schedule_epochs} ends at step {span}, before the {num_training_steps} "
                "steps that are trained: the rest would be trained at the schedule's last learning rate."
            )
        return super().create_scheduler(span, optimizer)


def _questions(eval_dataset: Dataset | dict[str, Dataset] | None) -> list[dict[str, Any]]:
    """Return the held-out rows as they came; rendering leaves only token ids of them."""
    if eval_dataset is None or isinstance(eval_dataset, dict):
        raise DataError("eval_samples needs one eval_dataset, with problem and answer.")
    return [dict(row) for row in eval_dataset]


def _curriculum(args: CurriculumSFTConfig, order: Order | None = None) -> Curriculum:
    seed = args.seed if args.data_seed is None else args.data_seed
    return Curriculum(order or args.order, args.curriculum_stages, args.pacing_epochs, seed)


def _difficulty(dataset: Dataset, args: CurriculumSFTConfig) -> list[float] | None:
    """Return each row's difficulty where the order needs it."""
    if args.order == "random":
        return None
    column = args.difficulty_column
    values = dataset[column]
    missing = next((row for row, value in enumerate(values) if not isinstance(value, int | float)), None)
    if missing is not None:
        raise DataError(f"row {missing} of the kept rows has the {column} {values[missing]!r}; expected a number")
    return [float(value) for value in values]


def _has_varlen_kernel(model: str | PreTrainedModel, args: CurriculumSFTConfig) -> bool:
    """Whether the model attends with a kernel for which packing is safe and pays.

    SDPA builds a dense mask over the whole packed row: correct, but quadratic in it (3.5 times slower than padded
    batches for 8 rows of 512 tokens on a CPU).
    """
    if args.max_length is None:
        return False
    if isinstance(model, str):
        name = str((args.model_init_kwargs or {}).get("attn_implementation", ""))
    else:
        name = str(model.config._attn_implementation)
    return "flash" in name
