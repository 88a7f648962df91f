"""Advantages, losses, clipping and the KL reference, each against a few lines that go row by row without padding."""

from __future__ import annotations

import math
import statistics
from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig

from light_r1.trainers.grpo.trainer import StagedGRPOTrainer
from tests.conftest import make_model
from tests.light_r1.trainers.grpo.test_trainer import ROWS, config, logged

GROUP = 4
LORA = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")


def uneven(completion_ids, **_):
    """Differs within most groups; `None` for one completion in five."""
    return [None if index % 5 == 2 else float(sum(ids) % 7) for index, ids in enumerate(completion_ids)]


def ends_early(completion_ids, **_):
    return [1.0 / len(ids) for ids in completion_ids]


def trainer(tokenizer, folder, *, model=None, rewards=(uneven,), peft=None, rollout=None, **fields):
    fields = {"context_schedule": None, "max_completion_length": 12, "per_device_train_batch_size": 8, **fields}
    extra = ({} if peft is None else {"peft_config": peft}) | ({} if rollout is None else {"rollout_func": rollout})
    made = StagedGRPOTrainer(
        model or make_model(tokenizer), list(rewards), config(folder, num_generations=GROUP, **fields), ROWS,
        processing_class=tokenizer, **extra,
    )  # fmt: skip
    made.current_gradient_accumulation_steps = made.args.gradient_accumulation_steps
    return made


def generate(made):
    made.model.train()
    made.enter_context()
    return made._generate_and_score_completions(next(iter(made.get_train_dataloader())))


