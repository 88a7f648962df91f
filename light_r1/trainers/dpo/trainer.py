"""SemiOnPolicyDPOTrainer: TRL's DPOTrainer on token-exact pairs with the reference it claims to have.

What it changes, each where TRL is silent:

- pairs are token ids (`prompt_ids`, `chosen_ids`, `rejected_ids`) or are rendered by `light_r1.models.chat`; no
  template re-renders them, so the reasoning and the special tokens of a rollout survive;
- pairs longer than `max_length` are dropped and counted instead of losing both end tokens;
- the reference is the policy as it starts: TRL reloads it from the path stored in the config, which is another
  model whenever weights were changed in memory;
- both sides of a pair are scored in one packed row that holds their prompt once;
- the margin's correlation with the difference in length is logged, and a margin that is mostly length is warned of;
- a second trainer on the same adapter takes that adapter as it is now for its reference, where TRL stops.

NCA (Chen et al. 2402.05369), the loss of Light-R1: L = -ln s(r_w) - 1/2 ln s(-r_w) - 1/2 ln s(-r_l), with s the
sigmoid and r = beta (log pi - log pi_ref). It starts at 2 ln 2 = 1.386. Its chosen part is least at s(r_w) = 2/3, that
is r_w = ln 2, where it is 0.955: past that it rises by design, which is not a fault of the run.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, load_from_disk
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.trainer_utils import TrainOutput
from trl import DPOTrainer

from light_r1.errors import DataError, StageError
from light_r1.models.chat import ChatFormat
from light_r1.trainers.building import (
    Rows,
    adapter_weights,
    as_rows,
    held_out_rows,
    mend_adapter,
    prepared,
    refuse_torn,
    settle,
)
from light_r1.trainers.dpo.config import SemiOnPolicyDPOConfig
from light_r1.trainers.dpo.length_margin import LengthWatch
from light_r1.trainers.overlength import drop_report
from light_r1.trainers.scoring import SharedPrefixModel

log = logging.getLogger(__name__)

NCA_EXPLAINED = (
    "NCA: the loss starts at 2 ln 2 = 1.386. Its chosen term, -ln s(r) - 1/2 ln s(-r) with r the chosen reward, is "
    "least at s(r) = 2/3, that is r = ln 2 = 0.693, where it is 0.955. So the loss has a floor of 0.955 and the "
    "chosen reward a target: a reward that climbs past 0.693 raises the loss by design. Judge by rewards/margins and "
    "by held-out scores."
)


class SemiOnPolicyDPOTrainer(DPOTrainer):
    """Preference training on pairs of a teacher's (or own) right response and an own wrong one.

    Args:
        model: Model, or path of one, as in TRL. It is its own reference.
        args: A `SemiOnPolicyDPOConfig`; one of defaults, with a folder named after the model, if `None`.
        train_dataset: Rows with `prompt_ids`, `chosen_ids`, `rejected_ids`, as `light_r1.rollouts.pairs.build_pairs`
            makes them (what it dropped may be among them, and is counted); or with `problem` or `prompt`, `chosen` and
            `rejected`, texts or messages, rendered by `chat`.
        processing_class: The tokenizer.
        chat: How text rows are rendered; `ChatFormat(processing_class)` if `None`. Its template is stored in the
            tokenizer, so that the saved model answers as it was trained.
        ref_model: Another reference than the starting policy.
        **kwargs: Further arguments of `trl.DPOTrainer`.

    Attributes:
        dropped: Pairs that were taken out, each `{"row": ..., "reason": ...}`.

    Raises:
        DataError: There is no row, or one has neither token ids nor texts.
        StageError: More pairs than `max_drop_rate` would be lost.

    Example:
        >>> args = SemiOnPolicyDPOConfig("out", loss_type="nca_pair", beta=0.3, max_length=32_768)
        >>> SemiOnPolicyDPOTrainer("runs/x/sft-stage2/output/model", args, train_dataset=pairs).train()
    """

    _tag_names = ["trl", "dpo", "light_r1"]  # noqa: RUF012 - TRL's own attribute

    def __init__(
        self,
        model: str | PreTrainedModel,
        args: SemiOnPolicyDPOConfig | None = None,
        train_dataset: Rows = (),
        eval_dataset: Rows | Mapping[str, Rows] | None = None,
        processing_class: PreTrainedTokenizerBase | None = None,
        *,
        chat: ChatFormat | None = None,
        ref_model: PreTrainedModel | None = None,
        **kwargs: Any,
    ) -> None:
        config, processing_class, self.chat = prepared(model, args, SemiOnPolicyDPOConfig, processing_class, chat)
        self.dropped: list[dict[str, Any]] = []
        self._adapter = adapter_weights(model)
        needs_reference = ref_model is None and not config.precompute_ref_log_probs and "peft_config" not in kwargs
        if needs_reference and isinstance(model, PreTrainedModel) and not isinstance(model, PeftModel):
            raise StageError(
                "precompute_ref_log_probs=False with a model in memory: TRL would reload the reference from "
                f"{model.config._name_or_path!r}, which need not be the weights you pass. Pass ref_model as well."
            )
        if isinstance(model, PeftModel) and "ref" in model.peft_config:
            model.delete_adapter("ref")  # that of an earlier trainer; TRL makes a new one of the adapter as it is
        self.length_watch = LengthWatch()
        self._target_passed = False
        super().__init__(
            model=model,
            ref_model=ref_model,
            args=config,
            train_dataset=as_rows(train_dataset, "train", self.dropped),
            eval_dataset=held_out_rows(eval_dataset, self.dropped),
            processing_class=processing_class,
            **kwargs,
        )
        self.finite = settle(self, processing_class, self.chat, self._adapter)
        self._adapter = {}

    def _prepare_dataset(
        self,
        dataset: Dataset,
        processing_class: PreTrainedTokenizerBase,
        args: SemiOnPolicyDPOConfig,
        dataset_name: str,
    ) -> Dataset:
        # Token ids need none of the parent's preparation, which renders and tokenises text.
        if "prompt_ids" not in dataset.column_names:
            dataset = dataset.map(
                _render_row,
                with_indices=True,
                fn_kwargs={"chat": self.chat, "name": dataset_name},
                remove_columns=dataset.column_names,
                num_proc=args.dataset_num_proc,
                desc=f"Rendering {dataset_name} dataset",
            )
        lengths = [
            len(prompt) + max(len(chosen), len(rejected))
            for prompt, chosen, rejected in zip(
                dataset["prompt_ids"], dataset["chosen_ids"], dataset["rejected_ids"], strict=True
            )
        ]
        limit = args.max_length
        lost = [i for i, length in enumerate(lengths) if limit is not None and length > limit]
        if lost and args.overlength == "error":
            raise DataError(f"{dataset_name} dataset row {lost[0]}: {lengths[lost[0]]} tokens, max_length={limit}")
        self.dropped += [{"row": dataset[i], "reason": "overlength"} for i in lost]
        if len(lost) > args.max_drop_rate * len(dataset):
            raise StageError(drop_report(dataset_name, Counter(overlength=len(lost)), lengths, limit))
        gone = set(lost)
        return dataset.select([i for i in range(len(dataset)) if i not in gone])

    def _precompute_ref_logps(self, dataset: Dataset, name: str, batch_size: int) -> Dataset:
        # The parent keeps reference log-probs in a file beside the data set's own, named by its fingerprint and the
        # weights. Data sets in memory have no file, and fingerprints change with every process that renders text.
        mend_adapter(self, self._adapter)  # the reference is scored while the trainer is built
        key = _hash_of([_content_hash(dataset), *self._scored_as()])
        folder = Path(self.args.output_dir) / "reference" / f"{name}-{key}"
        if self.accelerator.is_main_process and not folder.exists():
            being_written = folder.with_name(f"{folder.name}.tmp")
            shutil.rmtree(being_written, ignore_errors=True)
            dataset.save_to_disk(str(being_written))
            being_written.rename(folder)
        self.accelerator.wait_for_everyone()
        dataset = load_from_disk(str(folder))
        return super()._precompute_ref_logps(dataset, name, batch_size)

    def _scored_as(self) -> list[Any]:
        """Return what the log-probs of a reference depend on besides pairs and weights, which TRL hashes."""
        model, args = self.ref_model or self.model, self.args
        config = {
            k: v for k, v in model.config.to_dict().items() if k not in ("_name_or_path", "transformers_version")
        }
        adapters = {k: v.to_dict() for k, v in model.peft_config.items()} if isinstance(model, PeftModel) else {}
        weights = {k: hashlib.sha256(v.float().cpu().numpy().tobytes()).hexdigest() for k, v in self._adapter.items()}
        settings = [args.ld_alpha, args.disable_dropout, args.share_prefixes, args.tf32, args.torch_compile]
        precision = [self.accelerator.mixed_precision, str(model.dtype), model.config._attn_implementation]
        return [config, adapters, weights, settings, precision]

    def compute_ref_log_probs(
        self, model: torch.nn.Module, inputs: dict[str, Any]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Score the reference without padding, the prompt once for both sides."""
        return super().compute_ref_log_probs(self._sharing(model), inputs)

    def _compute_loss(self, model: torch.nn.Module, inputs: dict[str, Any], return_outputs: bool) -> Any:
        scorer = _Noting(self._sharing(model))
        result = super()._compute_loss(scorer, inputs, return_outputs)
        if self.model.training and "ref_chosen_logps" in inputs:
            self._watch_lengths(scorer.log_probs.sum(1), inputs)
        return result if return_outputs else self.finite.spread(result)

    def _watch_lengths(self, logps: torch.Tensor, inputs: dict[str, Any]) -> None:
        chosen, rejected = (logps - torch.cat([inputs["ref_chosen_logps"], inputs["ref_rejected_logps"]])).chunk(2)
        longer, shorter = inputs["completion_mask"].sum(1).chunk(2)
        pairs = torch.stack([(longer - shorter).to(chosen), self.beta * (chosen - rejected)])
        self.length_watch.add(*self.accelerator.gather(pairs.T.contiguous()).T)

    def _get_grad_norm(self, *args: Any, **kwargs: Any) -> Any:
        norm = super()._get_grad_norm(*args, **kwargs)
        self.finite.see_norm(norm)
        return norm

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the model, unless weights of it are no numbers."""
        self.finite.before_save(output_dir)
        super().save_model(output_dir, _internal_call)

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> TrainOutput:
        """Train, or go on from a whole checkpoint; a run with NCA says first how its loss is to be read."""
        refuse_torn(resume_from_checkpoint, self.args.output_dir)
        if "nca_pair" in self.args.loss_type and self.accelerator.is_main_process:
            log.info(NCA_EXPLAINED)
        return super().train(resume_from_checkpoint, *args, **kwargs)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log TRL's numbers and how the margin correlates with the difference in length."""
        if self.model.training and self._metrics["train"] and self.accelerator.is_main_process:
            self._metrics["train"].update({key: [value] for key, value in self.length_watch.metrics().items()})
            rewards = self._metrics["train"].get("rewards/chosen", [])
            passed = bool(rewards) and sum(rewards) / len(rewards) > math.log(2)
            if passed and "nca_pair" in self.args.loss_type and not self._target_passed:
                self._target_passed = True
                log.info("NCA: the chosen reward has passed its target 0.693; the loss may rise from here, by design.")
        super().log(logs, start_time)

    def _sharing(self, model: torch.nn.Module) -> Any:
        return SharedPrefixModel(model) if self.args.share_prefixes else model


