"""The `decontaminate` tool: drop benchmark problems and their copies from training data.

Two tests are Light-R1's (arXiv 2503.10460 §3.1.2), one is open-r1's, as their scripts have them. They miss short
problems (62% of MATH-500 has under 32 words), a prefix before the problem, other LaTeX and renamed variables; and the
8-gram of open-r1 takes 9% of MATH's training set with it. So three tests on maths tokens stand beside them, and are
the default together with the 32-gram.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal

from data_tools.engine.execution import per_row
from data_tools.engine.run_tool import canonical_rows
from data_tools.errors import DataToolsError
from data_tools.problems.containment import Contained, ContainmentIndex
from data_tools.problems.ngrams import KeyIndex, NgramIndex
from data_tools.problems.signature import signature
from data_tools.rows.columns import text
from data_tools.rows.row import Dropped, Row

Test = Literal["exact", "ngram32", "ngram8", "containment", "template", "signature"]
NGRAMS: Mapping[str, int] = {"ngram32": 32, "ngram8": 8}
ON_TOKENS = ("containment", "template", "signature")
# Calibrated on MATH-500, AIME24 and AIME25 against MATH's training set, see docs/decontaminate.md.
TEMPLATE_SHARE = 0.9
TEMPLATE_MIN_WINDOWS = 6


def decontaminate(
    rows: Iterable[Row],
    *,
    benchmarks: list[Path],
    tests: list[Test] = ["ngram32", "containment", "template", "signature"],  # noqa: B006  never changed
    min_containment: float = 0.85,
) -> Iterator[Row | Dropped]:
    """Drop training problems that are, or contain, a problem of a benchmark.

    The prompt of a row is its `problem`, or the first user message where it has only `messages`. The match names the
    benchmark's problem, all tests that flagged the row, and the share that was contained.

    Args:
        rows: Training rows.
        benchmarks: Files with the benchmarks' problems.
        tests: Which tests flag a row; Light-R1's are `exact ngram32`, open-r1's is `ngram8`.
        min_containment: Least share of a benchmark problem's five-token windows for `containment`.

    Drops:
        exact: Equal to a benchmark's prompt without digits, blanks and punctuation (Light-R1).
        ngram32: Shares 32 words in a row (Light-R1).
        ngram8: Shares 8 words in a row (open-r1).
        containment: Contains most of a problem's maths tokens, variables blanked.
        template: Contains nearly all of them with the numbers blanked too: only numbers were changed.
        signature: The same tokens from end to end, up to renamed variables; sees problems of a few tokens.
    """
    if not benchmarks:
        raise DataToolsError("benchmarks: expected at least one file")
    if not tests:
        raise DataToolsError("tests: expected at least one")
    if not 0 < min_containment <= 1:
        raise DataToolsError(f"min_containment: expected a share above 0 and up to 1, found {min_containment}")
    settings = Settings(tuple(BenchmarkFile.of(Path(path)) for path in benchmarks), tuple(tests), min_containment)
    load_benchmarks(settings)  # a benchmark that cannot be read is told before any row is
    return per_row(check_row, rows, settings=settings)


@dataclass(frozen=True, slots=True)
class BenchmarkFile:
    """A benchmark's file in the state that it was in when asked for.

    Args:
        path: Where it is.
        modified_ns: Time of its last change in nanoseconds.
    """

    path: Path
    modified_ns: int

    @classmethod
    def of(cls, path: Path) -> BenchmarkFile:
        """Look at a file.

        Raises:
            DataToolsError: If there is none.
        """
        if not path.exists():
            raise DataToolsError(f"{path}: no such benchmark file")
        return cls(path, path.stat().st_mtime_ns)


@dataclass(frozen=True, slots=True)
class Settings:
    """What rows are tested for; equal settings share one index in each process.

    Args:
        benchmarks: The files.
        tests: Names of the tests, the first one that flags a row gives the reason.
        min_containment: Least share for `containment`.
    """

    benchmarks: tuple[BenchmarkFile, ...]
    tests: tuple[Test, ...]
    min_containment: float


def check_row(row: Row, *, settings: Settings) -> Row | Dropped:
    """Test one row; see `decontaminate`."""
    hit = load_benchmarks(settings).find(prompt_of(row))
    if not hit:
        return row
    reason = next(test for test in settings.tests if test in hit)
    first = hit[reason]
    match = {**load_benchmarks(settings).names[first.number], "tests": sorted(hit)}
    if first.share is not None:
        match["share"] = round(first.share, 3)
    return Dropped(row, reason, match)


def prompt_of(row: Row) -> str:
    """Return a row's problem, or its first user message where it has none.

    Raises:
        DataToolsError: If it has neither.
    """
    messages = row.get("messages")
    if "problem" not in row and isinstance(messages, list):
        for message in messages:
            if isinstance(message, Mapping) and message.get("role") == "user" and isinstance(message["content"], str):
                return message["content"]
    return text(row, "problem")


@dataclass(frozen=True, slots=True)
class Hit:
    """A benchmark problem that a test found.

    Args:
        number: Its place among all problems of the benchmarks.
        share: Share of it that was found; None for tests without one.
    """

    number: int
    share: float | None = None


@dataclass(slots=True)
class Benchmarks:
    """The benchmarks' problems, indexed for the tests that are asked for.

    Args:
        problems: All problems.
        names: For each, its benchmark, id and text.
        settings: The tests.
    """

    problems: list[str]
    names: list[Row]
    settings: Settings
    _keys: KeyIndex = field(init=False)
    _ngrams: NgramIndex = field(init=False)
    _contained: ContainmentIndex = field(init=False)
    _template: ContainmentIndex = field(init=False)
    _signatures: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        tests = self.settings.tests

        def asked(test: str) -> list[str]:
            return self.problems if test in tests else []

        self._keys = KeyIndex(asked("exact"))
        self._ngrams = NgramIndex(self.problems, [size for name, size in NGRAMS.items() if name in tests])
        self._contained = ContainmentIndex(asked("containment"), numbers=True, min_windows=1)
        self._template = ContainmentIndex(asked("template"), numbers=False, min_windows=TEMPLATE_MIN_WINDOWS)
        self._signatures = {}
        for number, problem in enumerate(asked("signature")):
            signed = signature(problem)
            for key in (signed.key, signed.run_key):
                self._signatures.setdefault(key, number)

    def find(self, prompt: str) -> dict[str, Hit]:
        """Return test -> what it found, for the tests that flag a prompt."""
        tests = self.settings.tests
        hits: dict[str, Hit] = {}
        if "exact" in tests and (number := self._keys.find(prompt)) is not None:
            hits["exact"] = Hit(number)
        shared = self._ngrams.find(prompt)
        hits |= {name: Hit(shared[size]) for name, size in NGRAMS.items() if name in tests and size in shared}
        if any(test in tests for test in ON_TOKENS):
            hits |= self._find_tokens(prompt)
        return hits

    def _find_tokens(self, prompt: str) -> dict[str, Hit]:
        signed = signature(prompt)
        hits: dict[str, Hit] = {}
        shares: dict[str, tuple[Contained | None, float]] = {
            "containment": (self._contained.find(signed.tokens), self.settings.min_containment),
            "template": (self._template.find(signed.tokens), TEMPLATE_SHARE),
        }
        for name, (contained, least) in shares.items():
            if contained is not None and contained.share >= least:
                hits[name] = Hit(contained.number, contained.share)
        if self._signatures:
            number = self._signatures.get(signed.key, self._signatures.get(signed.run_key))
            if number is not None:
                hits["signature"] = Hit(number)
        return hits


@lru_cache(maxsize=4)
def load_benchmarks(settings: Settings) -> Benchmarks:
    """Read and index benchmark files, once per process.

    Raises:
        DataToolsError: If a file cannot be read or has a row without a problem.
    """
    problems: list[str] = []
    names: list[Row] = []
    for benchmark in settings.benchmarks:
        name = benchmark.path.name.partition(".")[0]
        for row in canonical_rows(benchmark.path):
            problem = prompt_of(row)
            problems.append(problem)
            names.append({"benchmark": name, **({"id": row["id"]} if "id" in row else {}), "problem": problem})
    return Benchmarks(problems, names, settings)
