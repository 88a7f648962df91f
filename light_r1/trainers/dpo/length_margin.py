"""Correlation of reward margin and length difference over the latest pairs.

Rewards are sums over tokens, so a policy can widen the margin between a long and a short response by an equal small
shift of every token. Such a margin orders pairs by length and not by what they say.
"""

from __future__ import annotations

import logging
import math
from collections import deque

import torch

log = logging.getLogger(__name__)

_WINDOW = 512  # pairs
_FEWEST = 32  # fewer say nothing
_FLAGGED = 0.7  # half of the margin's variance


class LengthWatch:
    """Correlates margins with differences of length, and warns once when the margin is mostly length.

    Args:
        window: Number of pairs that are looked at, the last ones.
    """

    def __init__(self, window: int = _WINDOW) -> None:
        self.pairs: deque[tuple[float, float]] = deque(maxlen=window)
        self.warned = False

    def add(self, longer: torch.Tensor, margins: torch.Tensor) -> None:
        """Note pairs.

        Args:
            longer: Tokens by which the chosen response is longer than the rejected one, `[pairs]`.
            margins: Reward of the chosen response less that of the rejected one, `[pairs]`.
        """
        self.pairs.extend(zip(longer.tolist(), margins.tolist(), strict=True))

    def correlation(self) -> float | None:
        """Return Pearson's correlation; `None` for fewer than 32 pairs, or if either does not vary."""
        if len(self.pairs) < _FEWEST:
            return None
        longer, margins = torch.tensor(self.pairs, dtype=torch.float64).T
        longer, margins = longer - longer.mean(), margins - margins.mean()
        spread = float(longer.norm() * margins.norm())
        # Before the first step margins are rounding errors around 0, which correlate with anything.
        if spread == 0 or float(margins.abs().max()) < 1e-3:
            return None
        return float(longer @ margins) / spread

    def metrics(self) -> dict[str, float]:
        """Return the correlation and the mean difference of length, and warn if the margin is mostly length."""
        correlation = self.correlation()
        if correlation is None:
            return {}
        mean = math.fsum(longer for longer, _ in self.pairs) / len(self.pairs)
        if abs(correlation) > _FLAGGED and not self.warned:
            self.warned = True
            log.warning(
                "The reward margin follows length: its correlation with the difference in tokens is %.2f over the "
                "last %d pairs, which explains %.0f%% of it. The %s response of a pair gains, whatever it says "
                "(chosen ones are %.0f tokens %s on average). Balance the lengths of the pairs, "
                "or set ld_alpha below 1.",
                correlation,
                len(self.pairs),
                100 * correlation**2,
                "longer" if correlation > 0 else "shorter",
                abs(mean),
                "longer" if mean > 0 else "shorter",
            )
        return {"lengths/margin_correlation": correlation, "lengths/chosen_longer": mean}
