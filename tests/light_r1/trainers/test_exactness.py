"""What is scored packed is scored exactly, for every architecture and adapter; what is not says why."""

from __future__ import annotations

import warnings

import pytest
import torch
import transformers
from peft import PEFT_TYPE_TO_CONFIG_MAPPING, LoraConfig, PeftType, get_peft_model
from transformers import CONFIG_MAPPING, Qwen2Config, Qwen2ForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from trl.trainer.utils import add_fused_lm_head

from light_r1.trainers.exactness import BY_TOKEN, small_config, unwrapped, why_padded
from light_r1.trainers.scoring import SharedPrefixModel
from tests.light_r1.trainers.test_scoring import batch

# Fields without which the default config of a type builds no model; published checkpoints have them.
NEEDED = {
    "deepseek_v2": {"num_experts_per_tok": 2, "topk_method": "greedy"},
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2},
    "hunyuan_v1_dense": {"head_dim": 16, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}},
    "hunyuan_v1_moe": {"head_dim": 16, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}},
    "ministral": {"head_dim": 16, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}},
    "nemotron": {"num_key_value_heads": 8, "head_dim": 16},
}


def small_model(model_type, attention="sdpa"):
    """Return a small model of a type with TRL's head, from the config that its class has by default."""
    kind = getattr(transformers, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[model_type])
    config = CONFIG_MAPPING[model_type](**NEEDED.get(model_type, {}))
    if kind.config_class is not type(config):
        config = config.get_text_config()
    config = small_config(config)
    config._attn_implementation = attention if kind._supports_sdpa else "eager"
    torch.manual_seed(1)
    model = kind(config).float().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.1)
    add_fused_lm_head(model)
    return model


def scores_and_gradients(model, caller, inputs):
    model.zero_grad()
    output = caller(**inputs, fused_lm_head=True, use_cache=False)
    weights = torch.linspace(-1, 1, output.log_probs.numel()).view_as(output.log_probs)
    (weights * output.log_probs).sum().backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return output.log_probs.detach(), gradients


def found_exact(model, vocabulary=60):
    """Whether a model is scored packed. What it gives is that of the padded call either way."""
    inputs = batch(seed=5, prompts_left=False)
    inputs["input_ids"] = 3 + inputs["input_ids"] % vocabulary
    theirs = scores_and_gradients(model, model, inputs)
    scorer = SharedPrefixModel(model)
    ours = scores_and_gradients(model, scorer, inputs)
    exact = scorer.padded is None
    tolerance = 1e-5 if exact else 0.0
    torch.testing.assert_close(ours[0], theirs[0], atol=tolerance, rtol=0)
    assert ours[1].keys() == theirs[1].keys()
    largest = max(float(gradient.abs().max()) for gradient in theirs[1].values())
    for name, gradient in theirs[1].items():
        torch.testing.assert_close(ours[1][name], gradient, atol=tolerance * max(1, largest), rtol=0)
    return exact


COMMON = {
    "qwen2": None,
    "qwen3_moe": None,
    "llama": None,
    "mistral": None,
    "gemma3_text": None,
    "deepseek_v3": None,
    "gpt2": None,
    "bert": "bert looks along the row",
    "recurrent_gemma": "recurrent_gemma looks along the row",
    "doge": "doge cannot be tried",
    "llama4_text": "layers of chunked_attention",
    "qwen3_next": "qwen3_next",
}


@pytest.mark.parametrize("model_type", COMMON)
def test_a_common_architecture_is_exact_or_padded_for_a_reason(model_type):
    model, reason = small_model(model_type), COMMON[model_type]
    assert found_exact(model) == (reason is None)
    assert (why_padded(model) or "").startswith("") if reason is None else reason in why_padded(model)
