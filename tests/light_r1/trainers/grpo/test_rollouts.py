"""Every sampling setting of TRL's GRPOConfig is honoured as `generate` does, or left to TRL's own generation."""

from __future__ import annotations

import logging
from dataclasses import fields

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig
from trl import GRPOConfig
from trl.trainer.base_config import _BaseConfig

from light_r1.errors import LightR1Error
from light_r1.rollouts.hf import processed
from light_r1.trainers.grpo.rollouts import (
    HONOURED,
    generated_rollout,
    rollout_of,
    sampled_rollout,
    sampling_params,
    trl_rollout,
)
from light_r1.trainers.grpo.trainer import StagedGRPOTrainer
from tests.conftest import character_tokenizer, make_model
from tests.light_r1.trainers.grpo.test_trainer import ROWS, config, length_reward

OURS: dict[str, dict] = {
    "temperature": {"temperature": 0.7},
    "top_p": {"top_p": 0.6},
    "top_k": {"top_k": 5},
    "min_p": {"min_p": 0.2},
    "repetition_penalty": {"repetition_penalty": 3.0},
    "max_completion_length": {"max_completion_length": 3},
}
"""Field -> settings that our sampler honours exactly."""

TRLS: dict[str, dict] = {
    "generation_kwargs": {"generation_kwargs": {"no_repeat_ngram_size": 1}},
    "cache_implementation": {"cache_implementation": "static"},
    "use_transformers_continuous_batching": {"use_transformers_continuous_batching": True},
    "transformers_continuous_batching_config": {
        "use_transformers_continuous_batching": True,
        "transformers_continuous_batching_config": {"max_memory_percent": 0.2},
    },
    "use_transformers_paged": {"use_transformers_paged": True},
}
"""Field -> settings that are left to TRL's own generation."""

REFUSED = {"chat_template_kwargs"}  # for prompts that are text, where TRL ignores them; see below for messages
VLLM = {field.name for field in fields(GRPOConfig) if field.name.startswith(("vllm_", "use_vllm"))}  # always TRL's
WITH_TOOLS = {"max_tool_calling_iterations"}  # which are left to TRL
SHAPES_NO_COMPLETION = {
    "num_generations", "num_generations_eval", "generation_batch_size", "steps_per_generation", "num_iterations",
    "shuffle_dataset", "pad_to_multiple_of", "ds3_gather_for_generation", "disable_dropout", "cast_lm_head_to_fp32",
    "learning_rate", "model_init_kwargs", "trust_remote_code", "router_aux_loss_coef", "remove_unused_columns",
    "beta", "epsilon", "epsilon_high", "delta", "loss_type", "importance_sampling_level", "scale_rewards",
    "reward_weights", "multi_objective_aggregation", "mask_truncated_completions", "top_entropy_quantile",
    "off_policy_mask_threshold", "use_bias_correction_kl", "sapo_temperature_neg", "sapo_temperature_pos",
    "vespo_k_pos", "vespo_k_neg", "vespo_lambda_pos", "vespo_lambda_neg", "entropy_coef", "use_adaptive_entropy",
    "entropy_coef_min", "entropy_coef_max", "entropy_coef_delta", "entropy_target", "sync_ref_model",
    "ref_model_mixup_alpha", "ref_model_sync_steps", "log_completions", "log_multimodal",
    "num_completions_to_print", "log_unique_prompts", "log_completions_hub_repo",
}  # fmt: skip


def trainer(tokenizer, folder, *, model=None, rows=ROWS, **given):
    extra = {name: given.pop(name) for name in ("tools", "peft_config") if name in given}
    args = config(folder, context_schedule=None, **{"max_completion_length": 16, **given})
    model = model or make_model(tokenizer)
    return StagedGRPOTrainer(model, [length_reward], args, rows, processing_class=tokenizer, **extra)


def own(made) -> list[list[int]]:
    made.enter_context()
    return made.rollout([row["prompt"] for row in made.train_dataset])["completion_ids"]


