"""What is scored packed is scored exactly, for every architecture and adapter; what is not says why."""

from __future__ import annotations

import warnings

import pytest
import torch
import transformers
from accelerate.utils import compile_regions
from huggingface_hub.errors import StrictDataclassError
from peft import PEFT_TYPE_TO_CONFIG_MAPPING, LoraConfig, PeftType, get_peft_model
from transformers import (
    CONFIG_MAPPING,
    AutoModelForCausalLM,
    DeepseekV3Config,
    Gemma3TextConfig,
    LlamaConfig,
    Phi3Config,
    Qwen2Config,
    Qwen2ForCausalLM,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from trl.trainer.utils import add_fused_lm_head

from light_r1.trainers.exactness import BY_TOKEN, small_config, unwrapped, why_padded
from light_r1.trainers.scoring import SharedPrefixModel
from tests.light_r1.trainers.test_scoring import batch
from tests.light_r1.trainers.test_segments import kernel  # noqa: F401 - a fixture

# Fields without which the default config of a type builds no model; published checkpoints have them.
NEEDED = {
    "deepseek_v2": {"num_experts_per_tok": 2, "topk_method": "greedy"},
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2},
    "hunyuan_v1_dense": {"head_dim": 128, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}},
    "hunyuan_v1_moe": {"head_dim": 128, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}},
    "ministral": {"head_dim": 128, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}},
    "nemotron": {"num_key_value_heads": 8, "head_dim": 128},
}


def small_model(model_type, attention="sdpa"):
    """Return a small model of a type with TRL's head, from the config that its class has by default."""
    kind = getattr(transformers, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[model_type])
    config = CONFIG_MAPPING[model_type](**NEEDED.get(model_type, {}))
    if kind.config_class is not type(config):
        config = config.get_text_config()
    config = small_config(config)
    config._attn_implementation = attention if kind._supports_sdpa else "eager"
    config._experts_implementation = "eager"  # others have no fp64
    torch.manual_seed(1)
    model = kind(config).double().eval()  # rounding of fp32 grows in deep layers of wide weights
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.5 / parameter.size(-1) ** 0.5)
    add_fused_lm_head(model)
    return model


def scores_and_gradients(model, caller, inputs):
    model.zero_grad()
    output = caller(**inputs, fused_lm_head=True, use_cache=False)
    weights = torch.linspace(-1, 1, output.log_probs.numel()).view_as(output.log_probs)
    (weights * output.log_probs).sum().backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return output.log_probs.detach(), gradients


def small_batch():
    """A batch of the tokens that a small model has, without the first three, which may mean something to it."""
    inputs = batch(seed=5, prompts_left=False)
    inputs["input_ids"] = 3 + inputs["input_ids"] % 60
    inputs["labels"] = torch.where(inputs["labels"] < 0, -100, 3 + inputs["labels"] % 60)
    return inputs


def found_exact(model):
    """Whether a model is scored packed. What it gives is that of the padded call either way."""
    inputs = small_batch()
    theirs = scores_and_gradients(model, model, inputs)
    scorer = SharedPrefixModel(model)
    ours = scores_and_gradients(model, scorer, inputs)
    exact = scorer.padded is None
    tolerance = 1e-5 if exact else 0.0
    torch.testing.assert_close(ours[0], theirs[0], atol=tolerance, rtol=tolerance, equal_nan=not exact)
    largest = max(float(gradient.abs().max()) for gradient in theirs[1].values())
    for name, gradient in theirs[1].items():
        # An expert that is given padding alone has a gradient of zeros there, and none here.
        found = ours[1].get(name, torch.zeros_like(gradient))
        torch.testing.assert_close(found, gradient, atol=tolerance * max(1, largest), rtol=0, equal_nan=not exact)
    return exact


