r"""The embedded curriculum: chains of sums, of which only the last digit is asked. A tiny model climbs it in minutes.

Problem     Take your time. Start with 7. Step c: add 5. Step a: times 3. Good luck. What is the last digit?
Solution    <think>
            c:7+5=_2
            a:2*3=_6
            </think>

            The last digit is \boxed{6}.

A line of the thought repeats the step's letter, which tells attention where to look, and says what the result ends in
(`=_`). Difficulty is the number of steps. Answered at once a problem of several steps is a guess among ten digits;
written out it is a lookup and one sum a line. Longer problems than those trained do not come for free, which leaves
room for a second, harder stage.

The asides around the steps say nothing, and matter: without them a step's place in the text follows from its number,
a model learns to find it by counting tokens, and training on longer problems then breaks what it knows.

The sources, for recipes:

- `problems`: worked solutions, or short answers for a base model that has never thought in a chat;
- `documents`: short problems worked out in plain text, and `drills`: lines of sums. As web text does for a real base
  model, the two hold pieces of every later skill.

Held-out problems cannot overlap with training: the split goes by a hash of the numbers and operations of a problem, so
that it is not even a training problem with other letters. Problems of one step are all training ones, since there are
few of them.

The tokenizer is a byte-level BPE in the very form of Qwen2's, so that `AutoTokenizer` and inference engines, which
rebuild a Qwen2 model's tokenizer from its vocabulary and merges alone, tokenise exactly as training did. Every word of
the problems is one token, and so is every digit. A step's letter never takes in the space before it, so it is the same
token wherever it stands, and copying it is one step of attention. Any other text is encoded in bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any, Literal

from light_r1.errors import DataError

if TYPE_CHECKING:
    from transformers import Qwen2Tokenizer

__all__ = ["build_tokenizer", "documents", "drills", "problems"]

Split = Literal["train", "heldout"]

_HELDOUT_SHARE = 5  # one in this many sequences of numbers and operations is held out
_WORDS = {"+": "add", "*": "times"}
_ASIDES = (
    "Here is a puzzle.",
    "Take your time.",
    "Think first.",
    "Go step by step.",
    "The order matters.",
    "Write every step down.",
    "This is not hard at all.",
    "Good luck.",
)
_ASIDES_BEFORE, _ASIDES_AFTER = 2, 3  # at most this many

PAD, END = "<|endoftext|>", "<|im_end|>"
_TURN_AND_THINK = ("<|im_start|>", "<think>", "</think>")

# In the alphabet of byte-level BPE `Ġ` is a space and `Ċ` a line break.
_FIRST = ("Start", "The", "Here", "Take", "Think", "Go", "Write", "This", "Good")
_LATER = (
    *("with", "Step", "add", "times", "What", "is", "the", "last", "digit", "\\"),
    *("puzzle", "your", "time", "first", "step", "by", "order", "matters", "every", "down"),
    *("not", "hard", "at", "all", "luck"),
)
_VOCABULARY = (*_FIRST, "boxed", "=_", "user", "assistant", "system", "ĊĊ", *(f"Ġ{word}" for word in _LATER))


@dataclass(frozen=True, slots=True)
class Step:
    """One step: its letter, the operation `+` or `*`, the operand, and the last digits before and after."""

    letter: str
    operation: str
    operand: int
    before: int
    after: int

    @property
    def sentence(self) -> str:
        """The step as the problem has it."""
        return f"Step {self.letter}: {_WORDS[self.operation]} {self.operand}."

    @property
    def line(self) -> str:
        """The step as the thought has it."""
        return f"{self.letter}:{self.before}{self.operation}{self.operand}=_{self.after}"


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
        Rows with `id`, `problem`, `solution`, `answer` (a digit) and `difficulty` (steps).

    Raises:
        DataError: The numbers of steps are out of range.
    """
    fewest = 1 if split == "train" else 2
    if not fewest <= min_steps <= max_steps <= len(ascii_lowercase):
        raise DataError(
            f"tiny problems have {fewest} to {len(ascii_lowercase)} steps, got {min_steps} to {max_steps} ({split})"
        )
    rng = Random(f"{seed}:{split}")
    seen: set[str] = set()
    while len(seen) < n:
        steps = _chain(rng, rng.randint(min_steps, max_steps))
        problem = _problem(rng, steps)
        if problem in seen or _is_heldout(steps) != (split == "heldout"):
            continue
        seen.add(problem)
        statement = f"The last digit is \\boxed{{{steps[-1].after}}}."
        thought = _thought(steps)
        yield {
            "id": f"tiny-{hashlib.sha256(problem.encode()).hexdigest()[:12]}",
            "problem": problem,
            "solution": statement if style == "short" else f"<think>\n{thought}\n</think>\n\n{statement}",
            "answer": str(steps[-1].after),
            "difficulty": len(steps),
        }


