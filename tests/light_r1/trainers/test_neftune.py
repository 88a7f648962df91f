"""NEFTune's noise: that of each row's own length, however rows are batched."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, PeftModel

from light_r1.trainers.neftune import row_lengths
from tests.light_r1.trainers.dpo import test_trainer as dpo
from tests.light_r1.trainers.grpo import test_trainer as grpo
from tests.light_r1.trainers.sft import test_trainer as sft

ALPHA, SIZE = 50.0, 32
ROWS = [sft.solved(a, b) for a, b in ((1, 1), (10**9, 10**8), (2, 2), (3, 10**17))]


def noise_of(made, train) -> list[tuple[torch.Tensor, dict]]:
    """Return what was added to the embeddings of each batch that was trained, and the batch."""
    found: list[tuple[torch.Tensor, dict]] = []
    embeddings = made.model.get_input_embeddings()
    clean: list[torch.Tensor] = []
    batches: list[dict] = []
    early = embeddings.register_forward_hook(lambda module, inputs, output: clean.append(output.detach()))
    model = made.model.register_forward_pre_hook(lambda m, args, kwargs: batches.append(kwargs), with_kwargs=True)
    base = made.model.get_base_model() if isinstance(made.model, PeftModel) else made.model
    first = base.model.layers[0].register_forward_pre_hook(
        lambda module, inputs: found.append((inputs[0].detach() - clean[-1], batches[-1])) if module.training else None
    )
    train()
    for hook in (early, model, first):
        hook.remove()
    return found


def segments(batch: dict) -> list[tuple[int, slice]]:
    """Return each row's place in a batch, by a loop over its positions or its mask."""
    if "position_ids" in batch:
        starts = [i for i, position in enumerate(batch["position_ids"][0].tolist()) if position == 0]
        ends = [*starts[1:], batch["input_ids"].size(1)]
        return [(0, slice(start, end)) for start, end in zip(starts, ends, strict=True)]
    return [
        (i, slice(mask.index(1), len(mask) - mask[::-1].index(1)))
        for i, mask in enumerate(batch["attention_mask"].tolist())
    ]


def assert_noise_is_of_each_rows_own_length(found) -> None:
    lengths = set()
    for noise, batch in found:
        for row, place in segments(batch):
            mine = noise[row, place]
            bound = ALPHA / (mine.size(0) * SIZE) ** 0.5
            assert mine.abs().max() <= bound * 1.0001
            assert mine.pow(2).mean().sqrt() == pytest.approx(bound / 3**0.5, rel=0.1)  # of a uniform distribution
            lengths.add(mine.size(0))
    assert len(lengths) > 1, "rows of one length show nothing"


@pytest.mark.parametrize(
    "fields", [{"packing": True, "max_length": 1024}, {"packing": False}], ids=["packed", "padded"]
)
@pytest.mark.parametrize("peft", [None, LoraConfig(r=2, task_type="CAUSAL_LM")], ids=["full", "lora"])
def test_noise_of_a_row_does_not_depend_on_the_rows_beside_it(tokenizer, tmp_path, fields, peft):
    from light_r1.trainers.sft.trainer import CurriculumSFTTrainer

    args = sft.config(tmp_path, neftune_noise_alpha=ALPHA, **fields)
    made = CurriculumSFTTrainer(
        sft.make_model(tokenizer), args, ROWS, processing_class=tokenizer, **({"peft_config": peft} if peft else {})
    )
    assert_noise_is_of_each_rows_own_length(noise_of(made, made.train))


def test_both_sides_of_a_pair_have_noise_of_their_own(tokenizer, tmp_path):
    rows = [*dpo.ROWS[:3], {**dpo.ROWS[3], "rejected": f"<think>\n{'9' * 60}\n</think>\n\n\\boxed{{1}}"}]
    made = dpo.trainer(tokenizer, tmp_path, rows, neftune_noise_alpha=ALPHA, num_train_epochs=1)
    assert not made.args.share_prefixes
    assert_noise_is_of_each_rows_own_length(noise_of(made, made.train))


def test_completions_are_scored_with_noise_of_their_own(tokenizer, tmp_path):
    made = grpo.trainer(
        tokenizer, tmp_path, neftune_noise_alpha=ALPHA, context_schedule=grpo.SCHEDULE[1:], max_steps=1
    )
    assert_noise_is_of_each_rows_own_length(noise_of(made, made.train))


def test_a_run_that_is_broken_off_leaves_no_noise_for_the_next(tokenizer, tmp_path):
    made = sft.trainer(tokenizer, tmp_path, ROWS, neftune_noise_alpha=ALPHA)
    usual = made.training_step
    made.training_step = lambda *args, **kwargs: 1 / 0
    with pytest.raises(ZeroDivisionError):
        made.train()
    made.training_step = usual
    assert_noise_is_of_each_rows_own_length(noise_of(made, made.train))
    embeddings = made.model.get_input_embeddings()
    assert not embeddings._forward_hooks
    assert not made.model._forward_pre_hooks


def test_lengths_come_from_positions_or_else_from_the_mask():
    positions = torch.tensor([[0, 1, 2, 0, 1, 0]])
    assert row_lengths(positions, None).tolist() == [[3, 3, 3, 2, 2, 1]]
    assert row_lengths(None, torch.tensor([[1, 1, 0], [1, 1, 1]])).tolist() == [[2], [3]]
    assert row_lengths(None, None) is None
