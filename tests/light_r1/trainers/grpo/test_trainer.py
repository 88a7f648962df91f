from __future__ import annotations

import pytest
import torch

from data_tools.answers.verify import Verdict
from light_r1.errors import DataError, LightR1Error, StageError
from light_r1.rewards.verified import accuracy, get_accuracy_reward
from light_r1.rollouts.judge import Judge
from light_r1.trainers.grpo.config import StagedGRPOConfig
from light_r1.trainers.grpo.trainer import StagedGRPOTrainer
from tests.conftest import make_model

ROWS = [{"problem": f"{a}+{b}?", "answer": str(a + b)} for a in range(4) for b in range(4)]
SCHEDULE = [{"steps": 2, "max_completion_length": 6}, {"steps": 2, "max_completion_length": 18}]


def length_reward(completion_ids, **_):
    return [float(len(ids)) for ids in completion_ids]


def config(folder, **fields) -> StagedGRPOConfig:
    defaults = {
        "context_schedule": SCHEDULE,
        "per_device_train_batch_size": 8,
        "num_generations": 4,
        "bf16": False,
        "activation_checkpointing": False,
        "save_strategy": "no",
        "report_to": "none",
        "logging_steps": 1,
        "learning_rate": 1e-3,
        "use_cpu": True,
        "disable_tqdm": True,
    }
    return StagedGRPOConfig(str(folder), **{**defaults, **fields})


def trainer(tokenizer, folder, rewards=(length_reward,), *, rows=ROWS, **fields):
    return StagedGRPOTrainer(
        make_model(tokenizer), list(rewards), config(folder, **fields), rows, processing_class=tokenizer
    )


def logged(made, key: str) -> list[float]:
    return [entry[key] for entry in made.state.log_history if key in entry]


def test_generation_follows_the_schedule(tokenizer, tmp_path):
    made = trainer(tokenizer, tmp_path)
    made.train()
    assert made.state.global_step == 4
    assert logged(made, "context/max_completion_length") == [6, 6, 18, 18]
    longest = logged(made, "completions/max_length")
    assert max(longest[:2]) == 6
    assert max(longest[2:]) == 18


def test_a_resumed_run_goes_on_in_its_context_stage_bit_exactly(tokenizer, tmp_path):
    fields = {"save_strategy": "steps", "save_steps": 3}
    whole = trainer(tokenizer, tmp_path / "whole", **fields)
    whole.train()
    again = trainer(tokenizer, tmp_path / "again", **fields)
    again.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-3"))
    assert logged(again, "context/max_completion_length")[-1] == 18
    expected, found = whole.model.state_dict(), again.model.state_dict()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


@pytest.mark.parametrize("fields", [{"num_iterations": 3}, {"steps_per_generation": 2}])
def test_a_run_resumed_between_steps_that_share_completions_goes_on_bit_exactly(tokenizer, tmp_path, fields):
    fields = {
        "context_schedule": [{"steps": 6, "max_completion_length": 9}], "save_strategy": "steps", "save_steps": 1,
        "learning_rate": 1e-2, **fields,
    }  # fmt: skip
    whole = trainer(tokenizer, tmp_path / "whole", **fields)
    whole.train()
    again = trainer(tokenizer, tmp_path / "again", **fields)
    again.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-1"))
    expected, found = whole.model.state_dict(), again.model.state_dict()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert logged(whole, "reward") == logged(again, "reward")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"global_batch_size": 12}, "12 is of no whole groups of 8; 8 or 16 would be"),
        ({"global_batch_size": 16, "steps_per_generation": 2}, "set generation_batch_size"),
    ],
)
def test_a_batch_of_grpo_is_of_whole_groups_and_so_is_what_is_sampled(tmp_path, fields, says):
    with pytest.raises(StageError, match=says):
        config(tmp_path, per_device_train_batch_size=4, num_generations=8, **fields)


def test_more_may_be_sampled_at_once_than_a_step_learns_from(tmp_path):
    args = config(tmp_path, per_device_train_batch_size=4, global_batch_size=8, generation_batch_size=32)
    assert (args.gradient_accumulation_steps, args.steps_per_generation) == (2, 8)


