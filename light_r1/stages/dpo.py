"""Semi-on-policy preference training (`type: dpo`): sample, judge, pair, train; resumable at each arrow.

With `rounds`, the policy that one round has trained is sampled for the next, each in a folder of its own below
`rounds/`; a round that is done is not done again.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from light_r1.errors import DataError, StageError
from light_r1.recipe.check.args import Args
from light_r1.recipe.check.findings import Findings
from light_r1.recipe.check.rows import Sample, check_answers, need, report_first
from light_r1.recipe.cost.estimate import Estimate, Work, add_forward, add_training, epochs_steps
from light_r1.recipe.cost.rows import Amount
from light_r1.recipe.spec import Recipe, StageSpec
from light_r1.run_dir.files import write_json
from light_r1.run_dir.manifest import RowCounts
from light_r1.stages.base import Artifact, Kind, Stage, StageJob, StageResult
from light_r1.stages.memory import training_advice
from light_r1.stages.sampling import SampleOptions
from light_r1.stages.settings import report_refused
from light_r1.trainers.settings import DPO, dpo_conflicts

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedModel

    from data_tools.rows.row import Dropped, Row
    from light_r1.rollouts.pairs import PairOptions
    from light_r1.stages.policy import Policy


@dataclass(frozen=True, slots=True)
class DPOOptions:
    """Keys of a `dpo` stage.

    Args:
        sample: How responses are sampled; without it rows must carry `responses`, or `chosen` and `rejected`.
        pairs: How pairs are built from judged responses; null for the defaults of `PairOptions`.
        rounds: How often to sample, pair and train; each round samples the policy that the last one has made.
        reference: What later rounds are held against: `refresh` takes the policy at the start of the round, `keep`
            the one at the start of the stage.
    """

    sample: SampleOptions | None = None
    pairs: PairOptions | None = None
    rounds: int = 1
    reference: Literal["refresh", "keep"] = "refresh"


class DPOStage(Stage):
    """Trains `from` to prefer right responses to its own wrong ones, with `SemiOnPolicyDPOTrainer`.

    Rows of `data` are one of: questions with `problem`, `answer` and a teacher's `solution` (with `sample:`, the
    policy's samples are drawn and judged first); questions that carry judged `responses`; ready pairs with
    `problem`, `chosen` and `rejected`.
    """

    version = 2
    makes: ClassVar[Kind] = "model"
    output = "model"
    args_class = "light_r1.trainers.dpo.config:SemiOnPolicyDPOConfig"
    options_class = "light_r1.stages.dpo:DPOOptions"
    reads: ClassVar[tuple[Literal["model", "chat", "sampler"], ...]] = ("model", "chat", "sampler")
    data = "required"
    models = (1, 1)
    trains = True

    def run(self, job: StageJob) -> StageResult:
        """Make the pairs, or take those of an earlier attempt, then train; once, or round by round."""
        from light_r1.run_dir.folder import StageDir
        from light_r1.stages.handover import settle_base

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
            settle_base(job.dir.output / "model")
            for number in range(rounds):
                for name, found in StageDir(job.dir.path / "rounds" / str(number)).read_loaded().items():
                    job.dir.note_loaded(name, found)
        job.ranks.barrier()
        metrics = {
            f"round-{n}/{key}": value for n, result in enumerate(results) for key, value in result.metrics.items()
        }
        return StageResult(
            {**metrics, **results[-1].metrics},
            results[-1].rows,
            sum(result.tokens or 0 for result in results),
            sum(result.steps or 0 for result in results),
            results[-1].handover,
        )

    def check(self, spec: StageSpec, findings: Findings, *, world_size: int) -> None:
        """Check losses, the reference, and that the longest sampled response can be trained on."""
        args = Args(spec)
        key = f"{spec.name}.args"
        report_refused(spec, DPO, dpo_conflicts(args), findings)
        losses, weights = args["loss_type"] or ["sigmoid"], args["loss_weights"]
        if weights is not None and len(weights) != len(losses):
            findings.at(f"{key}.loss_weights", f"{len(weights)} weights for {len(losses)} losses")
        if args["precompute_ref_log_probs"] and args["sync_ref_model"]:
            findings.at(f"{key}.sync_ref_model", "a reference scored once cannot follow the model", "one of the two")
        keeps = spec.options.get("rounds", 1) > 1 and spec.options.get("reference") == "keep"
        if not args["precompute_ref_log_probs"] and spec.model.lora is None and not keeps:
            fault = "TRL would reload the reference from disk"
            findings.at(f"{key}.precompute_ref_log_probs", fault, "true, or several rounds and reference: keep")
        sample, pairs = spec.options.get("sample") or {}, spec.options.get("pairs") or {}
        longest = min(sample.get("max_tokens", 0), pairs.get("max_rejected_tokens") or sample.get("max_tokens", 0))
        limit = args["max_length"]
        if limit is not None and longest > limit:
            findings.at(
                f"{key}.max_length",
                f"{limit} is less than sample.max_tokens {longest}: the longest rejected responses would be dropped"
                + ("" if args.written("max_length") else " (it is TRL's default, not set here)"),
                f"max_length of {longest} and room for the prompt",
            )
        if pairs.get("chosen") == "self" and sample.get("n") == 1:
            findings.at(f"{spec.name}.sample.n", "one response cannot be right and wrong", "at least 2")

    def check_rows(self, spec: StageSpec, sample: Sample, findings: Findings) -> None:
        """Check for questions to sample, judged responses, or ready pairs."""
        pairs = spec.options.get("pairs") or {}
        teacher = pairs.get("chosen", "teacher") == "teacher"
        who = f"stage {spec.name}"
        columns: tuple[str, ...] = ("problem",)
        if spec.options.get("sample"):
            columns = (*columns, "answer", "solution") if teacher else (*columns, "answer")
            if need(sample, columns, who, findings):
                check_answers(sample, findings)
        elif sample.has("responses"):
            columns = (*columns, "solution") if teacher else columns
            if teacher and pairs.get("verify_teacher", True):
                columns = (*columns, "answer")
            if need(sample, columns, who, findings) and "answer" in columns:
                check_answers(sample, findings)
            each = "responses must be a list of items with text and correct: true, false or null"
            report_first(sample, each, _no_responses, findings)
            report_first(replace(sample, mended=True), "no response is there", _is_without_responses, findings)
        elif sample.has("chosen") or sample.has("rejected"):
            if need(sample, ("problem", "chosen", "rejected"), who, findings):
                report_first(sample, "chosen and rejected are the same", _same_sides, findings)
        else:
            findings.at(
                sample.key,
                f"stage {spec.name} does not sample, and there are neither responses nor chosen and rejected; "
                f"the columns are {', '.join(sample.columns)}",
                f"sample: in stage {spec.name}, or other data",
            )

    def estimate(self, work: Work) -> Estimate:
        """Estimate sampling, the reference and training, round by round."""
        options, args, rows = work.stage.options, work.args, work.rows.count
        if rows is None:
            return add_training(work, Estimate(batch=work.batch), None)
        sample, rounds = options.get("sample"), options.get("rounds", 1)
        pairs = rows
        if sample is not None or "pairs" in options:
            pairs = rows.times((options.get("pairs") or {}).get("per_question", 1)).at_most()
        sampled = rows.times(sample["n"] * sample["max_tokens"] * rounds).at_most() if sample else None
        steps = epochs_steps(work, pairs, args["num_train_epochs"]).times(rounds)
        length = args["max_length"]
        trained = pairs.times(2 * args["num_train_epochs"] * rounds * length).at_most() if length else None
        estimate = Estimate(rows=rows, steps=steps, batch=work.batch, trained=trained, sampled=sampled)
        estimate = add_training(work, estimate, Amount(length, "≤") if length else None, sequences=2)
        # The reference scores every pair once.
        return (
            estimate
            if trained is None
            else add_forward(work, estimate, trained.value / args["num_train_epochs"], length)
        )

    def less_memory(self, spec: StageSpec, recipe: Recipe) -> str:
        """Name the settings of training."""
        return training_advice(spec, longest="max_length")


def _round_job(job: StageJob, number: int, before: StageJob) -> StageJob:
    """Return the job of one round: its own folder, and the model of the round before."""
    from light_r1.models.checkpoints import last_checkpoint, set_torn_aside
    from light_r1.run_dir.folder import StageDir

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
    from light_r1.run_dir.manifest import describe_outputs
    from light_r1.stages.handover import ROUND

    done = current.dir.path / ROUND
    if done.exists():
        content = json.loads(done.read_text(encoding="utf-8"))
        del content["outputs"]
        content["rows"] = RowCounts(**content["rows"])
        return StageResult(**content)
    result = _round(current, number, start=_start(job) if job.spec.options.get("reference") == "keep" else None)
    if job.ranks.is_main:
        outputs = {name: asdict(one) for name, one in describe_outputs(current.dir.path).items()}
        write_json(done, {**asdict(result), "outputs": outputs})
    job.ranks.barrier()
    return result


def _start(job: StageJob) -> str:
    """Return the path of the model that the stage started from, for rounds that keep it as the reference."""
    path = str(job.model_input.path) if job.model_input else job.spec.model.name_or_path
    if path is None:
        raise StageError(f"{job.spec.name}: reference: keep needs a model on disk to start from")
    return path


def _reference(start: str, policy: Policy, job: StageJob) -> PreTrainedModel:
    """Load a reference that is held apart from the policy and scores as the policy does."""
    from light_r1.models.handover import DTYPES
    from light_r1.models.load import load_model
    from light_r1.trainers.building import hold_as_computed

    spec, precision = job.spec.model, policy.precision
    model = load_model(
        start,
        dtype=precision.held,
        attn_implementation=spec.attn_implementation,
        trust_remote_code=spec.trust_remote_code,
    )
    if precision.mixed:
        hold_as_computed(model, DTYPES[precision.computed])
    return model


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        shutil.copy2(source, target)


def _round(job: StageJob, number: int, *, start: str | None) -> StageResult:
    from data_tools.rows.files import read_rows, write_rows
    from light_r1.rollouts.pairs import describe_pairs
    from light_r1.stages.policy import Policy, config_for, write_dropped
    from light_r1.stages.rows import as_dataset, stage_rows
    from light_r1.stages.training import train_and_save
    from light_r1.trainers.dpo.config import SemiOnPolicyDPOConfig
    from light_r1.trainers.dpo.trainer import SemiOnPolicyDPOTrainer

    policy = Policy(job, trains=True)
    assert job.spec.data is not None
    questions = stage_rows(job, job.spec.data)
    pairs, dropped = _pairs(job, policy, questions, number)
    pairs_file = job.dir.output / "pairs.jsonl"
    if job.ranks.is_main:
        write_rows(pairs_file, pairs)
        write_json(job.dir.output / "pairs.summary.json", describe_pairs(pairs))
    write_dropped(job, (("pair", item) for item in dropped))
    job.ranks.barrier()
    pairs = list(read_rows(pairs_file))
    if not pairs:
        reasons = Counter(item.reason for item in dropped)
        raise StageError(f"{job.spec.name}: no pair could be made of {len(questions)} questions: {dict(reasons)}")
    trainer = SemiOnPolicyDPOTrainer(
        policy.model,
        config_for(job, SemiOnPolicyDPOConfig),
        as_dataset(pairs, ("prompt_ids", "chosen_ids", "rejected_ids")),
        processing_class=policy.tokenizer,
        chat=policy.chat,
        ref_model=_reference(start, policy, job) if start else None,
        **policy.lora(job),
    )
    lost = Counter(item.reason for item in dropped) + Counter(item["reason"] for item in trainer.dropped)
    rows = RowCounts(len(questions), len(pairs) - len(trainer.dropped), dict(lost), unit="pairs")
    return train_and_save(trainer, policy, job, rows)


def _pairs(job: StageJob, policy: Policy, questions: list[Row], number: int) -> tuple[list[Row], list[Dropped]]:
    from data_tools.rows.row import Dropped
    from light_r1.rollouts.collector import with_responses
    from light_r1.rollouts.pairs import PairOptions, build_pairs
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
    built = list(build_pairs(questions, policy.chat, PairOptions(**{"seed": seed, **fields})))
    return [m for m in built if not isinstance(m, Dropped)], [m for m in built if isinstance(m, Dropped)]


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


def _no_responses(row: Mapping[str, Any]) -> bool:
    responses = row.get("responses")
    return not isinstance(responses, list) or not all(
        isinstance(one, Mapping)
        and one.get("correct", "") in (True, False, None)
        and (one.get("text") or one.get("completion_ids")) is not None
        for one in responses
    )


def _is_without_responses(row: Mapping[str, Any]) -> bool:
    return row.get("responses") == []


def _same_sides(row: Mapping[str, Any]) -> bool:
    return bool(row.get("chosen") == row.get("rejected"))
