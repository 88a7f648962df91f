from __future__ import annotations

from collections import Counter
from math import inf, nan
from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    CLIPVisionConfig,
    GenerationConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
)
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, AttentionInterface

from light_r1.errors import LightR1Error, StageError
from light_r1.recipe.bounds import limit_of
from light_r1.rollouts.hf import HFSampler, choose, processed
from light_r1.rollouts.sampler import Request, SamplingParams
from tests.conftest import make_model

PROMPTS = [(5, 6, 7), (8, 9), (10, 11, 12, 13, 14, 15), (5, 6, 7, 8)]


def requests(n: int) -> list[Request]:
    return [Request(f"p{p}", i, prompt) for p, prompt in enumerate(PROMPTS) for i in range(n)]


def sampler(model, tokenizer, batch_size: int) -> HFSampler:
    return HFSampler(
        model,
        eos_token_ids=[tokenizer.eos_token_id],
        pad_token_id=tokenizer.pad_token_id,
        batch_size=batch_size,
    )


def test_greedy_equals_generate(tiny_model, tokenizer):
    completions = sampler(tiny_model, tokenizer, 3).sample(requests(1), SamplingParams(24, temperature=0))
    for completion in completions:
        prompt = torch.tensor([completion.request.prompt_ids])
        expected = tiny_model.generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=24, do_sample=False
        )[0, prompt.shape[1] :].tolist()
        assert completion.completion_ids == expected


def test_a_sample_does_not_depend_on_its_batch(tiny_model, tokenizer):
    params = SamplingParams(40, temperature=1.0, seed=3)
    together = sampler(tiny_model, tokenizer, 16).sample(requests(4), params)
    apart = sampler(tiny_model, tokenizer, 3).sample(list(reversed(requests(4))), params)
    assert [c.completion_ids for c in together] == [c.completion_ids for c in reversed(apart)]


def test_rows_see_nothing_of_those_whose_place_they_take(tiny_model, tokenizer):
    random = Random(0)
    prompts = [tuple(random.randrange(5, 60) for _ in range(random.randrange(2, 70))) for _ in range(12)]
    asked = [Request(f"p{p}", i, prompt) for p, prompt in enumerate(prompts) for i in range(3)]
    params = SamplingParams(150, temperature=1.3, seed=5)
    crowded, alone = (sampler(tiny_model, tokenizer, size).sample(asked, params) for size in (5, 1))
    assert [one.completion_ids for one in crowded] == [one.completion_ids for one in alone]
    lengths = [len(one.completion_ids) for one in alone]
    assert min(lengths) < 20 and max(lengths) == 150, "rows ended neither early nor behind a growth of the cache"


def test_other_seeds_and_indices_give_other_samples(tiny_model, tokenizer):
    one = sampler(tiny_model, tokenizer, 8).sample(requests(3), SamplingParams(20, temperature=1.0, seed=1))
    two = sampler(tiny_model, tokenizer, 8).sample(requests(3), SamplingParams(20, temperature=1.0, seed=2))
    assert len({tuple(c.completion_ids) for c in one[:3]}) == 3
    assert all(a.completion_ids != b.completion_ids for a, b in zip(one, two, strict=True))


def test_length_limit_and_end_are_told_apart(tiny_model, tokenizer):
    completions = sampler(tiny_model, tokenizer, 64).sample(requests(60), SamplingParams(30, temperature=1.5))
    ended = [c for c in completions if c.finished]
    cut = [c for c in completions if not c.finished]
    assert ended
    assert cut
    assert all(c.completion_ids[-1] == tokenizer.eos_token_id for c in ended)
    assert all(len(c.completion_ids) == 30 and tokenizer.eos_token_id not in c.completion_ids for c in cut)