# What published checkpoints set and default configs do not.
PUBLISHED = {
    "llama-3.1-8b": LlamaConfig(
        hidden_size=4096, num_attention_heads=32, num_key_value_heads=8, max_position_embeddings=131072,
        rope_parameters={
            "rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        },
    ),
    "phi-3-mini-128k": Phi3Config(
        hidden_size=3072, num_attention_heads=32, max_position_embeddings=131072, sliding_window=262144,
        original_max_position_embeddings=4096, pad_token_id=32000, rope_parameters={
            "rope_type": "longrope", "rope_theta": 1e4, "long_factor": [2.0] * 48, "short_factor": [1.0] * 48,
            "original_max_position_embeddings": 4096,
        },
    ),
    "qwen2.5-32b": Qwen2Config(
        hidden_size=5120, num_hidden_layers=64, num_attention_heads=40, num_key_value_heads=8, max_window_layers=64,
        sliding_window=131072, use_sliding_window=False, vocab_size=152064,
    ),
    "deepseek-r1": DeepseekV3Config(
        num_hidden_layers=61, first_k_dense_replace=3, n_routed_experts=256, n_group=8, topk_group=4,
        num_experts_per_tok=8, rope_parameters={
            "rope_type": "yarn", "rope_theta": 1e4, "factor": 40, "beta_fast": 32, "beta_slow": 1, "mscale": 1.0,
            "mscale_all_dim": 1.0, "original_max_position_embeddings": 4096,
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_settings_of_published_checkpoints_can_be_tried(name):
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(PUBLISHED[name])
    assert why_padded(model) is None


def test_a_small_copy_has_all_kinds_of_layers():
    experts = small_config(PUBLISHED["deepseek-r1"])
    kinds = {type(layer.mlp).__name__ for layer in AutoModelForCausalLM.from_config(experts).model.layers}
    assert kinds == {"DeepseekV3MLP", "DeepseekV3MoE"}
    windows = small_config(Gemma3TextConfig(num_hidden_layers=26))
    assert set(windows.layer_types) == {"sliding_attention", "full_attention"}
    assert windows.sliding_window == 4


# A common architecture, and why it is padded.
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
    "doge": "doge cannot be tried on a small copy: RuntimeError: The size of tensor",
    "gemma2": "gemma2 has soft-capped attention",
    "lfm3": "lfm3 has layers of conv",
    "bloom": "bloom brings attention of its own",
}


@pytest.mark.parametrize("model_type", COMMON)
def test_a_common_architecture_is_exact_or_padded_for_its_reason(model_type):
    model, reason = small_model(model_type), COMMON[model_type]
    assert (why_padded(model) or "").startswith(reason or "")
    assert found_exact(model) == (reason is None)


@pytest.mark.slow
def test_every_architecture_of_transformers_is_exact_or_padded(kernel):  # noqa: F811
    """Of 189 types 88 are exact, log-probs and gradients, by SDPA and by FlashAttention; the rest is called padded."""
    exact, padded, not_built = [], [], []
    for model_type, name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.items():
        if not getattr(transformers, name)._supports_attention_backend:
            padded.append(model_type)  # by that flag alone, as bloom is above
            continue
        try:
            model = small_model(model_type)
            model(input_ids=torch.ones(1, 2, dtype=torch.long), labels=torch.ones(1, 2).long(), fused_lm_head=True)
        except (AttributeError, ImportError, KeyError, RuntimeError, TypeError, ValueError, StrictDataclassError):
            not_built.append(model_type)  # by transformers or TRL: nothing of ours is called
            continue
        if why_padded(model) is not None:
            padded.append(model_type)
            continue
        assert found_exact(model), model_type
        exact.append(model_type)
        if not model._supports_flash_attn:
            continue
        inputs = small_batch()
        with torch.no_grad():
            expected = model(**inputs, fused_lm_head=True).log_probs
            model.config._attn_implementation = "flash_attention_3"
            found = SharedPrefixModel(model)(**inputs, fused_lm_head=True).log_probs
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5, msg=lambda text: f"{model_type}: {text}")  # noqa: B023
    counts = {"exact": len(exact), "padded": len(padded), "not built": len(not_built)}
    assert len(exact) >= 80 and len(padded) >= 80 and sum(counts.values()) == 189, counts
    assert kernel.calls


def adapted(adapter, **fields):
    """Return a model with an adapter of a type that does something."""
    needs = {
        "ADALORA": {"total_step": 9}, "VBLORA": {"vector_length": 8, "topk": 2, "num_vectors": 8},
        "FOURIERFT": {"n_frequency": 8}, "WAVEFT": {"n_frequency": 8}, "OFT": {"oft_block_size": 4},
        "RANDLORA": {"r": 4}, "SHIRA": {"r": 2}, "C3A": {"block_size": 4}, "MISS": {"r": 4}, "ROAD": {"group_size": 8},
        "TRAINABLE_TOKENS": {"token_indices": list(range(3, 60))}, "LN_TUNING": {"target_modules": ["norm"]},
    }  # fmt: skip
    torch.manual_seed(0)
    model = small_model("qwen2")
    needed = {"task_type": "CAUSAL_LM", "target_modules": ["o_proj"], **needs.get(adapter.value, {}), **fields}
    if adapter == PeftType.TRAINABLE_TOKENS:
        needed["target_modules"] = ["embed_tokens"]
    model = get_peft_model(model, PEFT_TYPE_TO_CONFIG_MAPPING[adapter](**needed)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape))
    return model


@pytest.mark.parametrize("adapter", sorted(BY_TOKEN))
def test_an_adapter_that_is_scored_packed_is_exact(adapter):
    with warnings.catch_warnings(action="ignore"):
        model = adapted(PeftType[adapter])
    assert found_exact(model)
    inputs = small_batch()
    with torch.no_grad():
        with_it = model(**inputs, fused_lm_head=True).log_probs
        with model.disable_adapter():
            without = model(**inputs, fused_lm_head=True).log_probs
    assert (with_it - without).abs().max() > 1e-3, "the adapter does nothing, so nothing was seen"


def test_an_adapter_that_looks_along_the_row_is_padded():
    model = adapted(PeftType.LORA, alora_invocation_tokens=[5, 6])
    assert why_padded(model) == "a LORA adapter with alora_invocation_tokens looks along the row"
    assert not found_exact(model)
    for adapter in set(PeftType) - {PeftType[name] for name in BY_TOKEN}:
        model.peft_config["default"].peft_type = adapter
        assert why_padded(model) == f"{adapter.value} adapters are not known to leave tokens apart"


class _Remote(Qwen2ForCausalLM):
    _auto_class = "AutoModelForCausalLM"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: small_model("mistral", "eager"), "mistral has a sliding window"),
        (lambda: small_model("qwen2", "flex_attention"), "flex_attention attention is not computed by segments"),
        (lambda: _Remote(small_config(Qwen2Config())), "qwen2 brings attention of its own"),
    ],
)
def test_a_setting_that_looks_along_the_row_is_a_reason(make, reason):
    assert why_padded(make()).startswith(reason)