def test_completions_that_are_shared_by_steps_are_not_gone_on_with_in_another_split(tokenizer, tmp_path):
    fields = {"global_batch_size": 8, "generation_batch_size": 16, "save_strategy": "steps", "save_steps": 1}
    trainer(tokenizer, tmp_path, per_device_train_batch_size=8, max_steps=2, **fields).train()
    other = trainer(tokenizer, tmp_path, per_device_train_batch_size=4, max_steps=2, **fields)
    with pytest.raises(StageError, match="held by 1 processes for 2 forward passes each; 1 with 4 cannot go on"):
        other.train(resume_from_checkpoint=str(tmp_path / "checkpoint-1"))
    other = trainer(tokenizer, tmp_path, per_device_train_batch_size=4, max_steps=3, **fields)
    other.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert other.state.global_step == 3


def test_a_trigger_moves_the_context_on_and_survives_a_resume(tokenizer, tmp_path):
    fields = {
        "context_schedule": [
            {"max_completion_length": 6, "clip_ratio": 0.5, "patience": 2},
            {"max_completion_length": 18},
        ],
        "max_steps": 5,
        "save_strategy": "steps",
        "save_steps": 1,
    }
    whole = trainer(tokenizer, tmp_path / "whole", **fields)
    whole.train()
    lengths = logged(whole, "context/max_completion_length")
    assert lengths[:2] == [6, 6]
    assert lengths[-1] == 18
    (move,) = whole.context.moves
    again = trainer(tokenizer, tmp_path / "again", **fields)
    again.train(resume_from_checkpoint=str(tmp_path / "whole" / f"checkpoint-{move.step - 1}"))
    assert again.context.moves == [move]
    expected, found = whole.model.state_dict(), again.model.state_dict()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_a_context_stage_has_its_own_weights_of_kl_and_entropy(tokenizer, tmp_path):
    schedule = [
        {"steps": 2, "max_completion_length": 6, "settings": {"beta": 0.0, "entropy_coef": 0.2}},
        {"steps": 2, "max_completion_length": 6},
    ]
    seen = []
    made = trainer(tokenizer, tmp_path, context_schedule=schedule, beta=0.1, entropy_coef=0.01)
    step = made.training_step

    def watched(*args, **kwargs):
        seen.append((made.beta, made.entropy_coef))
        return step(*args, **kwargs)

    made.training_step = watched
    made.train()
    assert seen == [(0.0, 0.2)] * 2 + [(0.1, 0.01)] * 2
    with pytest.raises(LightR1Error, match="needs a run whose own entropy_coef is not 0"):
        trainer(tokenizer, tmp_path, context_schedule=schedule, beta=0.1)


COLLAPSE = {"min_entropy": 100.0, "warmup": 0, "patience": 2}


def test_a_collapse_stops_the_run_and_says_how(tokenizer, tmp_path):
    with pytest.raises(StageError, match="collapsed at step 2: the entropy is"):
        trainer(tokenizer, tmp_path, collapse=COLLAPSE).train()


def test_a_collapse_can_be_rewound_to_the_last_good_checkpoint(tokenizer, tmp_path):
    made = trainer(
        tokenizer,
        tmp_path,
        context_schedule=[{"steps": 4, "max_completion_length": 6}],
        collapse={"reward_drop": 0.5, "warmup": 0, "patience": 1},
        on_collapse="rewind",
        save_strategy="steps",
        save_steps=1,
    )
    update, drops = made.watch.update, [3]

    def scripted(step, metrics):
        if drops and step == drops[0]:
            drops.pop()
            metrics = {"reward": -100.0}
        else:
            metrics = {"reward": 0.0}
        return update(step, metrics)

    made.watch.update = scripted
    made.train()
    assert made.rewinds == 1
    assert made.state.global_step == 4


def test_rewards_see_think_tags_and_gold_columns(tokenizer, tmp_path):
    seen = []

    def spy(completions, answer, **_):
        seen.extend(zip(completions, answer, strict=True))
        return [1.0] * len(completions)

    trainer(tokenizer, tmp_path, [spy], max_steps=1).train()
    assert all(text.startswith("<think>") for text, _ in seen)
    assert {answer for _, answer in seen} <= {row["answer"] for row in ROWS}


def test_a_reward_that_raises_costs_one_completion_and_is_counted(tokenizer, tmp_path):
    def touchy(completions, **_):
        if any("a" in text for text in completions):
            raise ValueError("an a")
        return [1.0] * len(completions)

    made = trainer(tokenizer, tmp_path, [touchy, length_reward], max_steps=2)
    made.train()
    assert made.state.global_step == 2
    assert list(made.reward_failures) == ["touchy: ValueError: an a"]


