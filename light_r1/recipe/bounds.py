"""Bounds and choices of config fields that TRL and transformers check only in use, or never.

Their configs take `max_length: -5`, `adam_beta2: 1.5` or `loss_type: nca_piar` and fail later, or train
wrongly. Field names, types, defaults and declared choices are not repeated here: `options/table.py` reads them.
`tests/contracts/test_trl.py`-style checks in `tests/light_r1/recipe/test_bounds.py` compare the choices with what
TRL's trainers compare them with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from light_r1.recipe.options.source import dict_keys


@dataclass(frozen=True, slots=True)
class Limit:
    """An interval; `open_low` and `open_high` leave its ends out."""

    low: float | None = None
    high: float | None = None
    open_low: bool = False
    open_high: bool = False

    def holds(self, value: float) -> bool:
        """Whether `value` lies in the interval; NaN lies in none."""
        above = self.low is None or (value > self.low if self.open_low else value >= self.low)
        below = self.high is None or (value < self.high if self.open_high else value <= self.high)
        return above and below

    def describe(self) -> str:
        """Say the interval in words: `a number above 0 and at most 1`."""
        parts = []
        if self.low is not None:
            parts.append(f"{'above' if self.open_low else 'at least'} {self.low:g}")
        if self.high is not None:
            parts.append(f"{'below' if self.open_high else 'at most'} {self.high:g}")
        return f"a number {' and '.join(parts)}"


_POSITIVE = Limit(0, open_low=True)
_COUNT = Limit(1)
_NOT_NEGATIVE = Limit(0)
_SHARE = Limit(0, 1)
_POSITIVE_SHARE = Limit(0, 1, open_low=True)
_DECAY = Limit(0, 1, open_high=True)

LIMITS: dict[str, Limit] = {
    # optimisation
    "learning_rate": _POSITIVE_SHARE,
    "weight_decay": _NOT_NEGATIVE,
    "adam_beta1": _DECAY,
    "adam_beta2": _DECAY,
    "adam_epsilon": _POSITIVE,
    "max_grad_norm": _NOT_NEGATIVE,
    "warmup_steps": _NOT_NEGATIVE,
    "num_train_epochs": _POSITIVE,
    "stop_after_epochs": _POSITIVE,
    "schedule_epochs": _POSITIVE,
    "pacing_epochs": _NOT_NEGATIVE,
    "curriculum_stages": _COUNT,
    "max_drop_rate": _SHARE,
    "max_steps": Limit(-1),
    "global_batch_size": _COUNT,
    "gradient_accumulation_steps": _COUNT,
    "per_device_train_batch_size": _COUNT,
    "per_device_eval_batch_size": _COUNT,
    "label_smoothing_factor": _DECAY,
    "neftune_noise_alpha": _NOT_NEGATIVE,
    "seed": _NOT_NEGATIVE,
    "data_seed": _NOT_NEGATIVE,
    # intervals of logging and saving; a fraction is a share of all steps
    "logging_steps": _POSITIVE,
    "eval_steps": _POSITIVE,
    "save_steps": _POSITIVE,
    "save_total_limit": _COUNT,
    "eval_delay": _NOT_NEGATIVE,
    "dataloader_num_workers": _NOT_NEGATIVE,
    "dataset_num_proc": _COUNT,
    # lengths
    "max_length": _COUNT,
    "max_completion_length": _COUNT,
    "max_tokens": _COUNT,
    "vllm_max_model_length": _COUNT,
    # DPO
    "DPOConfig.beta": _POSITIVE,
    "DPOConfig.label_smoothing": Limit(0, 0.5, open_high=True),
    "DPOConfig.ld_alpha": _SHARE,
    "DPOConfig.discopop_tau": _POSITIVE,
    "DPOConfig.precompute_ref_batch_size": _COUNT,
    "ref_model_mixup_alpha": _SHARE,
    "ref_model_sync_steps": _COUNT,
    # GRPO
    "GRPOConfig.beta": _NOT_NEGATIVE,
    "GRPOConfig.temperature": _POSITIVE,
    "epsilon": _POSITIVE,
    "epsilon_high": _POSITIVE,
    "delta": _POSITIVE,
    "num_generations": Limit(2),
    "num_generations_eval": _COUNT,
    "generation_batch_size": _COUNT,
    "steps_per_generation": _COUNT,
    "num_iterations": _COUNT,
    "repetition_penalty": _POSITIVE,
    "top_entropy_quantile": _SHARE,
    "vllm_gpu_memory_utilization": _POSITIVE_SHARE,
    "vllm_tensor_parallel_size": _COUNT,
    "steps": _COUNT,
    "sampling_batch_size": _COUNT,
    # rewards
    "max_len": _COUNT,
    "cache": _COUNT,
    "ngram": _COUNT,
    "max_penalty": Limit(high=0),
    # sampling
    "n": _COUNT,
    "temperature": _NOT_NEGATIVE,
    "top_p": _POSITIVE_SHARE,
    "min_p": _SHARE,
    "top_k": _NOT_NEGATIVE,
    "k": _COUNT,
    "batch_size": _COUNT,
    "per_question": _COUNT,
    "rounds": _COUNT,
    "min_rejected_tokens": _COUNT,
    "max_rejected_tokens": _COUNT,
    # data
    "fraction": _POSITIVE_SHARE,
    "limit": _COUNT,
    "rows": _NOT_NEGATIVE,
    "min_pass_rate": _SHARE,
    "max_pass_rate": _SHARE,
    # merging
    "densities": _POSITIVE_SHARE,
    # LoRA
    "LoraConfig.r": _COUNT,
    "lora_alpha": _POSITIVE,
    "lora_dropout": _DECAY,
}
"""Field name, or `Class.field` where a name means different things, -> bounds of its numbers."""

CHOICES: dict[str, tuple[Any, ...]] = {
    "ChatSpec.template": ("auto", *dict_keys("light_r1.models.chat:FAMILIES")),
    "DPOConfig.loss_type": (
        "sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard", "aot",
        "aot_unpaired", "apo_zero", "apo_down", "discopop", "sft", "sigmoid_norm",
    ),
    "DPOConfig.f_divergence_type": ("reverse_kl", "forward_kl", "js_divergence", "alpha_divergence"),
    "GRPOConfig.loss_type": ("grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo"),
    # true and false are read as "group" and "none"
    "GRPOConfig.scale_rewards": ("group", "batch", "none", True, False),
    "GRPOConfig.importance_sampling_level": ("token", "sequence"),
    "GRPOConfig.multi_objective_aggregation": ("sum_then_normalize", "normalize_then_sum"),
    "GRPOConfig.vllm_mode": ("colocate", "server"),
    "GRPOConfig.vllm_model_impl": ("vllm", "transformers"),
    "GRPOConfig.vllm_importance_sampling_mode": (
        "token_truncate", "token_mask", "sequence_truncate", "sequence_mask",
    ),
    "BitsAndBytesConfig.bnb_4bit_quant_type": ("fp4", "nf4"),
    "TrainingArguments.report_to": (
        "all", "none", "azure_ml", "clearml", "codecarbon", "comet_ml", "dagshub", "dvclive", "flyte", "kubeflow",
        "mlflow", "neptune", "swanlab", "tensorboard", "trackio", "wandb",
    ),
    "TrainingArguments.include_num_input_tokens_seen": ("all", "non_padding", "no", True, False),
    "TrainingArguments.log_level": ("detail", "debug", "info", "warning", "error", "critical", "passive"),
    "TrainingArguments.log_level_replica": (
        "detail", "debug", "info", "warning", "error", "critical", "passive",
    ),
}  # fmt: skip
"""`Class.field` -> values that its trainer knows, where the config declares plain text."""


def limit_of(owner: str, name: str) -> Limit | None:
    """Return the bounds of a field, if there are any."""
    return LIMITS.get(f"{owner}.{name}") or LIMITS.get(name)
