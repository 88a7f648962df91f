"""Dynamic sampling: choose the groups of a generation batch by pass rate and by differing rewards.

A group whose rewards are all equal has no gradient and costs as much as any other. DAPO (2503.14476 §3.2) samples
other prompts until the batch is full of groups that have one. Here that goes in rounds of no more prompts than are
expected to fill the batch, up to a cap; what is missing then is filled with groups without gradient, as TRL would have
had them.

Every rank sees the outcome of every group, so that all choose the same groups and the same prompts next. The chosen
completions and their rewards go to TRL as they are: nothing is sampled or judged twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import gather_object

from light_r1.errors import LightR1Error
from light_r1.trainers.grpo.metrics import is_informative, totals_of, verdict_index
from light_r1.trainers.grpo.prompt_queue import PromptQueue

if TYPE_CHECKING:
    from light_r1.trainers.grpo.interface import StagedTrainer

_ENV_MASK = "env_mask"  # TRL takes it out of a rollout's fields before rewards see them


@dataclass(slots=True)
class Rollout:
    """One sampled completion, as it travels between ranks.

    Args:
        prompt_ids: Token ids of the prompt.
        completion_ids: Sampled token ids.
        logprobs: Of the sampled tokens, if the sampler gives them.
        fields: Further columns of the rollout function.
        logged: What rewards gave to TRL's `log_extra`.
    """

    prompt_ids: list[int]
    completion_ids: list[int]
    logprobs: list[float | None] | None
    fields: dict[str, Any] = field(default_factory=dict)
    logged: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Group:
    """The completions of one prompt.

    Args:
        row: Of the training data.
        rollouts: One for each completion.
        rewards: `[completions, functions]`, NaN where there is no reward.
        totals: Weighted sum of each completion's rewards; `None` where it has none.
        informative: Whether its advantages are not all zero.
    """

    row: int
    rollouts: list[Rollout]
    rewards: torch.Tensor
    totals: list[float | None]
    informative: bool


@dataclass(slots=True)
class ChosenBatch:
    """A generation batch whose completions are sampled and judged.

    Args:
        rows: The rows of this rank, one for each completion.
        rollouts: The completions of this rank.
        rewards: `[completions of all ranks, functions]`.
        sampled: Completions sampled for it on all ranks.
    """

    rows: list[dict[str, Any]]
    rollouts: list[Rollout]
    rewards: torch.Tensor
    sampled: int

    def replay(self, prompts: list[str], trainer: StagedTrainer) -> dict[str, Any]:
        """Return the completions that TRL asks for: its `rollout_func`."""
        rollouts = self.rollouts
        with_logprobs = all(rollout.logprobs is not None for rollout in rollouts)
        return {
            "prompt_ids": [rollout.prompt_ids for rollout in rollouts],
            "completion_ids": [rollout.completion_ids for rollout in rollouts],
            "logprobs": [rollout.logprobs for rollout in rollouts] if with_logprobs else None,
            **{name: [rollout.fields[name] for rollout in rollouts] for name in rollouts[0].fields},
        }


class DynamicSampling:
    """Chooses the groups of each generation batch.

    Args:
        trainer: Whose sampler and rewards are used.
        queue: The prompts.
        extra_rounds: How often groups without gradient are replaced at most.

    Raises:
        LightR1Error: There are fewer prompts than a batch has groups, or the trainer uses images, tools or
            environments.
    """

    def __init__(self, trainer: StagedTrainer, queue: PromptQueue, extra_rounds: int) -> None:
        groups = trainer.args.generation_batch_size // trainer.num_generations
        if len(queue.ids) < groups:
            raise LightR1Error(f"{len(queue.ids)} prompts cannot fill a generation batch of {groups} groups")
        if trainer.tools or trainer.environment_factories is not None or trainer._is_vlm:
            raise LightR1Error("pass_rate_window and dynamic_sampling do not support images, tools and environments")
        self.trainer = trainer
        self.queue = queue
        self.extra_rounds = extra_rounds
        self.groups = groups
        self._verdict = verdict_index(trainer.reward_func_names)

    def choose(self) -> ChosenBatch:
        """Sample until the batch is full of informative groups, or the cap is reached."""
        trainer, step = self.trainer, self.trainer.state.global_step
        sampled: list[Group] = []
        informative: list[Group] = []
        count = self.groups
        skipped, rounds = self.queue.skipped, -1
        while rounds < self.extra_rounds and len(informative) < self.groups:
            taken = [group.row for group in sampled]
            rows = self.queue.take(self._even(count, len(self.queue.ids) - len(taken)), step, without=taken)
            if not rows:
                break
            rounds += 1
            sampled += self._sampled(rows)
            informative = [group for group in sampled if group.informative]
            missing = self.groups - len(informative)
            count = min(self.groups, math.ceil(missing * len(sampled) / max(1, len(informative))))
        self._remember(sampled, step)
        rest = [group for group in sampled if not group.informative]
        metrics = {"extra_rounds": float(max(0, rounds)), **self._metrics(sampled)}
        if self.queue.window is not None:
            metrics["skipped_prompts"] = float(self.queue.skipped - skipped)
        for name, value in metrics.items():
            trainer._metrics["train"][f"sampled/{name}"].append(value)
        if trainer.by_difficulty is not None:
            values = trainer.by_difficulty.values
            difficulties = [values[group.row] for group in sampled for _ in group.rollouts]
            totals = [total for group in sampled for total in group.totals]
            for name, value in trainer.by_difficulty.metrics(difficulties, totals).items():
                trainer._metrics["train"][name].append(value)
        return self._batch((informative + rest)[: self.groups], sampled)

    def _even(self, count: int, left: int) -> int:
        """Return how many groups to sample, so that every rank samples as many completions."""
        processes = self.trainer.accelerator.num_processes
        unit = processes // math.gcd(processes, self.trainer.num_generations)
        return min(math.ceil(count / unit), left // unit) * unit

    def _sampled(self, rows: Sequence[int]) -> list[Group]:
        trainer, each = self.trainer, self.trainer.num_generations
        mine = self._share([row for row in rows for _ in range(each)])
        inputs = [dict(trainer.train_dataset[row]) for row in mine]
        prompts = [row["prompt"] for row in inputs]
        output = trainer.rollout(prompts)
        fields = {
            name: values if isinstance(values, list) else [values] * len(mine)
            for name, values in output.items()
            if name not in ("prompt_ids", "completion_ids", "logprobs")
        }
        for index, row in enumerate(inputs):
            row.update({name: values[index] for name, values in fields.items() if name != _ENV_MASK})
        rewards = trainer.judged(inputs, prompts, output["completion_ids"]).cpu()
        logged = {name: values for name, values in trainer._pending_extra_logs.items() if len(values) == len(mine)}
        trainer._pending_extra_logs.clear()
        local = [
            Rollout(
                list(output["prompt_ids"][index]),
                list(output["completion_ids"][index]),
                None if output["logprobs"] is None else list(output["logprobs"][index]),
                {name: values[index] for name, values in fields.items()},
                {name: values[index] for name, values in logged.items()},
            )
            for index in range(len(mine))
        ]
        rollouts = gather_object(local)
        return [
            self._group(row, rollouts[start : start + each], rewards[start : start + each])
            for row, start in zip(rows, range(0, len(rollouts), each), strict=True)
        ]

    def _share(self, completions: list[Any]) -> list[Any]:
        """Return this rank's part of what belongs to all ranks, cut as TRL cuts it."""
        accelerator = self.trainer.accelerator
        size = len(completions) // accelerator.num_processes
        return completions[accelerator.process_index * size : (accelerator.process_index + 1) * size]

    def _group(self, row: int, rollouts: list[Rollout], rewards: torch.Tensor) -> Group:
        weights = self.trainer.reward_weights.cpu()
        informative = is_informative(rewards, weights, self.trainer.multi_objective_aggregation)
        return Group(row, rollouts, rewards, totals_of(rewards, weights), informative)

    def _verdicts(self, group: Group) -> list[bool]:
        return [value > 0 for value in group.rewards[:, self._verdict].tolist() if value == value]

    def _remember(self, sampled: Sequence[Group], step: int) -> None:
        if self.queue.window is None:
            return
        for group in sampled:
            verdicts = self._verdicts(group)
            self.queue.window.update(self.queue.ids[group.row], right=sum(verdicts), sampled=len(verdicts), step=step)

    def _metrics(self, sampled: Sequence[Group]) -> dict[str, float]:
        """Describe everything that was sampled; TRL's own logs describe what was chosen of it."""
        totals = [total for group in sampled for total in group.totals if total is not None]
        verdicts = [right for group in sampled for right in self._verdicts(group)]
        completions = [rollout.completion_ids for group in sampled for rollout in group.rollouts]
        ends = {*self.trainer.eos_token_ids, self.trainer._tokenizer.pad_token_id}
        return {
            "completions": float(len(completions)),
            "reward": sum(totals) / len(totals) if totals else math.nan,
            "pass_rate": sum(verdicts) / len(verdicts) if verdicts else math.nan,
            "zero_variance_share": sum(not group.informative for group in sampled) / len(sampled),
            "mean_length": sum(map(len, completions)) / len(completions),
            "clipped_ratio": sum(ids[-1] not in ends for ids in completions) / len(completions),
        }

    def _batch(self, chosen: Sequence[Group], sampled: Sequence[Group]) -> ChosenBatch:
        trainer = self.trainer
        rows = self._share([group.row for group in chosen for _ in group.rollouts])
        rollouts = self._share([rollout for group in chosen for rollout in group.rollouts])
        for name in sorted({name for rollout in rollouts for name in rollout.logged}):
            trainer._pending_extra_logs[name] = [rollout.logged.get(name) for rollout in rollouts]
        return ChosenBatch(
            [dict(trainer.train_dataset[row]) for row in rows],
            rollouts,
            torch.cat([group.rewards for group in chosen]).to(trainer.accelerator.device),
            sum(len(group.rollouts) for group in sampled),
        )