def test_noise_that_is_scaled_by_the_length_of_a_row_is_a_reason():
    model = small_model("qwen2")
    model.get_input_embeddings().neftune_noise_alpha = 5.0  # as `Trainer` does while it trains
    assert why_padded(model) == "NEFTune scales its noise by the length of a row"
    del model.get_input_embeddings().neftune_noise_alpha
    assert why_padded(model) is None


def test_the_trial_calls_no_model_and_draws_no_random_number():
    model = small_model("llama").bfloat16()
    model.config.rope_parameters["rope_theta"] = 4321.0  # a config that was not tried yet
    model.register_forward_pre_hook(lambda *args: pytest.fail("the model was called"))
    before = torch.random.get_rng_state()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert why_padded(model) is None
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.is_grad_enabled()


def test_every_wrapper_is_taken_off(tmp_path):
    torch.distributed.init_process_group("gloo", f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        base = small_model("qwen2")
        lora = get_peft_model(base, LoraConfig(target_modules="all-linear"))
        ddp = torch.nn.parallel.DistributedDataParallel(lora)
        assert unwrapped(base) == (base, None)
        for wrapped in (
            lora,
            ddp,
            torch.compile(lora),
            torch.compile(ddp),
            torch.nn.parallel.DistributedDataParallel(torch.compile(lora)),
            compile_regions(lora, backend="eager"),
            torch.nn.DataParallel(lora),
        ):
            found, adapters = unwrapped(wrapped)
            assert found is base
            assert adapters.peft_config is lora.peft_config
    finally:
        torch.distributed.destroy_process_group()