def test_a_batch_without_any_reward_stops_the_run_with_the_reasons(tokenizer, tmp_path):
    def broken(completions, **_):
        raise RuntimeError("no verifier")

    with pytest.raises(StageError, match="RuntimeError: no verifier"):
        trainer(tokenizer, tmp_path, [broken]).train()


@pytest.mark.parametrize("rounds", [0, 1])
@pytest.mark.parametrize("reward", [accuracy, get_accuracy_reward(deadline_s=1.0)], ids=["shared", "own"])
def test_the_reasons_are_those_of_the_verifier(tokenizer, tmp_path, monkeypatch, rounds, reward):
    def hung(judge, responses, golds):
        return [Verdict(correct=False, outcome="timeout", reason="no verdict within 2 s") for _ in responses]

    monkeypatch.setattr(Judge, "_verdicts", hung)
    with pytest.raises(StageError, match=r"no completion of this batch got a reward.*no verdict within 2 s \(\d+\)"):
        trainer(tokenizer, tmp_path, [reward], dynamic_sampling=rounds).train()


def test_rows_that_cannot_be_prompted_are_refused(tokenizer, tmp_path):
    with pytest.raises(DataError, match="need a column problem or prompt, and have"):
        trainer(tokenizer, tmp_path, rows=[{"question": "1+1?", "answer": "2"}])
    with pytest.raises(DataError, match="train dataset has no rows"):
        trainer(tokenizer, tmp_path, rows=[])


def test_held_out_rows_are_prompted_like_the_others(tokenizer, tmp_path):
    made = StagedGRPOTrainer(
        make_model(tokenizer), [length_reward], config(tmp_path, per_device_eval_batch_size=8),
        ROWS, processing_class=tokenizer, eval_dataset=ROWS[:8],
    )  # fmt: skip
    assert made.eval_dataset["prompt"] == made.train_dataset["prompt"][:8]
    assert "eval_reward" in made.evaluate()


def test_groups_get_centred_advantages(tokenizer, tmp_path):
    made = trainer(tokenizer, tmp_path, scale_rewards="none")
    batch = next(iter(made.get_train_dataloader()))
    made.model.train()
    made.enter_context()
    out = made._generate_and_score_completions(batch)
    lengths = out["completion_mask"].sum(1).float().view(-1, 4)
    assert torch.allclose(out["advantages"].view(-1, 4), lengths - lengths.mean(1, keepdim=True), atol=1e-5)


def test_training_raises_the_reward(tokenizer, tmp_path):
    def short(completion_ids, **_):
        return [-float(len(ids)) for ids in completion_ids]

    made = trainer(
        tokenizer,
        tmp_path,
        [short],
        context_schedule=[{"steps": 12, "max_completion_length": 12}],
        per_device_train_batch_size=32,
        learning_rate=1e-2,
    )
    made.train()
    rewards = logged(made, "reward")
    assert sum(rewards[-3:]) / 3 > sum(rewards[:3]) / 3 + 2


def test_sharing_prompts_changes_no_step(tokenizer, tmp_path):
    shared, padded = (
        trainer(tokenizer, tmp_path / str(share), share_prefixes=share, num_iterations=2, max_steps=4, beta=0.1)
        for share in (True, False)
    )
    shared.train()
    padded.train()
    for key in ("loss", "grad_norm", "entropy", "kl"):
        assert logged(shared, key) == pytest.approx(logged(padded, key), rel=1e-3, abs=1e-5)


def test_the_kl_reference_is_the_model_that_training_starts_from(tokenizer, tmp_path):
    made = trainer(tokenizer, tmp_path, beta=0.1, max_steps=2)
    start = make_model(tokenizer).state_dict()
    assert all(torch.equal(start[name], value) for name, value in made.ref_model.state_dict().items())
    made.train()
    assert logged(made, "kl")[0] == pytest.approx(0, abs=1e-6)
    assert not (tmp_path / "reference").exists()


def test_a_reference_in_bfloat16_scores_as_the_policy_that_it_was(tokenizer, tmp_path):
    made = trainer(tokenizer, tmp_path, beta=0.1, bf16=True, max_steps=1)
    weights = dict(made.ref_model.named_parameters())
    assert weights["model.layers.0.mlp.up_proj.weight"].dtype == torch.bfloat16
    assert weights["model.norm.weight"].dtype == torch.float32
    made.train()
    assert logged(made, "kl") == [0.0]
