"""What light_r1 relies on in TRL and transformers that they do not promise.

A failure here means: read the new source of the method, see whether the override in light_r1 still does what its
docstring says, then renew the signature or the hash below.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import textwrap

import pytest
import trl
from transformers import Trainer
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

OVERRIDDEN = [
    (SFTTrainer, "_prepare_dataset", "self dataset processing_class args packing formatting_func dataset_name"),
    (Trainer, "_get_train_sampler", "self train_dataset"),
    (Trainer, "create_scheduler", "self num_training_steps optimizer"),
    (Trainer, "_get_grad_norm", "self model grad_norm"),
    (Trainer, "save_model", "self output_dir _internal_call"),
    (Trainer, "set_initial_training_values", "self args dataloader"),
    (DPOTrainer, "_prepare_dataset", "self dataset processing_class args dataset_name"),
    (DPOTrainer, "_precompute_ref_logps", "self dataset name batch_size"),
    (DPOTrainer, "_compute_loss", "self model inputs return_outputs"),
    (DPOTrainer, "compute_ref_log_probs", "self model inputs"),
    (Trainer, "_load_from_checkpoint", "self resume_from_checkpoint model"),
    (GRPOTrainer, "_calculate_rewards", "self inputs prompts completions completion_ids_list"),
    (GRPOTrainer, "_generate_and_score_completions", "self inputs"),
    (Trainer, "_save_rng_state", "self output_dir"),
    (Trainer, "_load_rng_state", "self checkpoint"),
    (GRPOTrainer, "_tokenize_prompts", "self prompts"),
    (GRPOTrainer, "_generate_single_turn", "self prompt_ids images multimodal_fields num_generations has_tool_images"),
]


def body_hash(function) -> str:
    """Hash of the code, without comments, docstring and layout."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    node = tree.body[0]
    if ast.get_docstring(node) is not None:
        node.body = node.body[1:]
    return hashlib.sha256(ast.dump(node).encode()).hexdigest()[:12]


@pytest.mark.parametrize(
    ("owner", "name", "parameters"), OVERRIDDEN, ids=lambda value: getattr(value, "__name__", value)
)
def test_signature_of_what_is_overridden(owner, name, parameters):
    assert name in vars(owner), f"{owner.__name__} of TRL {trl.__version__} has no {name}"
    found = " ".join(inspect.signature(getattr(owner, name)).parameters)
    assert found == parameters, f"{owner.__name__}.{name} of TRL {trl.__version__} takes other parameters"


HASHES = {
    "SFTTrainer._prepare_dataset": "24a71e642f56",
    "DPOTrainer._prepare_dataset": "c0043069ddfc",
    "DPOTrainer._precompute_ref_logps": "480eab489808",
    "DPOTrainer._compute_loss": "3de7facc0c0d",
    "DPOTrainer.compute_ref_log_probs": "2f534c2ec8a3",
    "GRPOTrainer._get_per_token_logps_and_entropies": "c53c5b81b3e3",
    "GRPOTrainer._calculate_rewards": "15a2c8b69e65",
    "GRPOTrainer._generate_and_score_completions": "ba856759e9dc",
}


@pytest.mark.parametrize("dotted", HASHES)
def test_source_of_what_is_overridden(dotted):
    owner, name = dotted.split(".")
    found = body_hash(getattr(getattr(trl, owner), name))
    assert found == HASHES[dotted], f"{dotted} of TRL {trl.__version__} does something else now ({found})"


def test_sft_takes_rows_of_token_ids_as_they_are(tokenizer, tiny_model, tmp_path):
    from datasets import Dataset

    rows = Dataset.from_list([{"input_ids": [5, 6, 7], "labels": [-100, 6, 7]}])
    args = SFTConfig(str(tmp_path), bf16=False, use_cpu=True, report_to="none")
    made = SFTTrainer(tiny_model, args=args, train_dataset=rows, processing_class=tokenizer)
    assert made.train_dataset[0]["labels"] == [-100, 6, 7]


def test_dpo_collator_reads_the_columns_that_are_prepared():
    source = inspect.getsource(inspect.getmodule(DPOTrainer).DataCollatorForPreference)
    for column in ("prompt_ids", "chosen_ids", "rejected_ids", "ref_chosen_logps", "ref_rejected_logps"):
        assert column in source


def test_grpo_generation_length_is_where_the_schedule_sets_it():
    source = inspect.getsource(GRPOTrainer)
    for name in (
        "self.generation_config",
        "self.generation_kwargs",
        "self.max_completion_length",
        "self.eos_token_id",
    ):
        assert name in source, f"GRPOTrainer of TRL {trl.__version__} has no {name}"


def test_grpo_calls_a_rollout_function_with_prompts_and_trainer():
    assert "rollout_func" in inspect.signature(GRPOTrainer.__init__).parameters
    assert "self.rollout_func(" in inspect.getsource(GRPOTrainer)


@pytest.mark.parametrize(
    "line",
    [
        "rewards_per_func = self._calculate_rewards(inputs, prompts, completions, completion_ids_list)",
        "self._pending_extra_logs.clear()",
        "self._metrics[mode]",
        '"importance_sampling_ratio"',
        '"num_items_in_batch"',
    ],
)
def test_grpo_makes_a_batch_of_what_a_chosen_one_replays(line):
    assert line in inspect.getsource(GRPOTrainer._generate_and_score_completions)


def test_grpo_generates_once_for_all_steps_of_a_batch():
    source = inspect.getsource(GRPOTrainer._prepare_inputs)
    assert "self._step % generate_every == 0 or self._buffered_inputs is None" in source


@pytest.mark.parametrize(
    ("config", "fields"),
    [
        (SFTConfig, "max_length packing shuffle_dataset"),
        (DPOConfig, "max_length loss_type beta precompute_ref_log_probs"),
        (GRPOConfig, "max_completion_length num_generations reward_weights beta temperature top_p top_k use_vllm"),
    ],
)
def test_config_fields_that_are_read(config, fields):
    missing = set(fields.split()) - set(config.__dataclass_fields__)
    assert not missing, f"{config.__name__} of TRL {trl.__version__} has no {missing}"


@pytest.mark.parametrize(
    ("trainer", "names"),
    [
        (SFTTrainer, "_metrics _total_train_tokens _signature_columns _set_signature_columns_if_needed fused_lm_head"),
        (DPOTrainer, "_metrics _total_train_tokens beta ref_chosen_logps ref_rejected_logps completion_mask"),
    ],
)
def test_names_that_are_read_or_set_on_the_trainers(trainer, names):
    source = inspect.getsource(inspect.getmodule(trainer))
    missing = [name for name in names.split() if name not in source]
    assert not missing, f"{trainer.__name__} of TRL {trl.__version__} has no {missing}"
