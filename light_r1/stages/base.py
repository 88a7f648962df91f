"""Interface of a stage: what it needs, checks, estimates and advises, and how it runs.

A stage declares its config class and its further keys as names, which validation reads from the source; nothing
heavy is imported until `run`. `check` and `plan` ask built-in stages only: of a type outside the package they ask the
nearest built-in base (`light_r1.stages.described_stage`), so that none of a user's code runs before `run` does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from light_r1.errors import StageError
from light_r1.ranks import Ranks
from light_r1.recipe.check.args import Args
from light_r1.recipe.check.findings import Findings
from light_r1.recipe.check.rows import Sample
from light_r1.recipe.cost.estimate import Estimate, Work
from light_r1.recipe.spec import Recipe, StageSpec
from light_r1.run_dir.folder import StageDir
from light_r1.run_dir.manifest import RowCounts

Kind = Literal["model", "rows", "scores"]


@dataclass(frozen=True, slots=True)
class Artifact:
    """The output of a stage.

    Args:
        path: Model folder, rows file or scores file.
        kind: Which of them.
        fingerprint: Identity of the stage that made it.
    """

    path: Path
    kind: Kind
    fingerprint: str


@dataclass(frozen=True, slots=True)
class StageJob:
    """All that a running stage may see.

    Args:
        spec: The stage as the recipe has it.
        recipe: The recipe, for its model, chat, data and evaluation blocks.
        inputs: Artifacts of the earlier stages that this one names, by stage name.
        dir: The stage's folder.
        ranks: This process among the others.
        checkpoint: Where training resumes; `None` starts it.
    """

    spec: StageSpec
    recipe: Recipe
    inputs: Mapping[str, Artifact]
    dir: StageDir
    ranks: Ranks
    checkpoint: Path | None = None

    @property
    def model_input(self) -> Artifact | None:
        """The model this stage starts from; `None` is the recipe's `model` block."""
        return self.inputs.get(self.spec.inputs[0]) if self.spec.inputs else None


@dataclass(frozen=True, slots=True)
class StageResult:
    """What a stage reports for its manifest.

    Args:
        metrics: Final numbers.
        rows: The funnel, for stages that read rows.
        tokens: Tokens trained on or sampled.
        steps: Optimizer steps.
        handover: Of a trained model, what its manifest says of its handover.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    rows: RowCounts | None = None
    tokens: int | None = None
    steps: int | None = None
    handover: dict[str, Any] | None = None


class Stage(ABC):
    """One step of a recipe. Subclass it, set the class variables, write `run`.

    Attributes:
        version: Raise it when the same settings would now produce something else.
        makes: Kind of the output.
        output: Path of the output below the stage's `output/` folder.
        args_class: Config class of `args`, as `module:Class`; read as text, never imported during validation.
        options_class: Dataclass of the stage's further keys.
        reads: Blocks of the recipe that the result depends on, besides args, options and inputs.
        data: Whether the stage must name its rows (`data:`), may, or cannot.
        models: How many models `from` may name: the least and the most; None has no bound.
        held_out: Whether it may have `eval_data`.
        trains: Whether it updates weights.
    """

    version: ClassVar[int] = 1
    makes: ClassVar[Kind]
    output: ClassVar[str]
    args_class: ClassVar[str | None] = None
    options_class: ClassVar[str | None] = None
    reads: ClassVar[tuple[Literal["model", "chat", "evaluate", "sampler"], ...]] = ()
    data: ClassVar[Literal["required", "optional", "none"]] = "optional"
    models: ClassVar[tuple[int, int | None]] = (1, None)
    held_out: ClassVar[bool] = False
    trains: ClassVar[bool] = False

    def check(self, spec: StageSpec, findings: Findings, *, world_size: int) -> None:  # noqa: B027  may be nothing
        """Note settings that exclude or need each other, beyond keys and types; nothing heavy is loaded.

        Args:
            spec: The stage.
            findings: Gets the problems and notes; holds the recipe.
            world_size: Number of processes that it will run on.
        """

    def check_batch(self, spec: StageSpec, findings: Findings, *, world_size: int) -> None:
        """Note a batch that cannot be split over the processes; asked only of stages that are to run.

        Args:
            spec: The stage.
            findings: Gets the problems.
            world_size: Number of processes that it will run on.
        """
        args, key = Args(spec), f"{spec.name}.args"
        told = any(findings.told(f"{key}.{name}") for name in ("global_batch_size", "gradient_accumulation_steps"))
        if args.has_batch and not told:
            try:
                args.batch(world_size)
            except StageError as error:
                findings.at(f"{key}.global_batch_size", str(error).removeprefix("global_batch_size: "))

    def check_rows(self, spec: StageSpec, sample: Sample, findings: Findings) -> None:  # noqa: B027  may be nothing
        """Note what is wrong with the first rows of one of the stage's data sources."""

    def estimate(self, work: Work) -> Estimate:
        """Return steps, tokens, time, memory and disk that the stage takes, as far as they are known."""
        return Estimate(rows=work.rows.count)

    def less_memory(self, spec: StageSpec, recipe: Recipe) -> str:
        """Return, as a sentence, which settings would need less memory; empty if nothing is known."""
        return ""

    def files(self, spec: StageSpec, recipe: Recipe) -> dict[str, Path]:
        """Return further files that the result depends on, by a name for each."""
        return {}

    def uses_model(self, spec: StageSpec) -> bool:
        """Return whether the stage loads a model; one that makes rows does so to sample only."""
        return self.makes != "rows" or spec.samples

    @abstractmethod
    def run(self, job: StageJob) -> StageResult:
        """Do the work on every rank; files are written by rank 0 unless named by rank."""

    def resolved(self, spec: StageSpec, recipe: Recipe, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings that the result follows from: what the stage's fingerprint is made of.

        Args:
            spec: The stage.
            recipe: The recipe.
            inputs: Fingerprint of each stage, identity of each data source that goes in.
        """
        blocks: dict[str, Any] = {}
        uses_model = self.uses_model(spec)
        if "model" in self.reads and uses_model:
            model = asdict(spec.model)
            del model["size"]  # only informs the plan
            if not self.trains:
                del model["master_weights"], model["save_dtype"]
            if spec.inputs and spec.inputs[0] != "model":
                # The weights come from an earlier stage, whose fingerprint is among the inputs.
                for key in ("name_or_path", "init", "revision"):
                    del model[key]
            blocks["model"] = model
        if "chat" in self.reads and uses_model:
            blocks["chat"] = asdict(recipe.chat)
        if "sampler" in self.reads and spec.samples:
            blocks["sampler"] = asdict(recipe.sampler)
        if "evaluate" in self.reads and recipe.evaluate is not None:
            evaluate = asdict(recipe.evaluate)
            del evaluate["after"], evaluate["benchmarks"]  # the benchmarks' contents are among the inputs
            blocks["evaluate"] = evaluate
        return _plain(
            {
                "type": spec.type,
                "version": self.version,
                "seed": recipe.seed,
                "args": spec.args,
                "options": spec.options,
                "inputs": dict(inputs),
                **blocks,
            }
        )


def _plain(value: Any) -> Any:
    """Return the value with tuples as lists, as it will be read back from JSON."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
