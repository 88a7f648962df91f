r"""Whether a prediction is the gold answer: the cheapest sufficient test first.

Caps, then normalised text, then the kinds of answers (`kinds`): numbers, options, times, and for what is left a
bounded parse (`maths.grammar`), typed comparison (`maths.agreement`) and values at fixed points (`maths.values`). A
verdict is right, wrong, unparsable or timeout, never a silent zero: `unparsable` says that the verifier could not read
one side, which is no evidence about the answer.

Nothing is evaluated as code, no computer algebra is used, no signal is set and no state but caches is shared, so it
works in threads and under asyncio. Work is bounded by caps; `data_tools.answers.verifier_pool.VerifierPool` adds a
hard deadline. The conventions (rounding, percent, units, order) are listed with examples in docs/verify.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from data_tools.answers.kinds import agreement
from data_tools.answers.marks import last_answer_phrase
from data_tools.answers.multiple_choice import is_option, last_option
from data_tools.answers.normalize import clean, squashed
from data_tools.answers.stated import candidates, last_number
from data_tools.maths.budget import TooLarge, renew_budget
from data_tools.maths.functions import Undefined
from data_tools.maths.tokens import LatexError
from data_tools.traces.thoughts import behind_any_tag

Outcome = Literal["right", "wrong", "unparsable", "timeout"]
MAX_GOLD = 300
"""A longer gold text is a worked solution, of which the stated answer counts."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the verifier decided.

    Args:
        correct: Whether the prediction is right.
        outcome: `right`, `wrong`, `unparsable` (one side could not be read) or `timeout`.
        reason: Which test decided, or why none could.
    """

    correct: bool
    outcome: Outcome
    reason: str


def verify(prediction: str, gold: str | list[str], *, with_thought: bool = True) -> Verdict:
    r"""Compare a prediction with the gold answer.

    Args:
        prediction: A bare answer or a whole model output; of an output, the part behind its thought counts, and in
            it the last box, answer phrase, formula or number.
        gold: The answer, or several of which each is right.
        with_thought: False if the thought was cut off before, so that all of the prediction counts.

    Returns:
        The verdict; never raises on any text.

    Example:
        >>> verify("... so it is \\boxed{\\frac{1}{2}}.", "0.5").correct
        True
    """
    if isinstance(gold, str) and prediction.strip() and prediction.strip() == gold.strip():
        return Verdict(True, "right", "same text")
    answers = candidates(behind_any_tag(prediction) if with_thought else prediction)
    if not answers:
        return Verdict(False, "unparsable", "no answer found in the prediction")
    if isinstance(gold, str) and is_option(clean(gold)) and (option := last_option(prediction)):
        answers = [option]
    verdicts = [
        _verdict(answer, bare) for text in ([gold] if isinstance(gold, str) else gold)
        for bare in gold_answers(text) for answer in answers
    ]  # fmt: skip
    for outcome in ("right", "wrong"):
        for verdict in verdicts:
            if verdict.outcome == outcome:
                return verdict
    return verdicts[0] if verdicts else Verdict(False, "unparsable", "no gold answer")


@lru_cache(maxsize=65_536)
def gold_answers(gold: str) -> tuple[str, ...]:
    """Return the bare answers of a gold text: all of it, unless it is long, boxed or says "the answer is"."""
    stated = "box" in gold or len(gold) > MAX_GOLD or last_answer_phrase(gold) is not None
    return (tuple(candidates(behind_any_tag(gold))) if stated else ()) or (gold,)


def _verdict(answer: str, gold: str) -> Verdict:
    left, right = clean(answer), clean(gold)
    if not left or not right:
        return Verdict(False, "unparsable", "the answer is empty" if right else "the gold answer is empty")
    try:
        renew_budget()
        reason = agreement(left, right)
    except RecursionError:  # the caller's own stack was nearly used up
        return Verdict(False, "unparsable", "nested too deep")
    except (LatexError, Undefined, TooLarge) as error:
        tail = last_number(left)
        if tail and " " in left.strip() and squashed(tail) != squashed(left):
            rescued = _verdict(tail, gold)
            if rescued.correct:
                return rescued
        return Verdict(False, "unparsable", str(error))
    if reason:
        return Verdict(True, "right", reason)
    return Verdict(False, "wrong", f"{left[:60]!r} is not {right[:60]!r}")
