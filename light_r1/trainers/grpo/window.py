"""Pass-rate window: prompts worth sampling now, and the others when they are due.

A group whose completions are all right or all wrong teaches nothing and costs as much as any other. The pass rate of a
prompt is an exponential mean over its groups, started by an offline pass rate where there is one. A prompt outside
the window rests, longer each time it is found outside again, since the policy it was measured with moves on.

No torch. Under data parallelism every rank must see every group's outcome, so that all choose the same prompts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from light_r1.errors import LightR1Error

Place = Literal["unknown", "inside", "too_hard", "too_easy"]


@dataclass(slots=True)
class PromptRecord:
    """What is known of one prompt.

    Args:
        right: Weighted number of right completions.
        sampled: Weighted number of completions.
        due: Step from which a prompt outside the window is sampled again.
        rests: How often in a row it was found outside.
    """

    right: float = 0.0
    sampled: float = 0.0
    due: int = 0
    rests: int = 0


class PassRateWindow:
    """Pass rates of prompts during a run, and the choice of prompts by them.

    Args:
        low: Lowest pass rate worth sampling, included. Light-R1: 0.25 (offline).
        high: Highest, included. Light-R1: 0.625.
        priors: Offline pass rate of prompts that have one; the others count as unknown and are sampled.
        prior_samples: Completions that a prior counts for.
        keep: Share of a prompt's earlier evidence that one more group leaves.
        revisit_after: Steps for which a prompt outside the window rests at first; doubled each time it is found
            outside again.
        longest_rest: Bound of that doubling, in steps.

    Raises:
        LightR1Error: The window or a prior is not within 0 and 1.

    Example:
        >>> window = PassRateWindow(0.25, 0.625, priors={"p1": 1.0})
        >>> window.wants("p1", step=0), window.wants("p2", step=0)
        (False, True)
    """

    def __init__(
        self,
        low: float,
        high: float,
        *,
        priors: Mapping[str, float] | None = None,
        prior_samples: float = 8.0,
        keep: float = 0.5,
        revisit_after: int = 50,
        longest_rest: int = 800,
    ) -> None:
        if not 0 <= low <= high <= 1:
            raise LightR1Error(f"pass rate window: expected 0 <= low <= high <= 1, got {low:g} and {high:g}")
        self.low, self.high = low, high
        self.keep = keep
        self.revisit_after, self.longest_rest = revisit_after, longest_rest
        self._records: dict[str, PromptRecord] = {}
        for prompt_id, rate in (priors or {}).items():
            if not 0 <= rate <= 1:
                raise LightR1Error(f"pass rate of {prompt_id!r}: expected 0 to 1, got {rate!r}")
            self._records[prompt_id] = PromptRecord(rate * prior_samples, prior_samples)
            self._rest(prompt_id, step=0)

    def rate(self, prompt_id: str) -> float | None:
        """Return the pass rate of a prompt, `None` if nothing is known of it."""
        record = self._records.get(prompt_id)
        return record.right / record.sampled if record and record.sampled else None

    def place(self, prompt_id: str) -> Place:
        """Return where a prompt lies."""
        rate = self.rate(prompt_id)
        if rate is None:
            return "unknown"
        return "too_hard" if rate < self.low else "too_easy" if rate > self.high else "inside"

    def wants(self, prompt_id: str, step: int) -> bool:
        """Return whether to sample a prompt at an optimizer step: unknown, inside the window, or due again."""
        return self.place(prompt_id) in ("unknown", "inside") or step >= self._records[prompt_id].due

    def choose(self, prompt_ids: Iterable[str], step: int, count: int) -> list[str]:
        """Return the first `count` prompts to sample, in the order given.

        If too few are wanted, those that rest fill up, the one due next first: a batch is never short.
        """
        wanted: list[str] = []
        resting: list[str] = []
        for prompt_id in prompt_ids:
            (wanted if self.wants(prompt_id, step) else resting).append(prompt_id)
            if len(wanted) == count:
                return wanted
        resting.sort(key=lambda prompt_id: self._records[prompt_id].due)
        return wanted + resting[: count - len(wanted)]

    def update(self, prompt_id: str, *, right: float, sampled: int, step: int) -> None:
        """Take in one group of a prompt.

        Args:
            prompt_id: The prompt.
            right: Its right completions.
            sampled: Its completions with a verdict; 0 changes nothing.
            step: Optimizer step at which it was sampled.
        """
        if not sampled:
            return
        record = self._records.setdefault(prompt_id, PromptRecord())
        record.right = self.keep * record.right + right
        record.sampled = self.keep * record.sampled + sampled
        self._rest(prompt_id, step)

    def _rest(self, prompt_id: str, step: int) -> None:
        record = self._records[prompt_id]
        if self.place(prompt_id) == "inside":
            record.rests, record.due = 0, step
            return
        record.due = step + min(self.longest_rest, self.revisit_after * 2**record.rests)
        record.rests += 1

    def counts(self, prompt_ids: Iterable[str]) -> Counter[Place]:
        """Return how many prompts lie where, for the log."""
        return Counter(self.place(prompt_id) for prompt_id in prompt_ids)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a resumed run needs, as JSON values."""
        return {"records": {prompt_id: asdict(record) for prompt_id, record in self._records.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self._records = {prompt_id: PromptRecord(**record) for prompt_id, record in state["records"].items()}


def window_of(bounds: Sequence[float], priors: Mapping[str, float] | None = None) -> PassRateWindow:
    """Return the window of a config's `[low, high]`.

    Raises:
        LightR1Error: It is not two numbers, or they are out of range.
    """
    if len(bounds) != 2:
        raise LightR1Error(f"pass rate window: expected [low, high], got {list(bounds)}")
    return PassRateWindow(bounds[0], bounds[1], priors=priors)


def carries_gradient(rewards: Iterable[float | None]) -> bool:
    """Whether a group's rewards differ, so that its advantages are not all zero; `None` is left out."""
    return len({reward for reward in rewards if reward is not None}) > 1