def test_every_field_of_grpo_is_classified():
    classes = [set(OURS), set(TRLS), REFUSED, VLLM, WITH_TOOLS, SHAPES_NO_COMPLETION]
    of_grpo = set(GRPOConfig.__annotations__) | {field.name for field in fields(GRPOConfig)}
    of_grpo -= {field.name for field in fields(_BaseConfig)} - set(GRPOConfig.__annotations__)
    known = set().union(*classes)
    assert of_grpo - known == set(), "new fields of TRL: does our sampler honour them?"
    assert known - of_grpo == set(), "fields that TRL has no longer"
    assert sum(map(len, classes)) == len(known), "a field in two classes"
    assert set(HONOURED) == set(OURS) - {"max_completion_length"}


@pytest.mark.parametrize("name", OURS)
def test_what_is_honoured_samples_as_trls_generation_does(tokenizer, tmp_path, caplog, name):
    # With top_k 1 or min_p 1 nothing is left to chance, so that both must write the same tokens.
    certain = {"min_p": 1.0} if name == "top_k" else {"top_k": 1}
    given = {"repetition_penalty": 1.5, **OURS[name], **certain}
    with caplog.at_level(logging.WARNING):
        made = trainer(tokenizer, tmp_path, **given)
    assert made.rollout_func is sampled_rollout and "TRL's own generation" not in caplog.text
    found = own(made)
    assert found == generated_rollout(list(made.train_dataset["prompt"]), made)["completion_ids"]
    assert len(set(map(tuple, found))) > 3
    assert max(map(len, found)) == given.get("max_completion_length", 16)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return trainer(character_tokenizer("chatml", think_special=True), tmp_path_factory.mktemp("plain"))


_VALUES = {
    "temperature": st.sampled_from([0.3, 1.0, 2.0]),
    "top_p": st.sampled_from([0.2, 0.9, 1.0]),
    "top_k": st.sampled_from([0, 1, 7, 5000]),
    "min_p": st.sampled_from([None, 0.0, 0.3]),
    "repetition_penalty": st.sampled_from([0.8, 1.0, 1.7]),
}


@given(st.fixed_dictionaries({}, optional=_VALUES), st.fixed_dictionaries({}, optional=_VALUES), st.integers(0, 999))
@settings(max_examples=60)
def test_the_settings_in_use_are_those_of_generate(plain, asked, declared, seed):
    """Also where TRL's settings leave one to the model's own generation config, or `generation_kwargs` set it."""
    usual, settings = plain.generation_kwargs, dict(plain.generation_kwargs)
    config, model = plain.model.generation_config, plain.model
    plain.generation_kwargs = settings | asked
    model.generation_config = type(config)(**{**config.to_diff_dict(), **declared})
    merged, _ = model._prepare_generation_config(type(config)(**plain.generation_kwargs))
    processors = model._get_logits_processor(merged, input_ids_seq_length=4)
    params = sampling_params(plain)
    plain.generation_kwargs, model.generation_config = usual, config
    torch.manual_seed(seed)
    logits, ids = 2 * torch.randn(3, 50), torch.randint(0, 50, (3, 4))
    seen = torch.zeros(3, 50, dtype=torch.bool).scatter_(1, ids, True)
    assert torch.equal(processed(logits, params, seen).softmax(-1), processors(ids, logits).softmax(-1))


@pytest.mark.parametrize("name", TRLS)
def test_what_is_not_honoured_is_left_to_trl_and_named_once(tokenizer, tmp_path, caplog, name):
    with caplog.at_level(logging.WARNING):
        made = trainer(tokenizer, tmp_path, **TRLS[name])
    (line,) = [record.getMessage() for record in caplog.records if "TRL's own generation" in record.getMessage()]
    (field,) = {"use_transformers_continuous_batching"} if "transformers" in name else {name}
    assert field in line
    assert made.rollout_func is generated_rollout


