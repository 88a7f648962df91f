"""The `dedup` tool: near-duplicates by embedding, then a symbolic check that tells copies from siblings.

Sentence embeddings put a problem and the same problem with another number at a median cosine of .985, so a threshold
on them cannot separate the two (`method="cosine"` is that rule, as DeepScaleR uses it). The default joins two rows
only if they have the same numbers and operators in the same order and `same_problem` agrees. Rows are first put into
buckets by those: rows that are alone are never embedded, and buckets can be handled on different machines (`shard`)
with the same result.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from data_tools.errors import DataToolsError
from data_tools.problems.clean import clean_text
from data_tools.problems.clusters import Clusters, Criterion, best_row, different_answers
from data_tools.problems.embed import MODEL, embed
from data_tools.problems.same_problem import same_problem
from data_tools.problems.search import similar_pairs
from data_tools.problems.signature import signature
from data_tools.rows.columns import text
from data_tools.rows.files import write_rows
from data_tools.rows.row import Dropped, Row
from data_tools.rows.spool import Spool

Method = Literal["symbolic", "cosine"]
Found = Generator[Row | Dropped, None, dict[str, Any]]

CANDIDATE_COSINE = 0.6  # renamed variables lie at .85 in the median, with a tail


def dedup(
    rows: Iterable[Row],
    *,
    method: Method = "symbolic",
    threshold: float | None = None,
    keep: list[Criterion] = ["answer", "source", "solution"],  # noqa: B006  never changed
    sources: list[str] | None = None,
    clusters: Path | None = None,
    model: str = MODEL,
) -> Found:
    """Drop near-duplicate problems and flag copies whose answers disagree.

    A kept row gets `copies`, the number of rows that it stands for, where there are several, and
    `conflicting_answers` where the verifier finds different answers among them.

    Args:
        rows: Problems.
        method: `symbolic`: same numbers, same maths up to renamed variables, same words but for a few. `cosine`:
            embeddings alone, DeepScaleR's rule.
        threshold: Least cosine of the embeddings. Required for `cosine`; for `symbolic` the least cosine of a
            pair that is checked, 0.6 by default.
        keep: What decides which copy stays, in this order: `answer` (has one), `source` (see `sources`),
            `solution` (longest). Ties go to the first row.
        sources: Values of the column `source`, the preferred one first.
        clusters: A file for the groups of copies.
        model: A sentence-transformers model by hub name or folder.

    Needs:
        problem: The text that is compared.

    Writes:
        clusters: One group a row: its number, the kept row, all rows, the different answers.

    Drops:
        same_text: A copy up to LaTeX, wording of the request, and renamed variables.
        same_problem: A copy by the symbolic check; the match has the kept row and the cosine.
        similar: At least `threshold` by cosine, with the method `cosine`.
    """
    if method == "cosine" and threshold is None:
        raise DataToolsError("threshold: the method `cosine` needs one; DeepScaleR uses 0.90 and 0.93")
    if threshold is not None and not -1 <= threshold <= 1:
        raise DataToolsError(f"threshold: expected a cosine between -1 and 1, found {threshold}")
    least = CANDIDATE_COSINE if threshold is None else threshold
    return _deduplicated(rows, method, least, keep, sources or [], clusters, model)


def _deduplicated(
    rows: Iterable[Row],
    method: Method,
    least: float,
    keep: Sequence[Criterion],
    sources: Sequence[str],
    clusters: Path | None,
    model: str,
) -> Found:
    with Spool() as spool:
        problems: list[str] = []
        for row in rows:
            problems.append(text(row, "problem"))
            spool.add(row)
        links = cosine_links(problems, least, model) if method == "cosine" else symbolic_links(problems, least, model)
        joined = Clusters(len(problems))
        for one, other, _, _ in links.pairs:
            joined.join(one, other)
        groups = _chosen(joined.groups(), spool, keep, sources)
        if clusters is not None:
            _write_clusters(clusters, groups)
        reasons = links.reasons()
        group_of = {index: group for group in groups for index in group.rows}
        for index, row in enumerate(spool):
            group = group_of.get(index)
            if group is None:
                yield row
            elif index == group.kept:
                yield group.flagged(row)
            else:
                reason, cosine = reasons[index]
                yield Dropped(row, reason, {"cluster": group.number, **group.name, "cosine": cosine})
    conflicts = sum(len(group.answers) > 1 for group in groups)
    return {"clusters": len(groups), "conflicting_answers": conflicts, "embedded": links.embedded}


@dataclass(slots=True)
class Links:
    """Pairs of copies.

    Args:
        pairs: (row, row, reason, cosine or None where none was needed).
        embedded: How many texts were embedded.
    """

    pairs: list[tuple[int, int, str, float | None]] = field(default_factory=list)
    embedded: int = 0

    def reasons(self) -> dict[int, tuple[str, float | None]]:
        """Return row -> the first reason that joined it to another one, and the cosine."""
        by_row: dict[int, tuple[str, float | None]] = {}
        for one, other, reason, cosine in self.pairs:
            for row in (other, one):
                by_row.setdefault(row, (reason, cosine))
        return by_row


def cosine_links(problems: Sequence[str], threshold: float, model: str = MODEL) -> Links:
    """Link problems by the cosine of their embeddings alone, as DeepScaleR does."""
    pairs = similar_pairs(embed(problems, model=model), threshold)
    return Links([(one, other, "similar", round(cosine, 4)) for one, other, cosine in pairs], len(problems))


def symbolic_links(problems: Sequence[str], least_cosine: float = CANDIDATE_COSINE, model: str = MODEL) -> Links:
    """Link problems that `same_problem` holds for one, among those with a near embedding or an equal key.

    Args:
        problems: Problem texts.
        least_cosine: Least cosine of a pair that is checked.
        model: A sentence-transformers model by hub name or folder.
    """
    links = Links()
    firsts = _firsts(problems, links)
    buckets = [bucket for bucket in firsts.values() if len(bucket) > 1]
    order = [index for bucket in buckets for index in bucket]
    if not order:
        return links
    vectors = embed([clean_text(problems[index]) for index in order], model=model)
    links.embedded = len(order)
    start = 0
    for bucket in buckets:
        signatures = [signature(problems[index]) for index in bucket]
        near = similar_pairs(vectors[start : start + len(bucket)], least_cosine)
        for one, other, cosine in near:
            if same_problem(signatures[one], signatures[other]):
                links.pairs.append((bucket[one], bucket[other], "same_problem", round(cosine, 4)))
        start += len(bucket)
    return links


def _firsts(problems: Sequence[str], links: Links) -> dict[str, list[int]]:
    """Link rows with equal keys; return frame key -> rows that are the first with their keys."""
    firsts: dict[str, list[int]] = {}
    with_key: dict[str, list[int]] = {}
    for index, problem in enumerate(problems):
        signed = signature(problem)
        like = {*with_key.get(signed.key, ()), *with_key.get(signed.run_key, ())}
        same = next((first for first in sorted(like) if same_problem(signature(problems[first]), signed)), None)
        if same is not None:
            links.pairs.append((same, index, "same_text", None))
            continue
        for key in {signed.key, signed.run_key}:
            with_key.setdefault(key, []).append(index)
        firsts.setdefault(signed.frame_key, []).append(index)
    return firsts


@dataclass(slots=True)
class _Group:
    """One problem's copies: their rows, the one that stays, and the answers that differ."""

    number: int
    rows: list[int]
    kept: int
    name: Row
    answers: list[str]
    listed: list[Row]

    def flagged(self, row: Row) -> Row:
        """Return the kept row with what is known of its copies."""
        conflict = {"conflicting_answers": self.answers} if len(self.answers) > 1 else {}
        return {**row, "copies": len(self.rows), **conflict}


