"""Near-duplicate removal beside semhash and plain sentence-transformers, on the same pairs and texts.

`python -m benchmarks.dedup PAIRS PROBLEMS [--rows N]`, with the extra `bench`: PAIRS is JSON Lines of `a`, `b`,
`label` (1: one problem), `kind`; PROBLEMS is a file of problems. Prints Markdown tables. Times are processor
seconds of this process (all threads together) and wall seconds.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import numpy as np

from data_tools.problems.clean import clean_text
from data_tools.problems.embed import MODEL, embed, load_encoder
from data_tools.problems.same_problem import same_problem
from data_tools.problems.search import similar_pairs
from data_tools.problems.signature import signature
from data_tools.rows.files import read_rows
from data_tools.tools.dedup import CANDIDATE_COSINE, symbolic_links


class Timer:
    """Wall and processor seconds of a `with` block."""

    wall = cpu = 0.0


@contextmanager
def timed() -> Iterator[Timer]:
    timer, wall, cpu = Timer(), time.perf_counter(), time.process_time()
    yield timer
    timer.wall, timer.cpu = time.perf_counter() - wall, time.process_time() - cpu


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    print(flush=True)


def quality(pairs: list[dict[str, str]]) -> None:
    """Precision and recall of rules on labelled pairs, and the rate per kind of the symbolic one."""
    raw = embed([text for pair in pairs for text in (pair["a"], pair["b"])])
    cleaned = embed([clean_text(text) for pair in pairs for text in (pair["a"], pair["b"])])
    cosine, clean = ((vectors[::2] * vectors[1::2]).sum(1) for vectors in (raw, cleaned))
    symbolic = np.array([same_problem(signature(pair["a"]), signature(pair["b"])) for pair in pairs])
    label = np.array([bool(pair["label"]) for pair in pairs])
    rules: dict[str, np.ndarray] = {f"plain cosine >= {least}": cosine >= least for least in (0.85, 0.9, 0.95, 0.97)}
    rules["semhash at 0.9, on the same vectors"] = semhash_pairs(pairs, raw)
    rules["symbolic check alone"] = symbolic
    rules[f"data_tools dedup (cosine >= {CANDIDATE_COSINE}, symbolic check)"] = symbolic & (clean >= CANDIDATE_COSINE)
    rows = []
    for name, said in rules.items():
        right = int((said & label).sum())
        rows.append(
            (name, f"{right / max(1, said.sum()):.3f}", f"{right / label.sum():.3f}", int((said & ~label).sum()))
        )
    print(f"{len(pairs)} labelled pairs, {label.sum()} of them copies\n")
    table(("rule", "precision", "recall", "wrongly joined"), rows)
    kinds: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for pair, said in zip(pairs, symbolic, strict=True):
        kinds["copies" if pair["label"] else "different", pair["kind"]].append(bool(said))
    table(
        ("label", "kind", "pairs", "joined"),
        [(*kind, len(said), sum(said)) for kind, said in sorted(kinds.items())],
    )


def semhash_pairs(pairs: list[dict[str, str]], vectors: np.ndarray) -> np.ndarray:
    """Whether semhash, over the same MiniLM vectors, drops one text of each pair when it deduplicates the two."""
    from semhash import SemHash

    known = dict(zip((text for pair in pairs for text in (pair["a"], pair["b"])), vectors, strict=True))

    class Known:
        """Hands semhash vectors that are already there."""

        def encode(self, inputs: Sequence[str], **_: object) -> np.ndarray:
            return np.stack([known[text] for text in inputs])

    found = []
    for pair in pairs:
        hashed = SemHash.from_records([pair["a"], pair["b"]], model=Known())
        found.append(len(hashed.self_deduplicate(threshold=0.9).selected) == 1)
    return np.array(found)


def throughput(problems: list[str]) -> None:
    """Embedding speed beside `SentenceTransformer.encode` at its defaults."""
    encoder = load_encoder(MODEL)
    encoder.encode(problems[:32])
    rows = []
    with timed() as plain:
        reference = encoder.encode(problems, normalize_embeddings=True, show_progress_bar=False)
    rows.append(("SentenceTransformer.encode", f"{len(problems) / plain.wall:.0f}", "1.0", "1.0", "0"))
    exact = reference @ reference.T
    for name, bf16 in (("data_tools embed, float32", False), ("data_tools embed, bfloat16 (default here)", True)):
        embed(problems[:32], bf16=bf16)
        with timed() as ours:
            found = embed(problems, bf16=bf16)
        error = np.abs(found @ found.T - exact).max()
        rows.append(
            (
                name,
                f"{len(problems) / ours.wall:.0f}",
                f"{plain.wall / ours.wall:.1f}",
                f"{plain.cpu / ours.cpu:.1f}",
                f"{error:.4f}",
            )
        )
    print(f"{len(problems)} problems; the error is the largest of all {len(problems)}² cosines\n")
    table(("encoder", "texts/s", "speed-up", "by processor time", "largest cosine error"), rows)


def search(rows: int) -> None:
    """Self-search of vectors that lie in clumps like embeddings of problems."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((rows // 3, 384)).astype(np.float32)
    vectors = centres[rng.integers(0, len(centres), rows)] + 0.4 * rng.standard_normal((rows, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ways: dict[str, Callable[[], int]] = {
        "numpy blocks, float32": lambda: numpy_blocks(vectors, 0.9),
        "data_tools": lambda: len(similar_pairs(vectors, 0.9)),
    }
    found = []
    for name, way in ways.items():
        with timed() as timer:
            pairs = way()
        found.append((name, pairs, f"{timer.wall:.1f}", f"{timer.cpu:.1f}"))
    print(f"{rows} x {rows}, cosine >= 0.9\n")
    table(("search", "pairs", "wall s", "processor s"), found)


def numpy_blocks(vectors: np.ndarray, threshold: float) -> int:
    found = 0
    for start in range(0, len(vectors), 2048):
        found += int((vectors[start : start + 2048] @ vectors.T >= threshold).sum())
    return (found - len(vectors)) // 2


def whole(problems: list[str]) -> None:
    """Deduplicate a real set."""
    with timed() as timer:
        links = symbolic_links(problems)
    copies = len({other for _, other, *_ in links.pairs})
    print(
        f"{len(problems)} problems deduplicated in {timer.wall:.0f} s ({timer.cpu:.0f} processor s): {copies} copies; "
        f"{links.embedded} texts embedded\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pairs", type=Path)
    parser.add_argument("problems", type=Path)
    parser.add_argument("--rows", type=int, default=1000, help="problems embedded for the speed of the encoders")
    parser.add_argument("--search-rows", type=int, default=50_000)
    parser.add_argument("--set-rows", type=int, default=None, help="problems deduplicated; all by default")
    given = parser.parse_args()
    with given.pairs.open(encoding="utf-8") as lines:
        quality([json.loads(line) for line in lines])
    problems = [row["problem"] for row in islice(read_rows(given.problems), given.set_rows)]
    throughput(problems[: given.rows])
    search(given.search_rows)
    whole(problems)


if __name__ == "__main__":
    main()