def test_draws_follow_the_distribution():
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]])
    uniforms = (torch.arange(20_000) + 0.5) / 20_000
    drawn = Counter(choose(logits.expand(20_000, -1), uniforms, SamplingParams(1, temperature=1.0)).tolist())
    expected = torch.softmax(logits[0], -1)
    assert all(abs(drawn[i] / 20_000 - float(expected[i])) < 1e-3 for i in range(4))


@pytest.mark.parametrize(
    ("params", "allowed"),
    [
        (SamplingParams(1, temperature=1.0, top_k=2), {0, 1}),
        (SamplingParams(1, temperature=1.0, top_p=0.5), {0}),
        (SamplingParams(1, temperature=1.0, top_p=0.7), {0, 1}),
        (SamplingParams(1, temperature=0), {0}),
    ],
)
def test_nucleus_and_top_k_cut_the_tail(params, allowed):
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]]).expand(1000, -1)
    uniforms = (torch.arange(1000) + 0.5) / 1000
    assert set(choose(logits, uniforms, params).tolist()) == allowed


SMALL = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 256, "initializer_range": 0.3,
    "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2,
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("mistral", {"sliding_window": 8}),
        ("olmo3", {"sliding_window": 8}),
        ("gpt_oss", {"sliding_window": 8, "num_local_experts": 4, "num_experts_per_tok": 2}),
        ("llama4_text", {"attention_chunk_size": 8, "num_local_experts": 2, "intermediate_size_mlp": 64}),
    ],
)
def test_layers_with_a_window_sample_what_generate_does(kind, fields):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **SMALL, **fields)).eval()
    check_greedy(model)


def test_the_text_part_of_a_model_that_takes_images_samples_what_generate_does():
    torch.manual_seed(0)
    vision = CLIPVisionConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    config = LlavaConfig(text_config=AutoConfig.for_model("llama", **SMALL).to_dict(), vision_config=vision.to_dict())
    assert "num_hidden_layers" not in config.to_dict()
    check_greedy(LlavaForConditionalGeneration(config).eval())


def check_greedy(model) -> None:
    random = Random(0)
    prompts = [tuple(random.randrange(3, 60) for _ in range(length)) for length in (3, 29, 12, 17, 2, 22)]
    asked = [Request(str(index), 0, prompt) for index, prompt in enumerate(prompts)]
    made = HFSampler(model, eos_token_ids=[1], pad_token_id=0, batch_size=4)
    found = [one.completion_ids for one in made.sample(asked, SamplingParams(32, temperature=0))]
    assert found == [generated(model, prompt, max_new_tokens=32) for prompt in prompts]
    assert len(set(map(tuple, found))) == len(found)


def generated(model, prompt, **options) -> list[int]:
    ids = torch.tensor([prompt])
    options = {"do_sample": False, "eos_token_id": 1, "pad_token_id": 0, **options}
    return model.generate(ids, attention_mask=torch.ones_like(ids), **options)[0, len(prompt) :].tolist()


@pytest.mark.parametrize(
    ("kind", "fields", "reason"),
    [
        ("mamba", {}, "MambaForCausalLM has a recurrent state"),
        ("rwkv", {}, "RwkvForCausalLM has a recurrent state"),
        ("minimax", {}, r"MiniMaxForCausalLM has caches of type \['LinearAttentionLayer'\]"),
        ("t5", {"d_model": 32, "d_kv": 8, "d_ff": 32}, "T5ForConditionalGeneration has an encoder"),
    ],
)
def test_models_of_another_kind_are_refused_with_the_way_out(kind, fields, reason):
    config = AutoConfig.for_model(kind, **SMALL, **fields)
    model = (AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM).from_config(config)
    with pytest.raises(LightR1Error, match=f"{reason}. Use the backend vllm"):
        HFSampler(model, eos_token_ids=[1], pad_token_id=0)


torch.manual_seed(0)
QWEN = AutoModelForCausalLM.from_config(AutoConfig.for_model("qwen2", **SMALL)).eval()


