r"""The embedded curriculum: a world of word problems that a tiny model can climb in minutes on a CPU.

Problem     Cid has twice as many as Ben. Ann has 12 coins. Ben has 5 fewer than Ann. How many coins does Cid have?
Solution    <think>
            Ann has 12
            Ben has 5 fewer: 12-5=7
            Cid has twice as many: 7*2=14
            </think>

            Cid has \boxed{14} coins.

Difficulty is the number of steps, the sentences that compare. Answered at once a problem of several steps is out of
reach of a model of this size; written out it is a quotation and one sum a line. Longer problems than those trained do
not come for free, which leaves room for a second, harder stage.

The sources, for recipes:

- `problems`: worked solutions, or short answers for a base model that has never seen a thought;
- `drills` and `recalls`: texts for the base model, which has to know its sums and how to look something up before it
  can learn to reason with them.

Held-out problems cannot overlap with training: the split goes by a hash of the numbers and operations of a problem, so
that it is not even a training problem with other names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from light_r1.errors import DataError
from light_r1.tiny_tokenizer import NAMES, THINGS, build_tokenizer

__all__ = ["build_tokenizer", "drills", "problems", "recalls"]

Split = Literal["train", "heldout"]

_HELDOUT_SHARE = 8  # one in this many sequences of numbers and operations is held out
_LARGEST_OPERAND = 9
_LARGEST_NUMBER = 20


@dataclass(frozen=True, slots=True)
class Step:
    """One comparison: the operation `+`, `-` or `*`, its operand, and the values before and after."""

    operation: str
    operand: int
    before: int
    after: int

    @property
    def phrase(self) -> str:
        """The comparison in words, without what it compares to."""
        if self.operation == "*":
            return "twice as many" if self.operand == 2 else "three times as many"
        return f"{self.operand} {'more' if self.operation == '+' else 'fewer'}"

    @property
    def sentence(self) -> str:
        """The comparison in words, as it stands between the two names."""
        return f"{self.phrase} {'as' if self.operation == '*' else 'than'} "

    @property
    def sum(self) -> str:
        """The calculation: `17+5=22`."""
        return f"{self.before}{self.operation}{self.operand}={self.after}"


def problems(
    *,
    n: int,
    seed: int,
    min_steps: int = 1,
    max_steps: int,
    split: Split = "train",
    style: Literal["worked", "short"] = "worked",
) -> Iterator[dict[str, Any]]:
    r"""Yield distinct problems with their solutions.

    Args:
        n: Number of problems.
        seed: The same seed gives the same problems.
        min_steps: Fewest steps.
        max_steps: Most steps; every number of steps between the two is equally likely.
        split: `train` or `heldout`; the two share no sequence of numbers and operations, whatever the seeds.
        style: `worked` solutions think line by line; `short` ones only state the answer.

    Yields:
        Rows with `id`, `problem`, `solution`, `answer` (digits) and `difficulty` (steps).

    Raises:
        DataError: The numbers of steps are out of range.
    """
    if not 1 <= min_steps <= max_steps < len(NAMES):
        raise DataError(f"tiny problems have 1 to {len(NAMES) - 1} steps, got {min_steps} to {max_steps}")
    rng = Random(f"{seed}:{split}")
    seen: set[str] = set()
    while len(seen) < n:
        steps = _chain(rng, rng.randint(min_steps, max_steps))
        names, thing = _people(rng, len(steps) + 1), rng.choice(THINGS)
        problem = _problem(steps, names, thing, rng)
        if problem in seen or _is_heldout(steps) != (split == "heldout"):
            continue
        seen.add(problem)
        statement = f"{names[-1]} has \\boxed{{{steps[-1].after}}} {thing}."
        yield {
            "id": f"tiny-{hashlib.sha256(problem.encode()).hexdigest()[:12]}",
            "problem": problem,
            "solution": statement
            if style == "short"
            else f"<think>\n{_thought(steps, names)}\n</think>\n\n{statement}",
            "answer": str(steps[-1].after),
            "difficulty": len(steps),
        }


def drills(*, n: int, seed: int, sums: int = 8) -> Iterator[dict[str, Any]]:
    """Yield plain texts for the base model: running sums, without a story, a name or a thought.

    A sum goes on with the result before it, so little else than operations and operands is left to chance: in
    sums that have nothing to do with each other most of the loss is spent on numbers that nothing can predict.

    Args:
        n: Number of texts.
        seed: The same seed gives the same texts.
        sums: Sums in each.

    Yields:
        Rows with `text`.
    """
    rng = Random(f"{seed}:drills")
    for _ in range(n):
        yield {"text": "\n".join(step.sum for step in _chain(rng, sums))}


def recalls(*, n: int, seed: int, facts: int = 6) -> Iterator[dict[str, Any]]:
    """Yield plain texts for the base model: facts about people, and the same facts again in another order.

    The second half teaches to look a person up wherever they stand. Without it a lookup is learnt by position, which
    is of no use in a longer problem.

    Args:
        n: Number of texts.
        seed: The same seed gives the same texts.
        facts: Facts in each.

    Yields:
        Rows with `text`.
    """
    rng = Random(f"{seed}:recalls")
    for _ in range(n):
        said = [
            f"{name} has {_step(rng, rng.randint(0, _LARGEST_NUMBER)).phrase}" for name in rng.sample(NAMES, facts)
        ]
        yield {"text": "\n".join([*said, *rng.sample(said, facts)])}


def _people(rng: Random, count: int) -> tuple[str, ...]:
    """Return neighbours in the alphabet, so that who comes next in a thought is no riddle of its own."""
    first = rng.randrange(len(NAMES) - count + 1)
    return NAMES[first : first + count]


def _chain(rng: Random, length: int) -> list[Step]:
    steps: list[Step] = []
    value = rng.randint(1, _LARGEST_NUMBER)
    for _ in range(length):
        steps.append(_step(rng, value))
        value = steps[-1].after
    return steps


def _step(rng: Random, value: int) -> Step:
    """Return a random step from a value to another one between 0 and the largest number."""
    while True:
        operation = rng.choice("++--*")
        operand = rng.randint(2, 3) if operation == "*" else rng.randint(1, _LARGEST_OPERAND)
        after = {"+": value + operand, "-": value - operand, "*": value * operand}[operation]
        if 0 <= after <= _LARGEST_NUMBER:
            return Step(operation, operand, value, after)


def _is_heldout(steps: list[Step]) -> bool:
    signature = " ".join(step.sum for step in steps)
    return int.from_bytes(hashlib.sha256(signature.encode()).digest()[:4], "big") % _HELDOUT_SHARE == 0


def _problem(steps: list[Step], names: Sequence[str], thing: str, rng: Random) -> str:
    facts = [f"{names[0]} has {steps[0].before} {thing}."]
    facts += [f"{name} has {s.sentence}{other}." for s, other, name in zip(steps, names, names[1:], strict=False)]
    rng.shuffle(facts)
    return f"{' '.join(facts)} How many {thing} does {names[-1]} have?"


def _thought(steps: list[Step], names: Sequence[str]) -> str:
    first = f"{names[0]} has {steps[0].before}"
    lines = [first, *(f"{name} has {s.phrase}: {s.sum}" for name, s in zip(names[1:], steps, strict=True))]
    return "\n".join(lines)
