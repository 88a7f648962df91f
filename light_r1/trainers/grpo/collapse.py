"""Detect a collapse: reward, entropy or length beyond a bound, smoothed, for some steps.

Says so and names the last step that was well; to stop or to rewind is the trainer's business. No torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from light_r1.trainers.grpo.context import ENTROPY, LENGTH, REWARD, Smooth


@dataclass(frozen=True, slots=True)
class CollapseBounds:
    """What counts as a collapse; a bound of `None` is not watched.

    Args:
        reward_drop: Fall of the smoothed reward from its best, in the reward's units.
        min_entropy: Lowest smoothed entropy per token, in nats.
        min_length_share: Lowest smoothed mean length of completions, as a share of its highest since `restart`.
        patience: Steps for which a bound has to be broken.
        warmup: Steps at the start, and after `restart`, that only set the marks.
    """

    reward_drop: float | None = None
    min_entropy: float | None = None
    min_length_share: float | None = None
    patience: int = 5
    warmup: int = 10


@dataclass(frozen=True, slots=True)
class Collapse:
    """A collapse.

    Args:
        step: Optimizer steps done when it was certain.
        metric: Which metric fell.
        reason: A sentence with the numbers.
        last_good_step: The last step at which no bound was broken: a checkpoint of it or before is sound.
    """

    step: int
    metric: str
    reason: str
    last_good_step: int


class CollapseWatch:
    """Watches a run's metrics.

    Args:
        bounds: What counts as a collapse.
        smoothing: Share of the old mean in the smoothed metrics.

    Attributes:
        last_good_step: The last step at which no bound was broken.
    """

    def __init__(self, bounds: CollapseBounds, *, smoothing: float = 0.9) -> None:
        self.bounds = bounds
        self.smoothing = smoothing
        self.last_good_step = 0
        self._seen = 0
        self.restart()

    def restart(self) -> None:
        """Forget the marks: after a rewind, or when the context changes and lengths with it."""
        self._means = {name: Smooth(self.smoothing) for name in (REWARD, ENTROPY, LENGTH)}
        self._highest: dict[str, float] = {}
        self._broken = {name: 0 for name in self._means}
        self._start = self._seen

    def update(self, step: int, metrics: Mapping[str, float]) -> Collapse | None:
        """Take in what an optimizer step showed.

        Args:
            step: Optimizer steps done by now; smaller than before after a rewind.
            metrics: `reward`, `entropy` and `completions/mean_length`; those that are missing are not judged.
        """
        self._seen = step
        broken: dict[str, str] = {}
        for name, mean in self._means.items():
            if name not in metrics:
                continue
            value = mean.add(metrics[name])
            self._highest[name] = max(value, self._highest.get(name, value))
            fault = self._fault(name, value) if step - self._start > self.bounds.warmup else None
            self._broken[name] = self._broken[name] + 1 if fault else 0
            if fault:
                broken[name] = fault
        if not broken:
            self.last_good_step = step
        for name, fault in broken.items():
            if self._broken[name] >= self.bounds.patience:
                return Collapse(step, name, f"{fault}, for {self._broken[name]} steps", self.last_good_step)
        return None

    def _fault(self, name: str, value: float) -> str | None:
        bounds, highest = self.bounds, self._highest[name]
        if name == REWARD and bounds.reward_drop is not None and highest - value > bounds.reward_drop:
            return f"the reward fell from {highest:.3g} to {value:.3g}, by more than {bounds.reward_drop:g}"
        if name == ENTROPY and bounds.min_entropy is not None and value < bounds.min_entropy:
            return f"the entropy is {value:.3g}, below {bounds.min_entropy:g}"
        share = bounds.min_length_share
        if name == LENGTH and share is not None and value < share * highest:
            return f"completions have {value:.0f} tokens, below {share:g} of the {highest:.0f} they had"
        return None

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a resumed run needs, as JSON values."""
        return {
            "last_good_step": self.last_good_step,
            "seen": self._seen,
            "start": self._start,
            "means": {name: [mean.total, mean.weight] for name, mean in self._means.items()},
            "highest": dict(self._highest),
            "broken": dict(self._broken),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.last_good_step, self._seen, self._start = state["last_good_step"], state["seen"], state["start"]
        self._means = {name: Smooth(self.smoothing, *mean) for name, mean in state["means"].items()}
        self._highest, self._broken = dict(state["highest"]), dict(state["broken"])
