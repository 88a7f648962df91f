"""Context schedule of GRPO: completion lengths by stage, each ended by steps or by a metric.

A stage ends after `steps`, or earlier by a trigger: the smoothed share of clipped completions stays high (DeepScaleR
went from 8k to 16k when it rose from 4.2 % to 6.5 %), or the smoothed reward stops growing. Triggers have hysteresis:
the share may dip to `clip_ratio_low` without starting over, and must have been high for `patience` steps in all; a
stage never ends before `min_steps`, and no stage comes back. What watches for collapse is in `collapse.py`.

No torch: a schedule reads numbers and is saved as numbers. Metrics have TRL's names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from light_r1.errors import LightR1Error, did_you_mean

CLIP_RATIO = "completions/clipped_ratio"
REWARD = "reward"
LENGTH = "completions/mean_length"
ENTROPY = "entropy"

_SETTINGS = {"beta", "entropy_coef"}


@dataclass(frozen=True, slots=True)
class ContextStage:
    """One stage of the context.

    Args:
        max_completion_length: Longest completion, in tokens.
        steps: Optimizer steps after which the stage ends, whatever the triggers say; `None`: no such end.
        min_steps: Steps before which no trigger ends the stage.
        clip_ratio: End the stage when the smoothed share of clipped completions reaches this.
        clip_ratio_low: Share below which the count of steps with many clipped completions starts over; 0.8 of
            `clip_ratio` if `None`.
        patience: Steps for which the share has to be high.
        plateau_steps: End the stage when the smoothed reward has not grown for this many steps.
        plateau_gain: What counts as growth of the reward.
        settings: `beta` and `entropy_coef` while the stage lasts, instead of those of the run, which must not be 0
            there: without `beta` a run loads no reference. What else differs (data, batch, group, temperature,
            learning rate) makes another stage of a recipe.
    """

    max_completion_length: int
    steps: int | None = None
    min_steps: int = 0
    clip_ratio: float | None = None
    clip_ratio_low: float | None = None
    patience: int = 5
    plateau_steps: int | None = None
    plateau_gain: float = 0.0
    settings: Mapping[str, float] = field(default_factory=dict)

    @property
    def ends(self) -> bool:
        """Whether anything ends this stage."""
        return self.steps is not None or self.clip_ratio is not None or self.plateau_steps is not None


def parse_stages(
    entries: Sequence[Mapping[str, Any]], *, beta: float = 0.0, entropy_coef: float = 0.0
) -> tuple[ContextStage, ...]:
    """Read the entries of `context_schedule`.

    Args:
        entries: The entries.
        beta: The run's weight of the KL.
        entropy_coef: The run's weight of the entropy.

    Raises:
        LightR1Error: There is no entry, a key is unknown, a value is of the wrong kind or out of range, a stage
            before the last has no end, or one sets what the run has turned off.
    """
    if not entries:
        raise LightR1Error("context_schedule: has no stage")
    stages = []
    for index, entry in enumerate(entries):
        where = f"context_schedule[{index}]"
        names = [one.name for one in fields(ContextStage)]
        for key in entry:
            if key not in names:
                raise LightR1Error(f"{where}: no such key {key!r}. {did_you_mean(key, names)}")
        if "max_completion_length" not in entry:
            raise LightR1Error(f"{where}: max_completion_length is missing")
        for key, value in entry.items():
            _check_value(f"{where}.{key}", key, value)
        for name, of_run in (("beta", beta), ("entropy_coef", entropy_coef)):
            if entry.get("settings", {}).get(name) and not of_run:
                raise LightR1Error(f"{where}.settings.{name}: needs a run whose own {name} is not 0")
        stages.append(ContextStage(**entry))
        if index < len(entries) - 1 and not stages[-1].ends:
            raise LightR1Error(f"{where}: only the last stage may lack steps, clip_ratio and plateau_steps")
    return tuple(stages)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_value(where: str, key: str, value: Any) -> None:
    number = _is_number(value)
    if key == "settings":
        if not isinstance(value, Mapping) or not set(value) <= _SETTINGS or not all(map(_is_number, value.values())):
            raise LightR1Error(f"{where}: expected a mapping with numbers for {sorted(_SETTINGS)}, got {value!r}")
    elif key in ("clip_ratio", "clip_ratio_low"):
        if value is not None and not (number and 0 < value <= 1):
            raise LightR1Error(f"{where}: expected a share above 0 and up to 1, got {value!r}")
    elif key == "plateau_gain":
        if not number or value < 0:
            raise LightR1Error(f"{where}: expected a number, at least 0, got {value!r}")
    elif value is not None or key in ("max_completion_length", "min_steps", "patience"):
        lowest = 0 if key == "min_steps" else 1
        if not isinstance(value, int) or isinstance(value, bool) or value < lowest:
            raise LightR1Error(f"{where}: expected a whole number, at least {lowest}, got {value!r}")


@dataclass(slots=True)
class Smooth:
    """An exponential mean that starts at its first value.

    Args:
        keep: Share of the old mean that a new value leaves.
        total: Weighted sum so far.
        weight: Sum of the weights.
    """

    keep: float
    total: float = 0.0
    weight: float = 0.0

    def add(self, value: float) -> float:
        """Take a value in and return the mean."""
        self.total = self.keep * self.total + (1 - self.keep) * value
        self.weight = self.keep * self.weight + (1 - self.keep)
        return self.total / self.weight


@dataclass(frozen=True, slots=True)
class Move:
    """The context went from one stage to the next.

    Args:
        step: Optimizer steps done by then.
        stage: Index of the new stage.
        reason: Why, as a sentence for the log.
    """

    step: int
    stage: int
    reason: str


class ContextSchedule:
    """Where a run is in its context stages.

    Args:
        stages: The stages, in order.
        smoothing: Share of the old mean in the smoothed metrics.

    Attributes:
        index: Index of the current stage.
        moves: What has happened so far.

    Example:
        >>> schedule = ContextSchedule(parse_stages([{"max_completion_length": 8192, "clip_ratio": 0.065},
        ...                                          {"max_completion_length": 16384}]))
        >>> schedule.update(1, {"completions/clipped_ratio": 0.04, "reward": 0.5})
        >>> schedule.stage.max_completion_length
        8192
    """

    def __init__(self, stages: Sequence[ContextStage], *, smoothing: float = 0.9) -> None:
        self.stages = tuple(stages)
        self.smoothing = smoothing
        self.moves: list[Move] = []
        self.index = 0
        self._seen = 0
        self._enter(0, 0)

    @property
    def stage(self) -> ContextStage:
        """The current stage."""
        return self.stages[self.index]

    @property
    def longest(self) -> int:
        """The longest completion of any stage: what vLLM has to be sized for."""
        return max(stage.max_completion_length for stage in self.stages)

    @property
    def total_steps(self) -> int | None:
        """The steps of all stages, `None` if one has no such end."""
        counts = [stage.steps for stage in self.stages]
        return None if None in counts else sum(count for count in counts if count is not None)

    def update(self, step: int, metrics: Mapping[str, float]) -> Move | None:
        """Take in what an optimizer step showed, and go to the next stage if it is time.

        Args:
            step: Optimizer steps done by now. A step that was taken in before is passed over.
            metrics: TRL's names; those that triggers need (`completions/clipped_ratio`, `reward`) may be missing
                from single steps.

        Returns:
            The move, or `None`.
        """
        if step <= self._seen:
            return None
        self._seen = step
        clipped_reason = self._clipped(metrics)
        plateau_reason = self._plateau(step, metrics)
        if self.index == len(self.stages) - 1:
            return None
        done = step - self._start
        reason = None
        if self.stage.steps is not None and done >= self.stage.steps:
            reason = f"{self.stage.steps} steps done"
        elif done >= self.stage.min_steps:
            reason = clipped_reason or plateau_reason
        if reason is None:
            return None
        self._enter(self.index + 1, step)
        self.moves.append(Move(step, self.index, reason))
        return self.moves[-1]

    def _enter(self, index: int, step: int) -> None:
        self.index = index
        self._start = step
        self._clip = Smooth(self.smoothing)
        self._reward = Smooth(self.smoothing)
        self._high = 0
        self._best: float | None = None
        self._best_step = step

    def _clipped(self, metrics: Mapping[str, float]) -> str | None:
        bound = self.stage.clip_ratio
        if bound is None or CLIP_RATIO not in metrics:
            return None
        low = self.stage.clip_ratio_low if self.stage.clip_ratio_low is not None else 0.8 * bound
        share = self._clip.add(metrics[CLIP_RATIO])
        if share >= bound:
            self._high += 1
        elif share < low:
            self._high = 0
        if self._high < self.stage.patience:
            return None
        return f"{share:.1%} of the completions are clipped, {bound:.1%} or more for {self._high} steps"

    def _plateau(self, step: int, metrics: Mapping[str, float]) -> str | None:
        if self.stage.plateau_steps is None or REWARD not in metrics:
            return None
        reward = self._reward.add(metrics[REWARD])
        if self._best is None or reward > self._best + self.stage.plateau_gain:
            self._best, self._best_step = reward, step
        idle = step - self._best_step
        return f"the reward stays at {reward:.3g} for {idle} steps" if idle >= self.stage.plateau_steps else None

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a resumed run needs, as JSON values."""
        return {
            "index": self.index,
            "seen": self._seen,
            "start": self._start,
            "clip": [self._clip.total, self._clip.weight],
            "reward": [self._reward.total, self._reward.weight],
            "high": self._high,
            "best": self._best,
            "best_step": self._best_step,
            "lengths": [stage.max_completion_length for stage in self.stages],
            "moves": [[move.step, move.stage, move.reason] for move in self.moves],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken.

        Raises:
            LightR1Error: It belongs to a schedule of other lengths.
        """
        lengths = [stage.max_completion_length for stage in self.stages]
        if state["lengths"] != lengths:
            raise LightR1Error(f"context_schedule is now {lengths}, the checkpoint was of {state['lengths']}")
        self._enter(state["index"], state["start"])
        self._seen, self._high = state["seen"], state["high"]
        self._clip = Smooth(self.smoothing, *state["clip"])
        self._reward = Smooth(self.smoothing, *state["reward"])
        self._best, self._best_step = state["best"], state["best_step"]
        self.moves = [Move(*move) for move in state["moves"]]