def documents(*, n: int, seed: int, max_steps: int) -> Iterator[dict[str, Any]]:
    """Yield plain texts for the base model: a problem and the lines that work it out, without a chat or an answer.

    Args:
        n: Number of texts.
        seed: The same seed gives the same texts.
        max_steps: Most steps.

    Yields:
        Rows with `text`.

    Raises:
        DataError: `max_steps` is out of range.
    """
    for row in problems(n=n, seed=seed, max_steps=max_steps):
        thought = row["solution"].partition("<think>\n")[2].partition("\n</think>")[0]
        yield {"text": f"{row['problem']}\n{thought}"}


def drills(*, n: int, seed: int, sums: int = 8) -> Iterator[dict[str, Any]]:
    """Yield plain texts for the base model: lines of sums, without a problem or a thought.

    Args:
        n: Number of texts.
        seed: The same seed gives the same texts.
        sums: Lines in each.

    Yields:
        Rows with `text`.
    """
    rng = Random(f"{seed}:drills")
    for _ in range(n):
        yield {"text": "\n".join(step.line for step in _chain(rng, sums))}


def _chain(rng: Random, length: int) -> list[Step]:
    steps = []
    value = rng.randint(0, 9)
    for letter in rng.sample(ascii_lowercase, length):
        operation, operand = rng.choice("+*"), rng.randint(1, 9)
        after = (value + operand if operation == "+" else value * operand) % 10
        steps.append(Step(letter, operation, operand, value, after))
        value = after
    return steps


def _problem(rng: Random, steps: Sequence[Step]) -> str:
    before, after = (rng.sample(_ASIDES, rng.randint(0, most)) for most in (_ASIDES_BEFORE, _ASIDES_AFTER))
    start, question = f"Start with {steps[0].before}.", "What is the last digit?"
    return " ".join([*before, start, *(step.sentence for step in steps), *after, question])


def _thought(steps: Sequence[Step]) -> str:
    return "\n".join(step.line for step in steps)


def _is_heldout(steps: Sequence[Step]) -> bool:
    """Say on which side a problem is, by its numbers and operations alone."""
    if len(steps) == 1:
        return False
    key = f"{steps[0].before}" + "".join(f"{step.operation}{step.operand}" for step in steps)
    return int(hashlib.sha256(key.encode()).hexdigest(), 16) % _HELDOUT_SHARE == 0


def build_tokenizer() -> Qwen2Tokenizer:
    """Build the tokenizer: ChatML with `<think>` and `</think>` as special tokens, fewer than 400 tokens in all."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import Qwen2Tokenizer

    merges = word_merges(_VOCABULARY)
    pieces = [*sorted(ByteLevel.alphabet()), *(left + right for left, right in merges)]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    return Qwen2Tokenizer(
        vocab=vocabulary,
        merges=merges,
        unk_token=PAD,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=list(_TURN_AND_THINK),
    )


def word_merges(words: Iterable[str]) -> list[tuple[str, str]]:
    """Return the merges, first ones first, that make each word one token.

    Each word is cut by the merges so far and its pieces joined from the right, so that a space meets a whole word and
    never its first letter alone. What is added later cannot change an earlier word, of which nothing is left to merge.
    """
    merges: list[tuple[str, str]] = []
    for word in words:
        pieces = _merged(word, merges)
        while len(pieces) > 1:
            merges.append((pieces[-2], pieces[-1]))
            pieces = _merged(word, merges)
    return merges


def _merged(word: str, merges: list[tuple[str, str]]) -> list[str]:
    pieces = list(word)
    for pair in merges:
        joined: list[str] = []
        for piece in pieces:
            if joined and (joined[-1], piece) == pair:
                joined[-1] += piece
            else:
                joined.append(piece)
        pieces = joined
    return pieces
