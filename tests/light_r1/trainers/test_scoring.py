"""Packed scoring is padded scoring: same log-probs, entropies and gradients, without padding and repeated prompts."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer
from trl.trainer.utils import add_fused_lm_head

from light_r1.errors import LightR1Error
from light_r1.trainers import scoring
from light_r1.trainers.exactness import why_padded
from light_r1.trainers.scoring import SharedPrefixModel
from tests.conftest import make_model

FIELDS = ("log_probs", "entropy", "log_sum_sq_probs", "mean_logits", "is_top1")
SIZES = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.2,
}
MODELS = {
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES)),
    "qwen2-tied": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES, tie_word_embeddings=True)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=8)),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES)),
    "mistral-window": lambda: MistralForCausalLM(MistralConfig(**SIZES, sliding_window=5)),
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(
            vocab_size=97, n_positions=64, n_embd=32, n_layer=2, n_head=4, resid_pdrop=0, attn_pdrop=0, embd_pdrop=0
        )
    ),
}


def make(name, attention="sdpa", temperature=0.7):
    torch.manual_seed(0)
    model = MODELS[name]()
    model.set_attn_implementation(attention)
    add_fused_lm_head(model, temperature=temperature, outputs=FIELDS)
    return model.eval()


def batch(seed=0, groups=3, rows=3, prompts_left=True):
    """A padded batch as TRL's GRPO makes it: prompts padded on the left, completions on the right, rows mixed."""
    rng = random.Random(seed)
    pairs = []
    for _ in range(groups):
        prompt = [rng.randrange(97) for _ in range(rng.randrange(1, 9))]
        pairs += [(prompt, [rng.randrange(97) for _ in range(rng.randrange(0, 12))]) for _ in range(rows)]
    rng.shuffle(pairs)
    left = max(len(prompt) for prompt, _ in pairs) if prompts_left else 0
    ids, mask, labels = [], [], []
    for prompt, completion in pairs:
        pad = left - len(prompt) if prompts_left else 0
        ids.append([0] * pad + prompt + completion)
        mask.append([0] * pad + [1] * (len(prompt) + len(completion)))
        labels.append([-100] * (pad + len(prompt)) + completion)
    width = max(map(len, ids))
    full = [
        torch.tensor([r + [fill] * (width - len(r)) for r in rows_])
        for rows_, fill in ((ids, 0), (mask, 0), (labels, -100))
    ]
    return dict(zip(("input_ids", "attention_mask", "labels"), full, strict=True))


def row_by_row(model, inputs):
    """The naive reference: every row alone, without padding, plain logits."""
    size = (inputs["input_ids"].size(0), inputs["input_ids"].size(1) - 1)
    log_probs, entropy = torch.zeros(size), torch.zeros(size)
    for b in range(size[0]):
        columns = inputs["attention_mask"][b].nonzero().flatten()
        logits = model(input_ids=inputs["input_ids"][b][columns][None]).logits[0] / 0.7
        every = logits.log_softmax(-1)
        for j in range(1, len(columns)):
            label = int(inputs["labels"][b, columns[j]])
            if label != -100:
                log_probs[b, columns[j] - 1] = every[j - 1, label]
                entropy[b, columns[j] - 1] = -(every[j - 1].exp() * every[j - 1]).sum()
    return log_probs, entropy


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("prompts_left", [True, False])
def test_packed_scores_are_those_of_each_row_alone(name, attention, prompts_left):
    model = make(name, attention)
    inputs = batch(prompts_left=prompts_left)
    with torch.no_grad():
        expected, entropy = row_by_row(model, inputs)
        found = SharedPrefixModel(model)(**inputs, fused_lm_head=True, use_cache=False)
    torch.testing.assert_close(found.log_probs, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.entropy, entropy, atol=1e-5, rtol=0)


def test_every_field_is_that_of_the_padded_call():
    model = make("qwen2")
    inputs = batch(prompts_left=False)
    inputs["labels"][4, -3] = -100  # a hole in a completion
    with torch.no_grad():
        padded = model(**inputs, fused_lm_head=True, use_cache=False)
        packed = SharedPrefixModel(model)(**inputs, fused_lm_head=True, use_cache=False)
    for field in (*FIELDS, "label_mask"):
        torch.testing.assert_close(packed[field], padded[field], atol=1e-5, rtol=0)
    assert abs(packed.loss - padded.loss) < 1e-5


@pytest.mark.parametrize("name", MODELS)
def test_bf16_by_autocast_or_by_weights_is_as_near_as_the_padded_call(name):
    model, inputs = make(name), batch(prompts_left=False)
    with torch.no_grad():
        exact, _ = row_by_row(model, inputs)
        for calls_to in (model, SharedPrefixModel(model)):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                found = calls_to(**inputs, fused_lm_head=True).log_probs
            assert 0 < (found - exact).abs().max() < 0.2
        half = SharedPrefixModel(model.bfloat16())(**inputs, fused_lm_head=True).log_probs
    assert 0 < (half - exact).abs().max() < 0.2