def rows_of(batch):
    """Yield each row's prompt ids and completion ids, padding cut off."""
    for prompt, p_mask, completion, c_mask in zip(
        *(batch[key] for key in ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask")), strict=True
    ):
        yield prompt[p_mask.bool()], completion[c_mask.bool()]


def log_probs(model, batch, temperature=1.0) -> list[torch.Tensor]:
    """Return each completion's log-probs, one row at a time."""
    found = []
    for prompt, completion in rows_of(batch):
        logits = model(input_ids=torch.cat([prompt, completion])[None]).logits[0, len(prompt) - 1 : -1]
        found.append(torch.log_softmax(logits.float() / temperature, dim=-1).gather(1, completion[:, None])[:, 0])
    return found


def padded(rows: list[torch.Tensor], width: int) -> torch.Tensor:
    return torch.stack([torch.cat([row, row.new_zeros(width - len(row))]) for row in rows])


# --- advantages --------------------------------------------------------------------------------------------------


def naive_advantages(rewards: list[list[float | None]], weights: list[float], scale: str) -> list[float]:
    """From `[completions][functions]`: centre by group, scale, 0 where a completion has no reward."""
    totals = [
        None if all(v is None for v in row) else sum(w * v for w, v in zip(weights, row, strict=True) if v is not None)
        for row in rewards
    ]
    known = [total for total in totals if total is not None]
    advantages = []
    for start in range(0, len(totals), GROUP):
        group = [total for total in totals[start : start + GROUP] if total is not None]
        for total in totals[start : start + GROUP]:
            if total is None:
                advantages.append(0.0)
                continue
            spread = {"group": group, "batch": known}.get(scale)
            divisor = 1.0 if spread is None else statistics.stdev(spread) + 1e-4
            advantages.append((total - statistics.mean(group)) / divisor)
    return advantages


@pytest.mark.parametrize("chosen", [0, 2])
@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_advantages_are_centred_by_group_and_scaled(tokenizer, tmp_path, scale, chosen):
    seen: list[list[list[float | None]]] = []

    def spied(reward):
        def spy(**columns):
            seen.append(reward(**columns))
            return seen[-1]

        return spy

    made = trainer(
        tokenizer, tmp_path, rewards=[spied(uneven), spied(ends_early)], reward_weights=[1.0, 3.0],
        scale_rewards=scale, dynamic_sampling=chosen,
    )  # fmt: skip
    output = generate(made)
    rewards = [list(row) for row in zip(*seen, strict=True)]
    assert len(rewards) == 8, "no group should have been replaced"
    expected = naive_advantages(rewards, [1.0, 3.0], scale)
    assert output["advantages"].tolist() == pytest.approx(expected, abs=1e-5)


def test_a_completion_without_any_reward_is_left_out_of_its_group(tokenizer, tmp_path):
    def some(completion_ids, **_):
        return [None if index % GROUP == 1 else float(index) for index in range(len(completion_ids))]

    advantages = generate(trainer(tokenizer, tmp_path, rewards=[some], scale_rewards="none"))["advantages"]
    assert advantages[:GROUP].tolist() == pytest.approx([0 - 5 / 3, 0, 2 - 5 / 3, 3 - 5 / 3], abs=1e-5)


# --- losses ------------------------------------------------------------------------------------------------------

LOW, HIGH, LONGEST = 0.2, 0.28, 12
CISPO_HIGH = 1.1


def clipped(ratio, advantage, delta=None):
    bounded = ratio if delta is None else ratio.clamp(max=delta)
    return -torch.min(bounded * advantage, ratio.clamp(1 - LOW, 1 + HIGH) * advantage)


def naive_loss(kind, new, old, advantages, total_tokens, delta=None):
    """Return the loss of one micro-batch of two, as the papers have it."""
    rows = []
    for new_row, old_row, advantage in zip(new, old, advantages, strict=True):
        ratio = (new_row - old_row).exp()
        if kind == "cispo":  # 2506.13585 eq. 4
            rows.append(-ratio.clamp(max=CISPO_HIGH).detach() * advantage * new_row)
        elif kind == "sapo":  # 2511.20347 eq. 5
            tau = 1.0 if advantage > 0 else 1.05
            rows.append(-torch.sigmoid(tau * (ratio - 1)) * 4 / tau * advantage)
        elif kind == "vespo":
            k, lam = (2.0, 3.0) if advantage >= 0 else (3.0, 2.0)
            weight = (new_row - old_row).sum().exp().detach()
            rows.append(-(math.exp(lam) * weight**k * torch.exp(-lam * weight)) * advantage * new_row)
        elif kind == "luspo":
            sequence = (new_row - old_row).mean().exp()
            rows.append(clipped(sequence, advantage).expand(len(new_row)))
        else:
            rows.append(clipped(ratio, advantage, delta))
    sums = torch.stack([row.sum() for row in rows])
    if kind in ("grpo", "sapo"):
        return torch.stack([row.mean() for row in rows]).mean() / 2
    if kind == "bnpo":
        return sums.sum() / sum(map(len, rows)) / 2
    if kind == "dr_grpo":
        return sums.sum() / (len(rows) * LONGEST) / 2
    if kind == "luspo":
        return sums.mean() / 2
    return sums.sum() / total_tokens


def moved(model, amount=0.25):
    """Return the model after a step in a random direction, so that ratios are not 1."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(amount * parameter.std().nan_to_num() * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("grpo", {}),
        ("grpo", {"delta": 1.5}),
        ("bnpo", {}),
        ("dr_grpo", {}),
        ("dapo", {}),
        ("dapo", {"delta": 1.5}),
        ("dapo", {"temperature": 0.7}),
        ("cispo", {"epsilon_high": CISPO_HIGH}),
        ("sapo", {}),
        ("luspo", {"importance_sampling_level": "sequence"}),
        ("vespo", {}),
    ],
)
def test_each_loss_and_its_gradient(tokenizer, tmp_path, kind, fields, share):
    made = trainer(
        tokenizer, tmp_path, loss_type=kind, share_prefixes=share, per_device_train_batch_size=8,
        gradient_accumulation_steps=2, **{"epsilon": LOW, "epsilon_high": HIGH, **fields},
    )  # fmt: skip
    temperature, delta = made.args.temperature, made.args.delta
    whole = generate(made)
    first = {key: value if value.dim() == 0 else value[:8] for key, value in whole.items()}
    with torch.no_grad():
        old = log_probs(made.model, first, temperature)
    first["old_per_token_logps"] = padded(old, first["completion_ids"].size(1))
    moved(made.model)
    new = log_probs(made.model, first, temperature)
    ratios = torch.cat([(a - b).exp() for a, b in zip(new, old, strict=True)])
    assert ratios.max() > 1.5 and ratios.min() < 1 - LOW, "nothing would be clipped"
    advantages = first["advantages"]
    assert advantages.min() < 0 < advantages.max()
    expected = naive_loss(kind, new, old, advantages, whole["completion_mask"].sum(), delta)
    expected.backward()
    gradients = {name: p.grad.clone() for name, p in made.model.named_parameters()}
    made.model.zero_grad()
    found = made._compute_loss(made.model, first)
    found.backward()
    assert found.item() == pytest.approx(expected.item(), rel=1e-4, abs=1e-6)
    for name, parameter in made.model.named_parameters():
        assert torch.allclose(parameter.grad, gradients[name], atol=1e-5, rtol=1e-3), name


def test_two_sided_clipping_bounds_what_a_bad_completion_that_became_likely_weighs():
    ratio, bad = torch.tensor([10.0]), torch.tensor(-1.0)
    assert clipped(ratio, bad).item() == 10.0
    assert clipped(ratio, bad, delta=1.5).item() == 1.5


# --- the KL reference --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("peft", [None, LORA], ids=["full", "lora"])
def test_the_reference_stays_the_very_model_that_training_started_from(tokenizer, tmp_path, peft):
    make_model(tokenizer).save_pretrained(tmp_path / "saved")
    start = moved(make_model(tokenizer))  # no longer what is at its path
    start.config._name_or_path = str(tmp_path / "saved")
    copy = moved(make_model(tokenizer))
    assert all(torch.equal(a, b) for a, b in zip(start.parameters(), copy.parameters(), strict=True))
    made = trainer(tokenizer, tmp_path / "run", model=start, peft=peft, beta=0.5, learning_rate=5e-2, max_steps=3)
    made.train()
    kl = logged(made, "kl")
    assert kl[0] == pytest.approx(0, abs=1e-6)
    assert kl[-1] > 1e-4
    output = generate(made)
    with torch.no_grad():
        reference, policy = log_probs(copy, output), log_probs(made.model, output)
    for found, expected, now in zip(output["ref_per_token_logps"], reference, policy, strict=True):
        assert torch.allclose(found[: len(expected)], expected, atol=1e-4)
        assert not torch.allclose(expected, now, atol=1e-3), "the policy did not move"


@pytest.mark.parametrize("corrected", [True, False])
def test_the_kl_is_the_low_variance_estimate(tokenizer, tmp_path, corrected):
    made = trainer(tokenizer, tmp_path, beta=0.5, use_bias_correction_kl=corrected, epsilon=LOW, epsilon_high=HIGH)
    batch = generate(made)
    with torch.no_grad():
        reference = log_probs(made.model, batch)
    moved(made.model)
    new = log_probs(made.model, batch)
    terms = []
    for row, ref in zip(new, reference, strict=True):
        kl = (ref - row).exp() - (ref - row) - 1
        terms.append(kl * (row - row.detach()).exp() if corrected else kl)
    expected = 0.5 * torch.cat(terms).mean()
    batch["advantages"] = torch.zeros_like(batch["advantages"])
    expected.backward()
    gradient = made.model.model.embed_tokens.weight.grad.clone()
    made.model.zero_grad()
    found = made._compute_loss(made.model, batch)
    found.backward()
    assert found.item() == pytest.approx(expected.item(), rel=1e-4)
    assert torch.allclose(made.model.model.embed_tokens.weight.grad, gradient, atol=1e-5, rtol=1e-3)


# --- importance sampling of vLLM ---------------------------------------------------------------------------------


def kept_shares(tokenizer, folder, **fields) -> tuple[list[float], torch.Tensor]:
    """Generate with a sampler whose log-probs are off by noise, as those of vLLM are."""
    noise = torch.Generator().manual_seed(0)
    lengths = [4, 30, 90, 120] * 16

    def off(prompts, made):
        ids = [made.chat.encode(prompt) for prompt in prompts]
        completions = [[*made.chat.encode("a" * (length - 1)), made.chat.end_token_id] for length in lengths]
        batch = {"prompt_ids": ids, "completion_ids": completions}
        rows = {key: [torch.tensor(row) for row in value] for key, value in batch.items()}
        masks = {f"{key[:-4]}_mask": [torch.ones_like(row) for row in value] for key, value in rows.items()}
        with torch.no_grad():
            true = log_probs(made.model, rows | masks)
        noisy = [row + 0.2 * torch.randn(len(row), generator=noise) for row in true]
        return batch | {"logprobs": [row.tolist() for row in noisy]}

    made = trainer(
        tokenizer, folder, rollout=off, max_completion_length=120, per_device_train_batch_size=len(lengths), **fields
    )
    made.use_vllm, made._last_loaded_step = True, -1
    made.vllm_generation = SimpleNamespace(max_completion_length=120, sync_weights=lambda: None)
    output = generate(made)
    metrics = {name: values[-1] for name, values in made._metrics["train"].items()}
    names = ["1-30", "31-60", "61-90", "91-120"]
    return [metrics[f"sampling/kept/{name}"] for name in names if name != "31-60"], output["importance_sampling_ratio"]


def test_importance_sampling_keeps_long_completions_as_it_keeps_short_ones(tokenizer, tmp_path):
    ours, ratio = kept_shares(tokenizer, tmp_path)
    assert ratio.shape == (64, 120)
    assert min(ours) > 0.99
    trl, ratio = kept_shares(tokenizer, tmp_path, vllm_importance_sampling_mode="sequence_mask")
    assert ratio.shape == (64, 1)
    assert trl[0] > 0.85
    assert trl[-1] < 0.8, "TRL's default no longer depends on the length: use it"
    assert trl[0] > trl[-1]
