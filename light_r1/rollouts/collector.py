"""Sample n responses per question, judge and store them, for DPO pairs, difficulty filters and evaluation.

Work is cut into fixed groups of questions. A group is sampled whole or not at all and the groups do not depend on
the number of processes, so a run that was killed, or goes on with other processes, gives the same samples.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data_tools.rollouts.store import RolloutStore, prompt_id
from data_tools.rows.row import Row
from light_r1.models.chat import ChatFormat
from light_r1.ranks import Ranks
from light_r1.rollouts.judge import shared_judge
from light_r1.rollouts.sampler import Completion, Request, Sampler, SamplingParams

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Collector:
    """Samples and judges.

    Args:
        sampler: Where completions come from.
        chat: Renders questions, decodes completions.
        folder: Holds one store per process, `rollouts-<index>.jsonl`.
        ranks: This process among the others; each samples its share of the groups.
        group_size: Completions per group.
    """

    sampler: Sampler
    chat: ChatFormat
    folder: Path
    ranks: Ranks
    group_size: int = 128

    def collect(self, questions: Sequence[Row], n: int, params: SamplingParams, *, label: str) -> list[list[Row]]:
        """Return n judged samples for each question, in order.

        Args:
            questions: Rows with `problem` and `answer`. Questions with the same text share their samples.
            n: Samples per question.
            params: How to sample.
            label: Name of the sampling, part of each record's identity and shown by the progress bar.

        Returns:
            For each question its records: `prompt_id`, `sample_index`, `completion_ids`, `text`, `finished`,
            `n_tokens`, `correct` (null where the verifier could not tell), `outcome` and `reason`.
        """
        by_id = {prompt_id(question): question for question in questions}
        ids = list(by_id)
        per_group = max(1, self.group_size // n)
        groups = [ids[start : start + per_group] for start in range(0, len(ids), per_group)]
        sampler = f"{label}:{_identity(params)}"
        done = self._stored(sampler).keys()
        store = RolloutStore(self.folder / f"rollouts-{self.ranks.index}.jsonl")
        mine = [group for number, group in enumerate(groups) if number % self.ranks.count == self.ranks.index]
        waiting = [group for group in mine if any((pid, i) not in done for pid in group for i in range(n))]
        if len(waiting) < len(mine):
            log.info("%s: %d of %d groups were sampled before", label, len(mine) - len(waiting), len(mine))
        total = n * sum(map(len, waiting))
        with self.ranks.bar(total=total, desc=label, unit="sample") as bar:
            for group in waiting:
                requests = [Request(p, i, self._prompt(by_id[p])) for p in group for i in range(n)]
                completions = self.sampler.sample(requests, params)
                store.append(
                    {"sampler": sampler, "seed": params.seed, **record} for record in self._judged(completions, by_id)
                )
                bar.update(len(requests))
        self.ranks.barrier()
        stored = self._stored(sampler)
        return [[stored[prompt_id(question), index] for index in range(n)] for question in questions]

    def _prompt(self, question: Row) -> tuple[int, ...]:
        return tuple(self.chat.prompt_ids(question["problem"]))

    def _judged(self, completions: Sequence[Completion], by_id: dict[str, Row]) -> Iterator[Row]:
        texts = [self.chat.response_text(completion.completion_ids) for completion in completions]
        golds = [by_id[completion.request.prompt_id]["answer"] for completion in completions]
        verdicts = shared_judge(self.chat.think_tokens).verdicts(texts, golds)
        for completion, text, verdict in zip(completions, texts, verdicts, strict=True):
            yield {
                "prompt_id": completion.request.prompt_id,
                "sample_index": completion.request.sample_index,
                "text": text,
                "completion_ids": completion.completion_ids,
                "finished": completion.finished,
                "n_tokens": len(completion.completion_ids),
                "correct": None if verdict.outcome == "timeout" else verdict.correct,
                "outcome": verdict.outcome,
                "reason": verdict.reason,
            }

    def _stored(self, sampler: str) -> dict[tuple[str, int], Row]:
        """Return what every process has stored, also processes of an earlier run with more of them."""
        return {
            (record["prompt_id"], record["sample_index"]): record
            for path in sorted(self.folder.glob("rollouts-*.jsonl"))
            for record in RolloutStore(path).read(sampler=sampler)
        }


def _identity(params: SamplingParams) -> str:
    return ",".join(f"{key}={value}" for key, value in asdict(params).items())


def with_responses(question: Row, records: Sequence[Row]) -> Row:
    """Return the question with its judged samples and their pass rate.

    Samples that the verifier could not judge count neither way.
    """
    judged = [record["correct"] for record in records if record["correct"] is not None]
    keys = ("text", "completion_ids", "finished", "n_tokens", "correct")
    added: dict[str, Any] = {
        "responses": [{key: record[key] for key in keys} for record in records],
        "n": len(judged),
        "n_correct": sum(judged),
        "pass_rate": sum(judged) / len(judged) if judged else None,
    }
    return {**question, **added}