def weighted_gradients(model, caller, inputs):
    model.zero_grad()
    output = caller(**inputs, fused_lm_head=True, use_cache=False)
    weights = torch.linspace(-1, 1, output.log_probs.numel()).view_as(output.log_probs)
    (weights * output.log_probs + 0.1 * output.entropy).sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", ["qwen2-tied", "mistral-window", "gpt2"])
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("lora", [False, True])
def test_gradients_are_those_of_the_padded_call(name, checkpointing, lora):
    model = make(name)
    if lora:
        torch.manual_seed(1)
        model = get_peft_model(model, LoraConfig(target_modules="all-linear", init_lora_weights=False))
    if checkpointing:
        model.train()  # transformers checkpoints in training mode only; these models have no dropout
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    # Padding on the left shifts GPT-2's absolute positions in the padded call, not in the packed one.
    inputs = batch(seed=3, prompts_left=name != "gpt2")
    expected = weighted_gradients(model, model, inputs)
    found = weighted_gradients(model, SharedPrefixModel(model), inputs)
    assert found.keys() == expected.keys()
    for key in expected:
        torch.testing.assert_close(found[key], expected[key], atol=2e-5, rtol=1e-4)


def test_fully_masked_rows_give_zeros_with_a_graph():
    model = make("qwen2")
    inputs = batch()
    inputs["labels"][:] = -100
    output = SharedPrefixModel(model)(**inputs, fused_lm_head=True)
    assert not output.log_probs.any()
    output.log_probs.sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in model.parameters())


def test_plain_attention_is_untouched_after_the_table_is_wrapped():
    model = make("qwen2")
    ids = batch()["input_ids"]
    before = model(input_ids=ids).logits
    SharedPrefixModel(model)
    torch.testing.assert_close(model(input_ids=ids).logits, before, atol=0, rtol=0)


def test_other_calls_go_to_the_model():
    model = make("qwen2")
    ids = batch()["input_ids"]
    torch.testing.assert_close(SharedPrefixModel(model)(input_ids=ids).logits, model(input_ids=ids).logits)


def test_models_that_need_padded_rows_are_called_as_they_are_and_it_is_said_once(caplog):
    model = make("mistral-window", "eager")
    assert "sliding window" in why_padded(model)
    inputs = batch()
    scoring._tell.cache_clear()
    with caplog.at_level("INFO", logger="light_r1"):
        found = [SharedPrefixModel(model)(**inputs, fused_lm_head=True).log_probs for _ in range(2)]
    assert torch.equal(found[0], model(**inputs, fused_lm_head=True).log_probs)
    assert [record.getMessage() for record in caplog.records] == [
        f"rows are padded, and prompts repeated: {why_padded(model)}"
    ]
    with pytest.raises(LightR1Error, match="expected a transformers model"):
        SharedPrefixModel(torch.nn.Linear(1, 1))


def gradients_of_a_rank(rank, world, folder):
    torch.distributed.init_process_group(
        "gloo", f"file://{folder}/store", rank=rank, world_size=world, timeout=timedelta(seconds=120)
    )
    model = make("qwen2-tied")
    wrapped = torch.nn.parallel.DistributedDataParallel(model)
    inputs = {name: values[rank::world] for name, values in batch(seed=7, groups=2, rows=4).items()}
    SharedPrefixModel(wrapped)(**inputs, fused_lm_head=True).log_probs.sum().backward()
    if rank == 0:
        torch.save({name: p.grad for name, p in model.named_parameters()}, folder / "grads.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("world", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_processes_under_ddp_have_the_gradient_of_a_plain_model(tmp_path, world, monkeypatch):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    if world == 1:
        gradients_of_a_rank(0, 1, tmp_path)
    else:
        torch.multiprocessing.spawn(gradients_of_a_rank, (world, tmp_path), nprocs=world)
    model = make("qwen2-tied")
    model(**batch(seed=7, groups=2, rows=4), fused_lm_head=True).log_probs.sum().backward()
    found = torch.load(tmp_path / "grads.pt")
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(world * found[name], parameter.grad, atol=1e-4, rtol=1e-4)  # DDP averages


@pytest.fixture(scope="module")
def start(tokenizer, tmp_path_factory):
    """Folders of a dense model and of one with experts; TRL loads its references from there."""
    folder = tmp_path_factory.mktemp("start")
    make_model(tokenizer).save_pretrained(folder / "dense")
    torch.manual_seed(0)
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "output_router_logits": True}
    sizes = {**SIZES, "vocab_size": len(tokenizer), "num_hidden_layers": 2}
    moe = Qwen3MoeForCausalLM(Qwen3MoeConfig(**sizes, **experts, router_aux_loss_coef=0.5, pad_token_id=0))
    moe.save_pretrained(folder / "moe")
    return folder


