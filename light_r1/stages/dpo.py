"""Semi-on-policy preference training (`type: dpo`): sample, judge, pair, train; resumable at each arrow."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from light_r1.errors import DataError, StageError
from light_r1.manifest import RowCounts
from light_r1.stages.base import Kind, Stage, StageJob, StageResult

if TYPE_CHECKING:
    from data_tools.rows import Dropped, Row
    from light_r1.stages.policy import Policy


class DPOStage(Stage):
    """Trains `from` to prefer right responses to its own wrong ones, with `SemiOnPolicyDPOTrainer`.

    Rows of `data` are one of: questions with `problem`, `answer` and a teacher's `solution` (with `sample:`, the
    policy's samples are drawn and judged first); questions that carry judged `responses`; ready pairs with
    `problem`, `chosen` and `rejected`.
    """

    makes: ClassVar[Kind] = "model"
    output = "model"
    args_class = "light_r1.trainers.dpo:SemiOnPolicyDPOConfig"
    options_class = "light_r1.stages.options:DPOOptions"
    reads: ClassVar[tuple[Literal["model", "chat", "sampler"], ...]] = ("model", "chat", "sampler")

    def run(self, job: StageJob) -> StageResult:
        """Make the pairs, or take those of an earlier attempt, then train."""
        from data_tools.rows import read_rows
        from light_r1.pairs import describe_pairs
        from light_r1.stages.inputs import as_dataset, stage_rows
        from light_r1.stages.policy import Policy, config_for, train_and_save, write_dropped, write_summary
        from light_r1.trainers.dpo import SemiOnPolicyDPOConfig, SemiOnPolicyDPOTrainer

        policy = Policy(job)
        assert job.spec.data is not None
        questions = stage_rows(job, job.spec.data)
        pairs, dropped = _pairs(job, policy, questions)
        pairs_file = job.dir.output / "pairs.jsonl"
        if job.ranks.is_main:
            from data_tools.rows import write_rows

            write_rows(pairs_file, pairs)
            write_summary(job.dir.output / "pairs.summary.json", describe_pairs(pairs))
        write_dropped(job, (("pair", item) for item in dropped))
        job.ranks.barrier()
        pairs = list(read_rows(pairs_file))
        if not pairs:
            reasons = Counter(item.reason for item in dropped)
            raise StageError(f"{job.spec.name}: no pair could be made of {len(questions)} questions: {dict(reasons)}")
        dataset = as_dataset(pairs, ("prompt_ids", "chosen_ids", "rejected_ids"))
        trainer = SemiOnPolicyDPOTrainer(
            policy.model,
            config_for(job, SemiOnPolicyDPOConfig),
            dataset,
            processing_class=policy.tokenizer,
            chat=policy.chat,
            **policy.lora(job),
        )
        lost = Counter(item.reason for item in dropped) + Counter(item["reason"] for item in trainer.dropped)
        rows = RowCounts(len(questions), len(pairs) - len(trainer.dropped), dict(lost))
        return train_and_save(trainer, policy, job, rows)


def _pairs(job: StageJob, policy: Policy, questions: list[Row]) -> tuple[list[Row], list[Dropped]]:
    from data_tools.rows import Dropped
    from light_r1.pairs import PairOptions, build_pairs
    from light_r1.rollouts import with_responses
    from light_r1.stages.options import SampleOptions
    from light_r1.stages.policy import sampling_params

    if "sample" in job.spec.options:
        options = SampleOptions(**job.spec.options["sample"])
        collector = policy.collector(job, job.dir.path, batch_size=options.batch_size)
        params = sampling_params(options, job.recipe.seed)
        samples = collector.collect(questions, options.n, params, label=job.spec.name)
        questions = [with_responses(*pair) for pair in zip(questions, samples, strict=True)]
    elif "responses" not in questions[0]:
        return [_ready_pair(row, policy) for row in questions], []
    fields: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in job.spec.options.get("pairs", {}).items()
    }
    made = list(build_pairs(questions, policy.chat, PairOptions(**{"seed": job.recipe.seed, **fields})))
    return [m for m in made if not isinstance(m, Dropped)], [m for m in made if isinstance(m, Dropped)]


def _ready_pair(row: Row, policy: Policy) -> Row:
    missing = [column for column in ("problem", "chosen", "rejected") if not isinstance(row.get(column), str)]
    if missing:
        raise DataError(
            f"dpo without `sample` needs responses, or problem, chosen and rejected; no text in {', '.join(missing)}. "
            f"The columns are {', '.join(sorted(row))}."
        )
    return {
        "id": row.get("id", row["problem"]),
        "prompt_ids": policy.chat.prompt_ids(row["problem"]),
        "chosen_ids": policy.chat.completion_ids(row["chosen"]),
        "rejected_ids": policy.chat.response_ids(row["rejected"]),
        "chosen_from": "given",
        "rejected_rule": "given",
    }
