from __future__ import annotations

from collections import Counter
from random import Random

import pytest
import torch

from light_r1.errors import LightR1Error
from light_r1.rollouts.hf import HFSampler, choose
from light_r1.rollouts.sampler import Request, SamplingParams

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


def test_a_model_with_windowed_layers_is_refused(tiny_model, tokenizer):
    tiny_model.config.layer_types = ["full_attention", "sliding_attention"]
    with pytest.raises(LightR1Error, match="sliding_attention"):
        sampler(tiny_model, tokenizer, 4)


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