def _chosen(
    groups: Sequence[list[int]], rows: Iterable[Row], keep: Sequence[Criterion], sources: Sequence[str]
) -> list[_Group]:
    """Choose the copy that stays in each group, in one pass over the rows."""
    group_of = {index: number for number, group in enumerate(groups) for index in group}
    held: list[list[Row]] = [[] for _ in groups]
    chosen: dict[int, _Group] = {}
    for index, row in enumerate(rows):
        number = group_of.get(index)
        if number is None:
            continue
        copies, held_copies = groups[number], held[number]
        held_copies.append({name: row.get(name) for name in _READ})
        if len(held_copies) < len(copies):
            continue
        best = best_row(held_copies, keep, sources)
        listed = [{name: copy[name] for name in _LISTED if copy[name] is not None} for copy in held_copies]
        answers = different_answers(copy["answer"] for copy in held_copies)
        chosen[number] = _Group(number, copies, copies[best], listed[best], answers, listed)
        held[number] = []
    return [chosen[number] for number in range(len(groups))]


_READ = ("id", "problem", "source", "answer", "solution")
_LISTED = ("id", "problem", "source", "answer")


def _write_clusters(path: Path, groups: Sequence[_Group]) -> None:
    write_rows(
        path,
        (
            {"cluster": group.number, "kept": group.name, "rows": group.listed, "answers": group.answers}
            for group in groups
        ),
    )


def shard(problem: str, shards: int) -> int:
    """Return the shard of a problem, so that all its copies are in the same one.

    `dedup` of each shard drops what `dedup` of the whole would: copies have equal numbers and operators, and the
    shard is a hash of those.

    Args:
        problem: Problem text.
        shards: Number of shards.
    """
    return int(signature(problem).frame_key, 16) % shards
