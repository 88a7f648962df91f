"""The `perturb` tool: perturbed reasoning traces for ablations of content and structure (arXiv 2502.07374 §4).

The content studies keep the structure and damage the content: wrong final answers, random digits, no sentences of
reflection. The structure studies keep the content and damage the structure: steps deleted, replaced by steps of other
traces, or shuffled. Only the thought is touched, the answer behind it never. Every choice is drawn from the seed and
the trace, never from its position, and grows with the share: what is deleted at 33% is deleted at 67% too.
"""

from __future__ import annotations

import hashlib
import heapq
import random
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Literal

from data_tools.answers.verify import verify
from data_tools.engine.execution import per_row
from data_tools.errors import DataToolsError
from data_tools.rows.columns import text
from data_tools.rows.files import read_rows
from data_tools.rows.row import Dropped, Row, place_of
from data_tools.rows.spool import Spool
from data_tools.traces.steps import reflects, sentences_of, steps_of
from data_tools.traces.thoughts import split_think

Kind = Literal["wrong", "digits", "keywords", "delete", "insert", "shuffle"]
POOL = 5_000
"""Steps of other traces that `insert` draws from: a sample of all steps, chosen by their hash."""


def perturb(
    rows: Iterable[Row],
    *,
    kind: Kind,
    share: float = 1.0,
    column: str = "solution",
    seed: int = 0,
    steps: Path | None = None,
) -> Iterator[Row | Dropped]:
    """Perturb the thoughts of reasoning traces, or select the traces with a wrong answer.

    Adds `perturbation` (the kind), `perturbed` (how many digits, sentences or steps were chosen) and `perturbable`
    (of how many). The paper's shares: digits .2 .5 .7 1, keywords .2 .5 1, steps .33 .67 1.

    Args:
        rows: Rows with a trace.
        kind: `wrong` keeps the traces whose answer is wrong, unchanged; `digits` replaces digits by random ones;
            `keywords` removes sentences of reflection (wait, but, alternatively); `delete` removes steps, `insert`
            replaces them by steps of other problems' traces, `shuffle` puts them in another order.
        share: The part (0 to 1) of the digits, sentences or steps.
        column: The column of the trace.
        seed: Of all choices.
        steps: A file whose rows hold `steps`, a list that joined is the thought of a trace up to blanks; by default
            steps are cut where words of reflection open a sentence.

    Drops:
        right: The answer of the trace is right (kind wrong).
        ungraded: The answer of the trace could not be compared (kind wrong).
        no_think: No mark of a thought, or nothing inside it.
        unclosed_think: The thought never ends: the trace was cut.
        ambiguous_think: Several or contradicting marks.
        no_answer_text: Nothing follows the thought.
        no_steps: The file of steps has none for this thought.
        no_other_steps: No other problem has a step to put in (kind insert).
    """
    if not 0 <= share <= 1:
        raise DataToolsError(f"share: expected 0 to 1, found {share}")
    if kind == "wrong":
        return per_row(check_wrong, rows, column=column)
    if kind == "insert":
        return _inserted(rows, share, column, seed, steps)
    return per_row(check_perturb, rows, kind=kind, share=share, column=column, seed=seed, steps=steps)


def check_wrong(row: Row, *, column: str) -> Row | Dropped:
    """Keep a trace whose final answer is wrong; see `perturb`."""
    verdict = verify(text(row, column), text(row, "answer"))
    if verdict.outcome == "wrong":
        return {**row, "perturbation": "wrong"}
    return Dropped(row, "right" if verdict.correct else "ungraded", verdict.reason)


def check_perturb(row: Row, *, kind: Kind, share: float, column: str, seed: int, steps: Path | None) -> Row | Dropped:
    """Perturb the thought of one row; see `perturb`."""
    change: Callable[[str, random.Random], tuple[str, int, int]]
    if kind == "digits":
        change = partial(corrupt_digits, share=share)
    elif kind == "keywords":
        change = partial(remove_reflection, share=share)
    else:
        parts = _steps_of_row(row, column, steps)
        if isinstance(parts, Dropped):
            return parts
        rearrange = delete_steps if kind == "delete" else shuffle_steps
        chosen, of = count_of(len(parts), share), len(parts)

        def change(thought: str, rng: random.Random) -> tuple[str, int, int]:
            return joined(rearrange(parts, rng, share=share)), chosen, of

    return _changed(row, column, kind, seed, change)


def count_of(number: int, share: float) -> int:
    """Return how many of a number of things a share is, rounded half up."""
    return int(number * share + 0.5)


def corrupt_digits(thought: str, rng: random.Random, *, share: float) -> tuple[str, int, int]:
    """Replace a share of the digits by random digits, which may equal the old ones.

    Returns:
        The thought, how many digits were drawn anew, of how many.
    """
    places = [at for at, char in enumerate(thought) if "0" <= char <= "9"]
    characters = list(thought)
    chosen = _chosen(places, rng, share)
    for at in chosen:
        characters[at] = rng.choice("0123456789")
    return "".join(characters), len(chosen), len(places)


def remove_reflection(thought: str, rng: random.Random, *, share: float) -> tuple[str, int, int]:
    """Remove a share of the sentences that have a word of reflection.

    Returns:
        The thought, how many sentences were removed, of how many.
    """
    sentences = sentences_of(thought)
    places = [at for at, sentence in enumerate(sentences) if reflects(sentence)]
    gone = set(_chosen(places, rng, share))
    return "".join(s for at, s in enumerate(sentences) if at not in gone), len(gone), len(places)