@st.composite
def _draws(draw):
    share = st.floats(0.01, 0.99)
    params = SamplingParams(
        1,
        temperature=draw(st.sampled_from([0.1, 0.7, 1.0, 3.0])),
        top_p=draw(st.one_of(st.just(1.0), share)),
        top_k=draw(st.sampled_from([None, 0, 1, 5, 40, 41, 1000])),
        min_p=draw(st.one_of(st.none(), st.sampled_from([0.0, 1.0]), share)),
        repetition_penalty=draw(st.sampled_from([0.5, 1.0, 1.3, 10.0])),
    )
    return params, draw(st.integers(0, 10**6)), draw(st.booleans())


@given(_draws())
@settings(max_examples=150)
def test_tokens_are_drawn_from_what_transformers_processors_leave(drawn):
    params, seed, ties = drawn
    torch.manual_seed(seed)
    rows, vocabulary, width = 5, 40, 7
    logits = 3 * torch.randn(rows, vocabulary)
    if ties:
        logits = logits.round()
    ids = torch.randint(1, vocabulary, (rows, width))
    mask = torch.arange(width) >= torch.randint(0, width - 1, (rows, 1))
    ids = torch.where(mask, ids, 0)
    settings = {name: getattr(params, name) for name in ("temperature", "top_p", "min_p", "repetition_penalty")}
    config = GenerationConfig(do_sample=True, top_k=params.top_k or 0, **settings)
    processors = QWEN._get_logits_processor(
        config, input_ids_seq_length=width, model_kwargs={"attention_mask": mask.long()}
    )
    expected = torch.softmax(processors(ids, logits.clone()), -1)
    seen = torch.zeros(rows, vocabulary, dtype=torch.bool)
    for row, column in mask.nonzero().tolist():
        seen[row, ids[row, column]] = True
    found = torch.softmax(processed(logits, params, seen), -1)
    assert torch.equal(found, expected)
    # Evenly spaced uniforms hit each token as often as it is likely, and one without mass never.
    many = 997
    uniforms = (torch.arange(many) + 0.5) / many
    for row in range(rows):
        alike = logits[row].expand(many, -1), uniforms, params, seen[row].expand(many, -1)
        shares = choose(*alike).bincount(minlength=vocabulary) / many
        assert (shares - expected[row]).abs().max() <= 1.01 / many
        assert not shares[expected[row] == 0].any()


@pytest.mark.parametrize("batch_size", [2, 7])
def test_a_repetition_penalty_follows_each_row_through_the_batch(batch_size):
    random = Random(1)
    prompts = [tuple(random.randrange(3, 60) for _ in range(random.randrange(2, 30))) for _ in range(7)]
    asked = [Request(str(index), 0, prompt) for index, prompt in enumerate(prompts)]
    params = SamplingParams(24, temperature=0, repetition_penalty=1.4)
    found = HFSampler(QWEN, eos_token_ids=[1], pad_token_id=0, batch_size=batch_size).sample(asked, params)
    expected = [generated(QWEN, prompt, max_new_tokens=24, repetition_penalty=1.4) for prompt in prompts]
    assert [one.completion_ids for one in found] == expected
    assert expected != [generated(QWEN, prompt, max_new_tokens=24) for prompt in prompts]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_tokens", 0), ("max_tokens", -3), ("temperature", -1.0), ("temperature", nan),
        ("top_p", 0.0), ("top_p", 1.5), ("top_p", nan), ("top_k", -1), ("min_p", -0.1), ("min_p", 1.1),
        ("repetition_penalty", 0.0), ("repetition_penalty", -1.0), ("repetition_penalty", nan),
    ],
)  # fmt: skip
def test_values_out_of_range_are_refused_here_and_in_recipes(field, value):
    with pytest.raises(LightR1Error, match=rf"SamplingParams.{field}: got {value}, expected a number"):
        SamplingParams(**{"max_tokens": 1, field: value})
    assert not limit_of("SampleOptions", field).holds(value)