def _render_row(row: dict[str, Any], index: int, chat: ChatFormat, name: str) -> dict[str, list[int]]:
    chosen, rejected = (_response(row.get(side)) for side in ("chosen", "rejected"))
    prompt = row.get("problem") or row.get("prompt")
    if prompt is None and isinstance(row.get("chosen"), list):
        prompt = row["chosen"][:-1]
    if not prompt or chosen is None or rejected is None:
        missing = {"problem": prompt, "chosen": chosen, "rejected": rejected}
        raise DataError(
            f"{name} dataset row {index}: no text in {', '.join(key for key, value in missing.items() if not value)}; "
            "expected problem (or prompt), chosen, rejected, as text or as messages that end with the assistant's; or "
            f"prompt_ids, chosen_ids, rejected_ids. The columns are {', '.join(sorted(row))}."
        )
    try:
        chosen_ids = chat.completion_ids(chosen)
    except DataError as error:
        raise DataError(f"{name} dataset row {index}, chosen: {error}") from error
    return {
        "prompt_ids": chat.prompt_ids(prompt),
        "chosen_ids": chosen_ids,
        "rejected_ids": chat.response_ids(rejected),
    }


def _response(value: Any) -> str | None:
    """Return a response's text; of messages that of the assistant's turn, which must be the last."""
    if isinstance(value, list) and value and value[-1]["role"] == "assistant":
        value = value[-1]["content"]
    return value if isinstance(value, str) else None


def _content_hash(dataset: Dataset) -> str:
    """Return a hash of what is scored: the same pairs have it in every process, wherever they come from."""
    digest = hashlib.sha256()
    for batch in dataset.select_columns(sorted(dataset.column_names)).iter(batch_size=1000):
        digest.update(json.dumps(batch, default=str).encode())
    return digest.hexdigest()[:16]


def _hash_of(values: list[Any]) -> str:
    def plain(value: Any) -> Any:
        return sorted(map(str, value)) if isinstance(value, set) else str(value)

    return hashlib.sha256(json.dumps(values, default=plain, sort_keys=True).encode()).hexdigest()[:16]


class _Noting:
    """Calls a scorer and keeps the log-probs that it gave, which TRL's loss only uses up."""

    def __init__(self, scorer: Any) -> None:
        self.scorer = scorer
        self.log_probs: torch.Tensor

    def __call__(self, **inputs: Any) -> Any:
        outputs = self.scorer(**inputs)
        self.log_probs = outputs.log_probs.detach()
        return outputs