def delete_steps(steps: list[str], rng: random.Random, *, share: float) -> list[str]:
    """Return the steps without a share of them, in order."""
    gone = set(_chosen(range(len(steps)), rng, share))
    return [step for at, step in enumerate(steps) if at not in gone]


def shuffle_steps(steps: list[str], rng: random.Random, *, share: float) -> list[str]:
    """Return the steps with a share of them in another order among their places; the others stay."""
    chosen = _chosen(range(len(steps)), rng, share)
    moved = list(chosen)
    rng.shuffle(moved)
    shuffled = list(steps)
    for place, source in zip(chosen, moved, strict=True):
        shuffled[place] = steps[source]
    return shuffled


def replace_steps(
    steps: list[str], draw: Callable[[random.Random], str], rng: random.Random, *, share: float
) -> list[str]:
    """Return the steps with a share of them replaced by drawn ones."""
    chosen = set(_chosen(range(len(steps)), rng, share))
    return [draw(rng) if at in chosen else step for at, step in enumerate(steps)]


def joined(steps: list[str]) -> str:
    """Return the steps as one thought; a step that was the last of its thought gets a blank line behind it."""
    parted = [step if step[-1:].isspace() else f"{step}\n\n" for step in steps]
    return "".join(parted).rstrip()


def _chosen(places: Iterable[int], rng: random.Random, share: float) -> list[int]:
    """A share of the places in order; a larger share chooses the same ones and more."""
    order = list(places)
    count = count_of(len(order), share)
    rng.shuffle(order)
    return sorted(order[:count])


def _inserted(rows: Iterable[Row], share: float, column: str, seed: int, file: Path | None) -> Iterator[Row | Dropped]:
    """Two passes: a sample of all steps, then the rows with steps of other problems put in."""
    pool: list[tuple[int, str, str]] = []
    with Spool() as spool:
        for row in rows:
            spool.add(row)
            parts = _steps_of_row(row, column, file)
            for step in [] if isinstance(parts, Dropped) else parts:
                rank = -int.from_bytes(hashlib.sha256(f"{seed}:{step}".encode()).digest()[:8], "big")
                entry = (rank, step, text(row, "problem"))
                if len(pool) < POOL:
                    heapq.heappush(pool, entry)
                else:
                    heapq.heappushpop(pool, entry)
        pool.sort()
        several = len({problem for _, _, problem in pool}) > 1
        for row in spool:
            parts = _steps_of_row(row, column, file)
            if isinstance(parts, Dropped):
                yield parts
            elif count_of(len(parts), share) and not several and pool[0][2] == row["problem"]:
                yield Dropped(row, "no_other_steps")
            else:
                yield _changed(row, column, "insert", seed, partial(_with_foreign, parts, row["problem"], pool, share))


def _with_foreign(
    own: list[str], problem: str, pool: list[tuple[int, str, str]], share: float, thought: str, rng: random.Random
) -> tuple[str, int, int]:
    """The thought with a share of its steps replaced by steps of other problems."""

    def draw(rng: random.Random) -> str:
        while (entry := rng.choice(pool))[2] == problem:
            continue
        return entry[1]

    return joined(replace_steps(own, draw, rng, share=share)), count_of(len(own), share), len(own)


def _changed(
    row: Row, column: str, kind: Kind, seed: int, change: Callable[[str, random.Random], tuple[str, int, int]]
) -> Row | Dropped:
    """Put the changed thought where the thought was; all else in the trace stays to the letter."""
    trace = text(row, column)
    parts = split_think(trace)
    if parts.fault is not None or parts.thought is None:
        return Dropped(row, parts.fault or "no_think")
    start = trace.index(parts.thought)
    rng = random.Random(f"{seed}:{kind}:{hashlib.sha256(trace.encode()).hexdigest()}")
    thought, count, of = change(parts.thought, rng)
    changed = trace[:start] + thought + trace[start + len(parts.thought) :]
    return {**row, column: changed, "perturbation": kind, "perturbed": count, "perturbable": of}


def _steps_of_row(row: Row, column: str, file: Path | None) -> list[str] | Dropped:
    parts = split_think(text(row, column))
    if parts.fault is not None or parts.thought is None:
        return Dropped(row, parts.fault or "no_think")
    if file is None:
        return steps_of(parts.thought)
    steps = _steps_in_file(file).get(_key(parts.thought))
    return Dropped(row, "no_steps") if steps is None else _with_blanks(steps, parts.thought)


@cache
def _steps_in_file(file: Path) -> dict[str, list[str]]:
    """Steps by the thought that they make up."""
    by_problem: dict[str, list[str]] = {}
    for row in read_rows(file):
        steps = row.get("steps")
        if not isinstance(steps, list) or not all(isinstance(step, str) for step in steps):
            raise DataToolsError(f"{place_of(row)}: column `steps`: expected a list of texts")
        by_problem[_key("".join(steps))] = steps
    return by_problem


def _key(thought: str) -> str:
    return hashlib.sha256("".join(thought.split()).encode()).hexdigest()


def _with_blanks(steps: list[str], thought: str) -> list[str]:
    """The steps as they stand in the thought, each with the blanks behind it."""
    kept = []
    at = 0
    for step in steps:
        end = at
        left = sum(not char.isspace() for char in step)
        while left:
            left -= not thought[end].isspace()
            end += 1
        while end < len(thought) and thought[end].isspace():
            end += 1
        kept.append(thought[at:end])
        at = end
    return [step for step in kept if step]