class PackedSFT(SFTTrainer):
    def compute_loss(self, model, *args, **options):
        return super().compute_loss(SharedPrefixModel(model), *args, **options)


class PackedDPO(DPOTrainer):
    def compute_ref_log_probs(self, model, inputs):
        return super().compute_ref_log_probs(SharedPrefixModel(model), inputs)

    def _compute_loss(self, model, inputs, return_outputs):
        return super()._compute_loss(SharedPrefixModel(model), inputs, return_outputs)


class PackedGRPO(GRPOTrainer):
    def _get_per_token_logps_and_entropies(self, model, *args, **options):
        return super()._get_per_token_logps_and_entropies(SharedPrefixModel(model), *args, **options)


def distinct(completion_ids, **_):
    return [float(len(set(ids))) for ids in completion_ids]


PAIRS = [
    {"prompt": f"question {i}", "chosen": "x" * (5 + 7 * i % 60), "rejected": "z" * (3 + 11 * i % 50)}
    for i in range(8)
]
PROMPTS = [{"prompt": pair["prompt"]} for pair in PAIRS]
TEXTS = [{"prompt": pair["prompt"], "completion": pair["chosen"]} for pair in PAIRS]
TRAINERS = {
    "sft": (SFTTrainer, PackedSFT, SFTConfig, TEXTS, {}),
    "dpo": (DPOTrainer, PackedDPO, DPOConfig, PAIRS, {"loss_type": "nca_pair", "precompute_ref_log_probs": True}),
    "grpo": (
        GRPOTrainer, PackedGRPO, GRPOConfig, PROMPTS,
        {"beta": 0.1, "num_iterations": 2, "num_generations": 4, "max_completion_length": 24},
    ),
}  # fmt: skip
COMPILED = {"torch_compile": True, "torch_compile_backend": "eager", "gradient_checkpointing": False, "max_steps": 1}


@pytest.mark.parametrize("name", TRAINERS)
@pytest.mark.parametrize(
    ("model", "settings", "adapter", "reason"),
    [
        pytest.param("dense", {}, None, None, id="full"),
        pytest.param("dense", {"gradient_checkpointing": False}, {}, None, id="lora", marks=pytest.mark.slow),
        pytest.param("dense", COMPILED, None, None, id="compiled", marks=pytest.mark.slow),
        pytest.param("moe", {}, None, "the loss that balances a router's load counts", id="router"),
        pytest.param("dense", {}, {"alora_invocation_tokens": "on"}, "a LORA adapter with alora", id="alora"),
        pytest.param("dense", {"neftune_noise_alpha": 9.0}, None, "NEFTune", id="neftune", marks=pytest.mark.slow),
    ],
)
def test_trl_trainers_do_the_same_through_the_stand_in(
    tokenizer, start, tmp_path, caplog, name, model, settings, adapter, reason
):
    theirs, ours, config, rows, own = TRAINERS[name]
    fields = {
        "max_steps": 2,
        "per_device_train_batch_size": 4,
        "use_cpu": True,
        "bf16": False,
        "logging_steps": 1,
        "report_to": [],
        "save_strategy": "no",
        "learning_rate": 1e-3,
        "disable_tqdm": True,
        "model_init_kwargs": {"dtype": "float32"},
        **own,
        **settings,
    }
    options = {}
    if adapter is not None:
        invoked = {key: tokenizer.encode(text) for key, text in adapter.items()}
        options["peft_config"] = LoraConfig(
            r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM", **invoked
        )
    if name == "grpo":
        options["reward_funcs"] = [distinct]
    scoring._tell.cache_clear()
    torch._dynamo.reset()
    logs = []
    with caplog.at_level("INFO", logger="light_r1"):
        for trainer_class in (theirs, ours):
            trainer = trainer_class(
                str(start / model),
                args=config(str(tmp_path), **fields),
                train_dataset=Dataset.from_list(rows),
                processing_class=tokenizer,
                **options,
            )
            trainer.train()
            logs.append(trainer.state.log_history)
    told = [record.getMessage() for record in caplog.records if record.name == scoring.__name__]
    assert len(told) == (reason is not None)
    assert all(line.startswith(f"rows are padded, and prompts repeated: {reason}") for line in told)
    assert logs[0][0]["grad_norm"] > 0
    for their, our in zip(*logs, strict=True):
        # Of margins that are 0 but for rounding, which are above 0 says nothing.
        left_out = ("train_", "step_time", "rewards/accuracies")
        compared = [key for key in their if not key.startswith(left_out)]
        assert [our[key] for key in compared] == pytest.approx([their[key] for key in compared], abs=2e-4)
