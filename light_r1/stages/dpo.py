"""Semi-on-policy preference training (`type: dpo`): sample, judge, pair, train; resumable at each arrow.

With `rounds`, the policy that one round has trained is sampled for the next, each in a folder of its own below
`rounds/`; a round that is done is not done again.
"""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from light_r1.atomic import write_json
from light_r1.errors import DataError, StageError
from light_r1.manifest import RowCounts
from light_r1.stages.base import Artifact, Kind, Stage, StageJob, StageResult

if TYPE_CHECKING:
    from pathlib import Path

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
        """Make the pairs, or take those of an earlier attempt, then train; once, or round by round."""
        rounds = job.spec.options.get("rounds", 1)
        if rounds == 1:
            return _round(job, 0, start=None)
        results = []
        current = job
        for number in range(rounds):
            current = _round_job(job, number, current)
            results.append(_round_once(current, number, job))
        if job.ranks.is_main:
            for name in ("model", "pairs.jsonl", "pairs.summary.json"):
                _copy(current.dir.output / name, job.dir.output / name)
        job.ranks.barrier()
        metrics = {
            f"round-{n}/{key}": value for n, result in enumerate(results) for key, value in result.metrics.items()
        }
        return StageResult(
            {**metrics, **results[-1].metrics},
            results[-1].rows,
            sum(result.tokens or 0 for result in results),
            sum(result.steps or 0 for result in results),
        )


def _round_job(job: StageJob, number: int, before: StageJob) -> StageJob:
    """Return the job of one round: its own folder, and the model of the round before."""
    from light_r1.checkpoints import last_checkpoint, set_torn_aside
    from light_r1.run_dir import StageDir

    folder = StageDir(job.dir.path / "rounds" / str(number))
    if job.ranks.is_main:
        folder.output.mkdir(parents=True, exist_ok=True)
        set_torn_aside(folder.checkpoints)
    job.ranks.barrier()
    inputs = dict(job.inputs)
    spec = job.spec
    if number:
        name = f"{spec.name} round {number - 1}"
        inputs[name] = Artifact(before.dir.output / "model", "model", "")
        spec = replace(spec, inputs=(name,))
    return replace(job, spec=spec, inputs=inputs, dir=folder, checkpoint=last_checkpoint(folder.checkpoints))


def _round_once(current: StageJob, number: int, job: StageJob) -> StageResult:
    import json

    done = current.dir.path / "done.json"
    if done.exists():
        found = json.loads(done.read_text(encoding="utf-8"))
        found["rows"] = RowCounts(**found["rows"])
        return StageResult(**found)
    result = _round(current, number, start=_start(job) if job.spec.options.get("reference") == "keep" else None)
    if job.ranks.is_main:
        assert result.rows is not None
        rows = {"seen": result.rows.seen, "kept": result.rows.kept, "dropped": result.rows.dropped}
        write_json(done, {"metrics": result.metrics, "rows": rows, "tokens": result.tokens, "steps": result.steps})
    job.ranks.barrier()
    return result


def _start(job: StageJob) -> str:
    """Return the path of the model that the stage started from, for rounds that keep it as the reference."""
    path = str(job.model_input.path) if job.model_input else job.spec.model.name_or_path
    if path is None:
        raise StageError(f"{job.spec.name}: reference: keep needs a model on disk to start from")
    return path


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        shutil.copy2(source, target)


def _round(job: StageJob, number: int, *, start: str | None) -> StageResult:
    from data_tools.rows import read_rows, write_rows
    from light_r1.models import load_model
    from light_r1.pairs import describe_pairs
    from light_r1.stages.inputs import as_dataset, stage_rows
    from light_r1.stages.policy import Policy, config_for, write_dropped, write_summary
    from light_r1.stages.training import train_and_save
    from light_r1.trainers.dpo import SemiOnPolicyDPOConfig, SemiOnPolicyDPOTrainer

    policy = Policy(job)
    assert job.spec.data is not None
    questions = stage_rows(job, job.spec.data)
    pairs, dropped = _pairs(job, policy, questions, number)
    pairs_file = job.dir.output / "pairs.jsonl"
    if job.ranks.is_main:
        write_rows(pairs_file, pairs)
        write_summary(job.dir.output / "pairs.summary.json", describe_pairs(pairs))
    write_dropped(job, (("pair", item) for item in dropped))
    job.ranks.barrier()
    pairs = list(read_rows(pairs_file))
    if not pairs:
        reasons = Counter(item.reason for item in dropped)
        raise StageError(f"{job.spec.name}: no pair could be made of {len(questions)} questions: {dict(reasons)}")
    model = job.spec.model
    trainer = SemiOnPolicyDPOTrainer(
        policy.model,
        config_for(job, SemiOnPolicyDPOConfig),
        as_dataset(pairs, ("prompt_ids", "chosen_ids", "rejected_ids")),
        processing_class=policy.tokenizer,
        chat=policy.chat,
        ref_model=load_model(start, dtype=model.dtype, attn_implementation=model.attn_implementation)
        if start
        else None,
        **policy.lora(job),
    )
    lost = Counter(item.reason for item in dropped) + Counter(item["reason"] for item in trainer.dropped)
    rows = RowCounts(len(questions), len(pairs) - len(trainer.dropped), dict(lost))
    return train_and_save(trainer, policy, job, rows)


def _pairs(job: StageJob, policy: Policy, questions: list[Row], number: int) -> tuple[list[Row], list[Dropped]]:
    from data_tools.rows import Dropped
    from light_r1.pairs import PairOptions, build_pairs
    from light_r1.rollouts import with_responses
    from light_r1.stages.options import SampleOptions
    from light_r1.stages.policy import sampling_params

    seed = job.recipe.seed + number
    if "sample" in job.spec.options:
        options = SampleOptions(**job.spec.options["sample"])
        collector = policy.collector(job, job.dir.path, batch_size=options.batch_size)
        samples = collector.collect(questions, options.n, sampling_params(options, seed), label=job.spec.name)
        questions = [with_responses(*pair) for pair in zip(questions, samples, strict=True)]
    elif "responses" not in questions[0]:
        return [_ready_pair(row, policy) for row in questions], []
    fields: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in job.spec.options.get("pairs", {}).items()
    }
    made = list(build_pairs(questions, policy.chat, PairOptions(**{"seed": seed, **fields})))
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
