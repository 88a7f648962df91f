"""Groups chosen for a generation batch, against what a few lines say they must be."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import pytest
import torch

from light_r1.errors import LightR1Error
from light_r1.trainers.grpo.prompt_queue import PromptQueue, prompt_ids
from light_r1.trainers.grpo.trainer import StagedGRPOTrainer
from light_r1.trainers.grpo.window import PassRateWindow
from tests.conftest import make_model
from tests.light_r1.trainers.grpo.test_trainer import config, length_reward, logged

GROUPS, EACH = 4, 4
KINDS = ("mixed", "easy", "hard", "mixed", "hard")
ROWS = [
    {"problem": f"{index}?", "answer": str(index), "kind": KINDS[index % len(KINDS)], "difficulty": index % 3}
    for index in range(30)
]


class Rollouts:
    """Stands in for a sampler: the completions of a prompt are letters, and every call is noted."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, prompts, trainer):
        self.asked += prompts
        ids = [
            [*trainer.chat.encode("abcd"[index % EACH]), trainer.chat.end_token_id] for index in range(len(prompts))
        ]
        return {
            "prompt_ids": [trainer.chat.encode(prompt) for prompt in prompts],
            "completion_ids": ids,
            "logprobs": None,
            "length": [len(one) for one in ids],
        }


class Verdicts:
    """Rewards by the kind of problem; every completion that is judged is noted."""

    def __init__(self) -> None:
        self.__name__ = "accuracy"
        self.judged = 0

    def __call__(self, completions, kind, length, log_extra, **_):
        assert length == [2] * len(completions)
        self.judged += len(completions)
        log_extra("kind", kind)
        values = {"easy": lambda text: 1.0, "hard": lambda text: 0.0, "mixed": lambda text: float("a" in text)}
        return [values[one](text.removeprefix("<think>")) for one, text in zip(kind, completions, strict=True)]


def trainer(tokenizer, folder, *, rows=ROWS, rewards=None, **fields):
    extra = {"rollout_func": fields.pop("rollout_func")} if "rollout_func" in fields else {}
    fields = {"context_schedule": None, "max_completion_length": 8, "max_steps": 3, **fields}
    args = config(folder, per_device_train_batch_size=GROUPS * EACH, num_generations=EACH, **fields)
    made = rewards or [Verdicts()]
    return StagedGRPOTrainer(make_model(tokenizer), made, args, rows, processing_class=tokenizer, **extra)


def generate(made):
    """Make one generation batch as a training step does."""
    made.model.train()
    made.enter_context()
    return made._generate_and_score_completions(next(iter(made.get_train_dataloader())))


