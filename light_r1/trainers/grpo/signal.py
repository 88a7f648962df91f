"""Windows of GRPO without a signal: no reward told completions of a prompt apart, so nothing was learnt.

Such a step costs as much as any other, and a run of nothing else ends as done, with the model that it started from.
"""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

from light_r1.trainers.grpo.metrics import ALL_RIGHT, GRADIENT, PASS_RATE, UNCLOSED, ZERO_VARIANCE

if TYPE_CHECKING:
    from light_r1.trainers.grpo.interface import StagedTrainer


def no_signal(trainer: StagedTrainer) -> str | None:
    """Say what the completions since the last log were like, if none of them carried a gradient.

    Args:
        trainer: Its metrics since the last log are read; they are the same on every rank.

    Returns:
        The counts and what helps; `None` where there was a gradient, also one of the KL term or the entropy, or where
        nothing was sampled since the last log.
    """
    logged = trainer._metrics["train"]
    shares, equal = logged.get(GRADIENT, []), logged.get(ZERO_VARIANCE, [])
    if not shares or trainer.beta or trainer.entropy_coef:
        return None
    if any(share > 0 and zero < 1 for share, zero in zip(shares, equal, strict=True)):
        return None
    completions = len(shares) * trainer.args.generation_batch_size
    groups = completions // trainer.num_generations

    def count(name: str, total: int) -> int:
        return round(fmean(logged[name]) * total) if name in logged else 0

    cut, unclosed = count("completions/clipped_ratio", completions), count(UNCLOSED, completions)
    wrong = completions - count(PASS_RATE, completions)
    right = count(ALL_RIGHT, groups)
    return (
        f"step {trainer.state.global_step}: no reward told completions apart since the last log, so there was no "
        f"gradient. Of {completions} completions {wrong} were not right, {cut} were cut at max_completion_length "
        f"{trainer.max_completion_length}, {unclosed} did not close their thought; of {groups} groups "
        f"{count(ZERO_VARIANCE, groups)} had equal rewards, {right} were all right. What helps: "
        f"{'; '.join(_help(trainer, max(cut, unclosed) / completions, wrong / completions, right / groups))}."
    )


def _help(trainer: StagedTrainer, cut: float, wrong: float, right: float) -> list[str]:
    """Return what helps against the shares of cut or open completions, wrong ones, and groups that are all right."""
    help_ = []
    if cut >= 0.5:
        help_.append("a longer max_completion_length, or a model that ends its thought")
    if wrong >= 0.5:
        help_.append("easier problems, more SFT before, answers that can be graded, rewards that fit the chat format")
    if right >= 0.5:
        help_.append("harder problems")
    if not trainer.args.dynamic_sampling:
        help_.append("dynamic_sampling, which replaces such groups")
    return [*help_, f"more than {trainer.num_generations} num_generations"]