@pytest.mark.parametrize(
    ("asked", "holds"),
    [
        ({"no_repeat_ngram_size": 1}, lambda ids: len(set(ids)) == len(ids)),
        ({"max_new_tokens": 2}, lambda ids: len(ids) <= 2),
        ({"suppress_tokens": list(range(30))}, lambda ids: min(ids) >= 30),
    ],
)
def test_generation_kwargs_take_effect(tokenizer, tmp_path, asked, holds):
    assert all(map(holds, own(trainer(tokenizer, tmp_path / "asked", generation_kwargs=asked))))
    assert not all(map(holds, own(trainer(tokenizer, tmp_path / "plain"))))
    model = make_model(tokenizer)
    if "max_new_tokens" not in asked:  # TRL sets it
        model.generation_config.update(**asked)
        declared = trainer(tokenizer, tmp_path / "declared", model=model)
        assert declared.rollout_func is generated_rollout and all(map(holds, own(declared)))


def test_generation_kwargs_that_are_honoured_stay_ours(tokenizer, tmp_path):
    made = trainer(tokenizer, tmp_path, generation_kwargs={"top_k": 1, "temperature": 0.5}, top_k=9)
    assert made.rollout_func is sampled_rollout
    assert (sampling_params(made).top_k, sampling_params(made).temperature) == (1, 0.5)


def test_trls_own_generation_ends_where_the_chat_does(tokenizer, tmp_path):
    made = trainer(tokenizer, tmp_path, generation_kwargs={"no_repeat_ngram_size": 0})
    assert made.rollout_func is generated_rollout
    assert made.generation_config.eos_token_id == made.eos_token_ids
    assert made.chat.end_token_id in made.generation_config.eos_token_id


def test_a_model_with_a_recurrent_state_trains_by_trls_own_generation(tokenizer, tmp_path, caplog):
    from transformers import Mamba2Config, Mamba2ForCausalLM

    torch.manual_seed(0)
    model = Mamba2ForCausalLM(
        Mamba2Config(
            vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, head_dim=8, num_heads=4, state_size=8,
            n_groups=2, pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id, bos_token_id=None,
        )
    )  # fmt: skip
    made = trainer(tokenizer, tmp_path, model=model, max_completion_length=4, max_steps=1)
    assert "Mamba2ForCausalLM has a recurrent state" in caplog.text
    made.train()
    assert made.state.global_step == 1


def test_an_adapter_is_sampled_like_its_model(tokenizer, tmp_path):
    peft = LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    made = trainer(tokenizer, tmp_path, peft_config=peft, top_k=1)
    assert made.rollout_func is sampled_rollout
    assert own(made) == generated_rollout(list(made.train_dataset["prompt"]), made)["completion_ids"]


def _add(a: int, b: int) -> int:
    """Add.

    Args:
        a: One.
        b: Other.

    Returns:
        The sum.
    """
    return a + b


def test_prompts_that_are_messages_are_rendered_by_trl_with_their_settings(tokenizer, tmp_path):
    messages = [{"prompt": [{"role": "user", "content": row["problem"]}]} for row in ROWS]
    made = trainer(tokenizer, tmp_path, rows=messages, chat_template_kwargs={"enable_thinking": False})
    assert made.rollout_func is None
    assert own(made) and trl_rollout(list(made.train_dataset["prompt"]), made)["prompt_ids"]
    with pytest.raises(LightR1Error, match="chat_template_kwargs: these prompts are rendered text"):
        trainer(tokenizer, tmp_path, chat_template_kwargs={"enable_thinking": False})


@pytest.mark.parametrize("needs", ["tools", "environment_factories", "_is_vlm"])
def test_tools_environments_and_images_are_left_to_trl(plain, monkeypatch, caplog, needs):
    monkeypatch.setattr(plain, needs, [_add])
    assert rollout_of(plain) is None
    assert {"_is_vlm": "images"}.get(needs, needs.removesuffix("ies")) in caplog.text