def reference(rounds: int, window: PassRateWindow | None = None, *, seed: int = 42):
    """Choose the groups of the first batch naively: rows, and everything that was sampled for it."""
    queue = PromptQueue([str(index) for index in range(len(ROWS))], shuffle=True, seed=seed, window=window)
    sampled = queue.take(GROUPS, 0)
    for _ in range(rounds):
        good = [row for row in sampled if ROWS[row]["kind"] == "mixed"]
        if len(good) >= GROUPS:
            break
        expected = (GROUPS - len(good)) * len(sampled) / max(1, len(good))
        sampled += queue.take(min(GROUPS, int(-(-expected // 1))), 0, without=sampled)
    good = [row for row in sampled if ROWS[row]["kind"] == "mixed"]
    bad = [row for row in sampled if ROWS[row]["kind"] != "mixed"]
    return (good + bad)[:GROUPS], sampled


@pytest.mark.parametrize("rounds", [1, 2, 5])
@pytest.mark.parametrize("seed", [42, 1, 2])
def test_groups_without_gradient_are_replaced_by_other_prompts(tokenizer, tmp_path, rounds, seed):
    rollouts, verdicts = Rollouts(), Verdicts()
    made = trainer(tokenizer, tmp_path, rewards=[verdicts], rollout_func=rollouts, dynamic_sampling=rounds, seed=seed)
    output = generate(made)
    chosen, sampled = reference(rounds, seed=seed)
    problems = made.train_dataset["prompt"]
    assert rollouts.asked == [problems[row] for row in sampled for _ in range(EACH)]
    assert verdicts.judged == len(rollouts.asked), "something was judged twice"
    asked = zip(output["prompt_ids"], output["prompt_mask"], strict=True)
    found = [tokenizer.decode(ids[mask.bool()]) for ids, mask in asked]
    assert found == [problems[row] for row in chosen for _ in range(EACH)]
    good = sum(ROWS[row]["kind"] == "mixed" for row in chosen)
    assert ((output["advantages"].view(GROUPS, EACH) != 0).any(dim=1)).sum() == good
    if rounds == 5:
        assert good == GROUPS


def test_logs_tell_what_was_sampled_from_what_was_chosen(tokenizer, tmp_path):
    made = trainer(tokenizer, tmp_path, rollout_func=Rollouts(), dynamic_sampling=5)
    generate(made)
    chosen, sampled = reference(5)
    metrics = {name: values[-1] for name, values in made._metrics["train"].items()}
    rate = {"mixed": 1 / EACH, "easy": 1.0, "hard": 0.0}
    raw = [rate[ROWS[row]["kind"]] for row in sampled]
    assert metrics["reward"] == pytest.approx(1 / EACH)
    assert metrics["sampled/reward"] == metrics["sampled/pass_rate"] == pytest.approx(sum(raw) / len(raw))
    assert metrics["frac_reward_zero_std"] == 0
    assert metrics["sampled/zero_variance_share"] == pytest.approx(1 - GROUPS / sum(1 for _ in sampled), abs=0.3)
    wasted = sum(ROWS[row]["kind"] != "mixed" for row in sampled)
    assert metrics["sampled/zero_variance_share"] == pytest.approx(wasted / len(sampled))
    assert metrics["sampled/completions"] == len(sampled) * EACH
    assert metrics["gradient_share"] == pytest.approx(GROUPS / len(sampled))
    assert metrics["sampled/mean_length"] == metrics["completions/p95_length"] == 2
    assert metrics["sampled/clipped_ratio"] == 0
    by_difficulty: dict[int, list[float]] = {}
    for row, value in zip(sampled, raw, strict=True):
        by_difficulty.setdefault(ROWS[row]["difficulty"], []).append(value)
    for difficulty, values in by_difficulty.items():
        assert metrics[f"difficulty/{difficulty}/reward"] == pytest.approx(sum(values) / len(values))
    assert list(made._logs["extra"]["kind"]) == [ROWS[row]["kind"] for row in chosen for _ in range(EACH)]


def test_all_rewards_of_a_kind_fill_up_at_the_cap(tokenizer, tmp_path):
    rows = [{**row, "kind": "hard"} for row in ROWS]
    made = trainer(tokenizer, tmp_path, rows=rows, rollout_func=Rollouts(), dynamic_sampling=2)
    output = generate(made)
    assert output["advantages"].tolist() == [0.0] * GROUPS * EACH
    metrics = {name: values[-1] for name, values in made._metrics["train"].items()}
    assert metrics["gradient_share"] == 0
    assert metrics["sampled/completions"] == 3 * GROUPS * EACH
    assert metrics["sampled/extra_rounds"] == 2


def test_a_small_data_set_is_asked_once(tokenizer, tmp_path):
    rows = [{**row, "kind": "hard"} for row in ROWS[:6]]
    rollouts = Rollouts()
    generate(trainer(tokenizer, tmp_path, rows=rows, rollout_func=rollouts, dynamic_sampling=9))
    assert Counter(Counter(rollouts.asked).values()) == {EACH: 6}
    with pytest.raises(LightR1Error, match="3 prompts cannot fill a generation batch of 4 groups"):
        trainer(tokenizer, tmp_path, rows=rows[:3], rollout_func=rollouts, dynamic_sampling=1)


def test_choosing_changes_nothing_where_every_group_is_informative(tokenizer, tmp_path):
    def differs(completion_ids, **_):
        return [float(sum(ids) % 101) for ids in completion_ids]

    fields = {"rewards": [differs], "shuffle_dataset": False, "num_iterations": 2, "max_steps": 4, "beta": 0.1}
    fields |= {"learning_rate": 1e-2}
    plain = trainer(tokenizer, tmp_path / "plain", **fields)
    plain.train()
    chosen = trainer(tokenizer, tmp_path / "chosen", dynamic_sampling=2, **fields)
    chosen.train()
    assert max(logged(plain, "frac_reward_zero_std")) == 0
    expected, found = plain.model.state_dict(), chosen.model.state_dict()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    for key in ("loss", "reward", "completions/mean_length", "completions/clipped_ratio", "kl", "gradient_share"):
        assert logged(chosen, key) == logged(plain, key)


def test_trls_own_generation_can_be_chosen_from(tokenizer, tmp_path):
    made = trainer(tokenizer, tmp_path, rewards=[length_reward], rollout_func=None, dynamic_sampling=1, max_steps=2)
    made.train()
    assert made.rollout_func is None
    assert min(logged(made, "sampled/completions")) >= GROUPS * EACH


def test_vllm_has_the_weights_of_the_step_before_anything_is_sampled(tokenizer, tmp_path):
    rollouts, events = Rollouts(), []

    def sampled(prompts, made):
        events.append("sample")
        output = rollouts(prompts, made)
        return output | {"logprobs": [[-1.0] * len(ids) for ids in output["completion_ids"]]}

    made = trainer(tokenizer, tmp_path, rollout_func=sampled, dynamic_sampling=1)
    made.use_vllm, made._last_loaded_step = True, -1
    made.vllm_generation = SimpleNamespace(max_completion_length=8, sync_weights=lambda: events.append("sync"))
    generate(made)
    assert events == ["sync", "sample", "sample"]


def test_prompts_outside_the_window_are_not_sampled(tokenizer, tmp_path):
    rows = [{**row, "pass_rate": {"mixed": 0.5, "easy": 1.0, "hard": 0.0}[row["kind"]]} for row in ROWS]
    rows[0]["pass_rate"] = None
    rollouts = Rollouts()
    made = trainer(tokenizer, tmp_path, rows=rows, rollout_func=rollouts, pass_rate_window=[0.1, 0.9])
    made.train()
    assert len(rollouts.asked) == 3 * GROUPS * EACH
    kinds = dict(zip(made.train_dataset["prompt"], (row["kind"] for row in rows), strict=True))
    assert {kinds[prompt] for prompt in rollouts.asked} == {"mixed"}
    # From 12 mixed prompts 3 batches of 4: the first pass over the data, with all others left out of it.
    assert sum(logged(made, "sampled/skipped_prompts")) == len(ROWS) - 12


def test_the_window_learns_from_everything_that_was_sampled(tokenizer, tmp_path):
    rollouts = Rollouts()
    made = trainer(
        tokenizer, tmp_path, rollout_func=rollouts, pass_rate_window=[0.1, 0.9], dynamic_sampling=5, max_steps=12
    )
    made.train()
    kinds = dict(zip(made.train_dataset["prompt"], (row["kind"] for row in ROWS), strict=True))
    times = Counter(rollouts.asked)
    assert {kinds[prompt]: times[prompt] // EACH for prompt in times}.items() >= {"easy": 1, "hard": 1}.items()
    assert min(times[prompt] for prompt in times if kinds[prompt] == "mixed") > EACH
    window = made.queue.window
    for name, kind in zip(prompt_ids(list(made.train_dataset["prompt"])), (row["kind"] for row in ROWS), strict=True):
        assert window.rate(name) == {"mixed": 1 / EACH, "easy": 1.0, "hard": 0.0}[kind]


def test_a_resumed_run_chooses_the_same_bit_exactly(tokenizer, tmp_path):
    def uneven(completion_ids, **_):
        return [float(len(ids) > 6) for ids in completion_ids]

    fields = {
        "rewards": [uneven], "pass_rate_window": [0.05, 0.9], "dynamic_sampling": 3, "max_steps": 8,
        "save_strategy": "steps", "save_steps": 1, "learning_rate": 1e-2,
    }  # fmt: skip
    whole = trainer(tokenizer, tmp_path / "whole", **fields)
    whole.train()
    assert max(logged(whole, "sampled/extra_rounds")) > 0
    assert max(logged(whole, "sampled/skipped_prompts")) > 0
    again = trainer(tokenizer, tmp_path / "again", **fields)
    again.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-4"))
    expected, found = whole.model.state_dict(), again.model.state_dict()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert whole.queue.state_dict() == again.queue.state_dict()
    assert logged(whole, "sampled/reward") == logged(again, "sampled/reward")


def test_triggers_watch_what_was_sampled(tokenizer, tmp_path):
    made = trainer(
        tokenizer, tmp_path, rollout_func=Rollouts(), dynamic_sampling=5, max_steps=1,
        collapse={"reward_drop": 0.5},
    )  # fmt: skip
    seen = []
    update = made.watch.update
    made.watch.update = lambda step, metrics: (seen.append(metrics), update(step, metrics))[1]
    made.train()
    assert seen[0]["reward"] == logged(made, "sampled/reward")[0] != logged(made, "reward")[0]


@pytest.mark.parametrize("bounds", [[0.5], [0.9, 0.1], [0.1, 1.5], [0.1, 0.2, 0.3]])
def test_a_window_that_is_none_is_refused_before_anything_is_loaded(tmp_path, bounds):
    with pytest.raises(LightR1Error, match="pass rate window"):
        config(tmp_path, pass_rate_window=bounds)
