"""The `segment` and `balance` tools: select problems by prompt length, or so many of each kind.

`segment` is FastCuRL's split (arXiv 2503.17287 §2.1): problems up to the mean length of the set in characters are
L1, longer ones L3, all of them L2. Response lengths are left out on purpose, as in the paper: they would bake the
model that sampled them into the data. `balance` is the diversity step of Light-R1 (arXiv 2503.10460 §3.1.1), which
caps each category of a tagger; neither the tagger nor the cap is published, so both are arguments.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Generator, Iterable, Mapping
from typing import Any, Literal

from data_tools.engine.execution import malformed
from data_tools.errors import DataToolsError
from data_tools.rollouts.store import prompt_id
from data_tools.rows.columns import missing_column, text
from data_tools.rows.row import Dropped, Row, place_of
from data_tools.rows.spool import Spool

Selected = Generator[Row | Dropped, None, dict[str, Any]]


def segment(
    rows: Iterable[Row],
    *,
    keep: Literal["short", "long", "all"] = "all",
    threshold: float | None = None,
    column: str = "problem",
) -> Selected:
    """Split problems by length against the mean of the set, as FastCuRL does, and keep one part.

    Adds `segment` (`short`: at most the threshold, or `long`) and `chars`, the length in characters.

    Args:
        rows: Problems, without the prompt's suffix.
        keep: `short` (FastCuRL's L1), `long` (L3), or `all` (L2).
        threshold: Length in characters; the mean of all rows by default.
        column: The text that is measured.

    Drops:
        short: At most the threshold, where long ones are kept.
        long: Above the threshold, where short ones are kept.
    """
    with Spool() as spool:
        count = total = 0
        for row in rows:
            try:
                chars = len(text(row, column))
            except DataToolsError as error:
                yield malformed(row, error)
                continue
            spool.add({**row, "chars": chars})
            count, total = count + 1, total + chars
        mean = total / count if count else 0.0
        limit = mean if threshold is None else threshold
        sizes: Counter[str] = Counter()
        for row in spool:
            part = "short" if row["chars"] <= limit else "long"
            sizes[part] += 1
            labelled = {**row, "segment": part}
            yield labelled if keep in ("all", part) else Dropped(labelled, part)
    return {"mean_chars": mean, "threshold": limit, "short": sizes["short"], "long": sizes["long"], "all": count}


def balance(rows: Iterable[Row], *, by: str, cap: int, seed: int = 0) -> Selected:
    """Keep at most `cap` rows of each category, source or tag.

    Which rows stay depends on the seed and the problem texts, not on the order of the rows. A column of lists
    (tags) caps each tag: a row stays if all its tags have room. Rows without a value (null, empty list) are one
    more category. The order of the rows stays.

    Args:
        rows: Problems.
        by: The column of the category, source or tags.
        cap: Most rows kept of each. Light-R1 caps categories without printing the number.
        seed: Of the choice.

    Drops:
        over_cap: The category, or one of the tags, is full; the match names it.
    """
    if cap < 1:
        raise DataToolsError(f"cap: expected 1 or more, found {cap}")
    return _balanced(rows, by, cap, seed)


def _balanced(rows: Iterable[Row], by: str, cap: int, seed: int) -> Selected:
    ranks, categories = array("Q"), []
    names: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    with Spool() as spool:
        for row in rows:
            try:
                rank, each = _rank(row, seed), _categories(row, by)
            except DataToolsError as error:
                yield malformed(row, error)
                continue
            spool.add(row)
            ranks.append(rank)
            categories.append(names.setdefault(each, each))  # one tuple per kind, not per row
        room: Counter[Any] = Counter()
        full: dict[int, Any] = {}
        for index in sorted(range(len(ranks)), key=ranks.__getitem__):
            over = next((name for name in categories[index] if room[name] >= cap), room)
            if over is not room:
                full[index] = over
            else:
                room.update(categories[index])
        for index, row in enumerate(spool):
            yield Dropped(row, "over_cap", {by: full[index]}) if index in full else row
    before = Counter(name for each in categories for name in each)
    return {"categories": {str(name): {"in": n, "kept": room[name]} for name, n in before.most_common()}}


def _rank(row: Row, seed: int) -> int:
    """Return a row's place in the draw: 64 bits of a hash of seed and problem."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{prompt_id(row)}".encode()).digest()[:8], "big")


def _categories(row: Row, by: str) -> tuple[Any, ...]:
    """Return the categories of a row, each once; (None,) if it has none."""
    if by not in row:
        raise DataToolsError(missing_column(row, by))
    value = row[by]
    values = value if isinstance(value, list) else [value]
    if any(isinstance(item, list | Mapping) for item in values):
        raise DataToolsError(f"{place_of(row)}: column `{by}` holds neither a category nor a list of tags: {value!r}")
    return tuple(dict.fromkeys(values)) or (None,)