@pytest.mark.parametrize("wrong", [nan, inf])
def test_logits_that_are_no_numbers_stop_with_their_count(tokenizer, wrong):
    model = make_model(tokenizer, tied=False).train()
    with torch.no_grad():
        model.get_input_embeddings().weight[PROMPTS[2][1]] = wrong  # a token of this prompt alone
    asked = [one for one in requests(2) if one.prompt_id in ("p1", "p2")]
    with pytest.raises(StageError, match=r"NaN or infinite logits for 2 of the 4 completions.*bfloat16"):
        sampler(model, tokenizer, 8).sample(asked, SamplingParams(1, temperature=1.0))
    with pytest.raises(StageError, match="NaN or infinite logits"):
        sampler(model, tokenizer, 3).sample(asked, SamplingParams(30, temperature=0))
    assert model.training, "an exception leaves the model in eval mode"


def test_only_prompts_are_encoded_by_flash_attention(tiny_model, tokenizer, monkeypatch):
    calls: list[tuple[int, int]] = []

    def flash(module, query, key, value, attention_mask, **kwargs):
        """What FlashAttention computes, from the mask `[rows, positions]` that transformers gives it."""
        new, all_ = query.shape[2], key.shape[2]
        calls.append((new, all_))
        seen = torch.ones(new, all_, dtype=torch.bool).tril(all_ - new)
        mask = (seen if attention_mask is None else seen & attention_mask[:, None, None, :].bool()).expand(
            len(query), 1, new, all_
        )
        return ALL_ATTENTION_FUNCTIONS["sdpa"](module, query, key, value, mask, **kwargs)

    params = SamplingParams(40, temperature=1.0, seed=3)
    expected = sampler(tiny_model, tokenizer, 3).sample(requests(4), params)
    monkeypatch.setitem(AttentionInterface._global_mapping, "flash_attention_2", flash)
    tiny_model.config._attn_implementation = "flash_attention_2"
    found = sampler(tiny_model, tokenizer, 3).sample(requests(4), params)
    assert [one.completion_ids for one in found] == [one.completion_ids for one in expected]
    assert calls and all(new == all_ for new, all_ in calls), "a decoding step went through FlashAttention"
    assert tiny_model.config._attn_implementation == "flash_attention_2"
    tiny_model._supports_sdpa = False  # as of models with a bound on their attention scores
    again = sampler(tiny_model, tokenizer, 3).sample(requests(4), params)
    assert [one.completion_ids for one in again] == [one.completion_ids for one in expected]
    assert any(new < all_ for new, all_ in calls)


def test_training_mode_is_given_back(tiny_model, tokenizer):
    tiny_model.train()
    sampler(tiny_model, tokenizer, 4).sample(requests(1), SamplingParams(2, temperature=1.0))
    assert tiny_model.training


def test_prompts_are_encoded_once_and_finished_rows_make_room(tiny_model, tokenizer):
    asked = requests(30)
    calls: list[tuple[int, int]] = []
    hook = tiny_model.register_forward_pre_hook(
        lambda _, args, inputs: calls.append(tuple(inputs["input_ids"].shape)), with_kwargs=True
    )
    found = sampler(tiny_model, tokenizer, 32).sample(asked, SamplingParams(300, temperature=1.5))
    hook.remove()
    encoded = [rows for rows, width in calls if width > 1]
    decoded = [rows for rows, width in calls if width == 1]
    assert sum(encoded) < len(asked) / 2, "samples of one prompt do not share its encoding"
    assert encoded[0] == 2, "30 samples of one prompt and 2 of the next are two prompts"
    assert max(decoded) <= 32
    written = sum(len(one.completion_ids) for one in found)
    assert sum(decoded) <= 1.3 * written, "rows that have ended are decoded on"
    lengths = [len(one.completion_ids) for one in found]
    in_turn = sum(32 * max(lengths[i : i + 32]) for i in range(0, len(lengths), 32))
    assert sum(decoded) < 0.7 * in_turn, "no better than batches that wait for their longest row"
