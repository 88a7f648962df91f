"""Recall, false positives and speed of each decontamination test.

`python benchmarks/decontaminate.py DATA` reads `DATA/problems` and `DATA/decontam` and prints Markdown tables: planted
copies of benchmark problems, pairs with human verdicts, rephrased and perturbed sets, flags on a clean training set,
and prompts per second beside the tests written plainly.
"""

from __future__ import annotations

import argparse
import random
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from data_tools.problems.ngrams import KeyIndex, NgramIndex, digitless_key, words
from data_tools.rows.files import read_rows, write_rows
from data_tools.rows.row import Row
from data_tools.tools.decontaminate import BenchmarkFile, Benchmarks, Settings, load_benchmarks

TESTS = ("exact", "ngram32", "ngram8", "containment", "template", "signature")
SETS = {
    "Light-R1 (exact, ngram32)": {"exact", "ngram32"},
    "open-r1 (ngram8)": {"ngram8"},
    "exact": {"exact"},
    "ngram32": {"ngram32"},
    "containment": {"containment"},
    "template": {"template"},
    "signature": {"signature"},
    "default of data_tools": {"ngram32", "containment", "template", "signature"},
}
PREFIXES = (
    "Solve the following problem carefully and explain each step. ",
    "Here is a question from a past contest: ",
    "You are a careful tutor helping a student with homework. ",
    "Problem 7. ",
    "Please reason step by step. ",
)
WORDING = (
    ("Find", "Determine"),
    ("What is", "Determine"),
    ("Let ", "Suppose "),
    ("such that", "so that"),
    ("How many", "Find the number of"),
    ("Compute", "Calculate"),
    ("positive integer", "natural number"),
    ("Express", "Give"),
    ("greatest", "largest"),
)


def prefix(problem: str, rng: random.Random) -> str:
    return rng.choice(PREFIXES) + problem


def reformat(problem: str, rng: random.Random) -> str:
    problem = problem.replace("\\frac", "\\dfrac").replace("\\le ", "\\leq ").replace("$$", "\0")
    problem = re.sub(r"\$([^$]*)\$", r"\\(\1\\)", problem).replace("\0", "$$")
    problem = re.sub(r"\\[\[\]]", "$$", problem.replace("\\left", "").replace("\\right", ""))
    return re.sub(r"([+=])", r" \1 ", problem)


def change_numbers(problem: str, rng: random.Random) -> str:
    return re.sub(r"\d+", lambda match: str(max(2, int(match[0]) + rng.choice((-1, 1, 2, 3, 7)))), problem)


def rename(problem: str, rng: random.Random) -> str:
    letters = "pqrstuvwabcxyzmnk"
    to = dict(zip(letters, rng.sample(letters, len(letters)), strict=True))

    def maths(match: re.Match[str]) -> str:
        return re.sub(r"(?<![A-Za-z\\])([a-z])(?![A-Za-z])", lambda letter: to.get(letter[1], letter[1]), match[0])

    return re.sub(r"\$\$?[^$]+\$\$?|\\\[.*?\\\]", maths, problem, flags=re.DOTALL)


def reword(problem: str, rng: random.Random) -> str:
    for old, new in WORDING:
        problem = problem.replace(old, new)
    return problem


KINDS: dict[str, Callable[[str, random.Random], str]] = {
    "new prefix": prefix,
    "LaTeX reformatted": reformat,
    "all numbers changed": change_numbers,
    "variables renamed": rename,
    "reworded": reword,
}


def index(files: Sequence[Path], tests: Iterable[str] = TESTS) -> Benchmarks:
    return load_benchmarks(Settings(tuple(BenchmarkFile.of(file) for file in files), tuple(tests), 0.85))


def index_of(problems: Sequence[str]) -> Benchmarks:
    with tempfile.TemporaryDirectory() as folder:
        write_rows(Path(folder) / "problems.jsonl", ({"problem": problem} for problem in problems))
        return index([Path(folder) / "problems.jsonl"])


def table(title: str, columns: dict[str, list[set[str]]], share: bool = True) -> None:
    """Print, for each set of tests, how many texts of each column it flags."""
    print(f"{title}\n\n| tests | " + " | ".join(f"{name} ({len(flags)})" for name, flags in columns.items()) + " |")
    print("|---|" + "---|" * len(columns))
    for name, tests in SETS.items():
        counts = [(sum(bool(flagged & tests) for flagged in flags), len(flags)) for flags in columns.values()]
        cells = [f"{count / max(1, total):.3f}" if share else str(count) for count, total in counts]
        print(f"| {name} | {' | '.join(cells)} |")
    print()


def flags(benchmarks: Benchmarks, texts: Iterable[str]) -> list[set[str]]:
    return [set(benchmarks.find(text)) for text in texts]


def planted(files: Sequence[Path]) -> None:
    benchmarks = index(files)
    columns = {}
    for kind, change in KINDS.items():
        rng = random.Random(0)
        texts = [(problem, change(problem, rng)) for problem in benchmarks.problems]
        columns[kind] = flags(benchmarks, [text for problem, text in texts if text != problem])
    table("Planted copies: share that is flagged", columns)


def judged(data: Path, rows: list[Row], train: list[str]) -> None:
    """Pairs with a human verdict; texts of the human-judged set are compared with their own benchmark problem."""
    columns: dict[str, list[set[str]]] = {}
    names = {("Y", "lexical"): "copies, lexical", ("Y", "semantic"): "copies, semantic", ("N", "semantic"): "clean"}
    for (verdict, kind), name in names.items():
        found = [row for row in rows if (row["human_contaminated"], row["kind"]) == (verdict, kind)]
        columns[name] = [set(index_of([row["problem"]]).find(row["train_problem"])) for row in found]
        if verdict == "Y" and kind == "semantic":
            same = [row for row in found if row["same_numbers"] == "Y"]
            columns["... with the same numbers"] = [
                set(index_of([row["problem"]]).find(row["train_problem"])) for row in same
            ]
    clean = [row["problem"] for row in read_rows(data / "math500_clean_baseline_100.jsonl.gz")]
    columns["MATH-500 problems found clean, against MATH train"] = flags(index_of(train), clean)
    table("MATH-500 pairs with human verdicts: share that is flagged", columns)


def rephrased(data: Path) -> None:
    pairs = list(read_rows(data / "gsm8k_rephrased_pairs_1319.jsonl.gz"))
    columns = {
        "GSM8K test, rephrased by an LLM": flags(
            index_of([row["problem"] for row in pairs]), [row["rephrased"] for row in pairs]
        )
    }
    perturbed = list(read_rows(data / "gsm_plus_testmini_2400.jsonl.gz"))
    gsm = index_of(list(dict.fromkeys(row["seed_problem"] for row in perturbed)))
    for kind in sorted({row["perturbation_type"] for row in perturbed}):
        texts = [row["problem"] for row in perturbed if row["perturbation_type"] == kind]
        columns[f"GSM-Plus: {kind}"] = flags(gsm, texts)
    changed = [row for row in read_rows(data / "math_perturb_558.jsonl.gz") if float(row["link_best"]) >= 0.3]
    originals = index_of(list(dict.fromkeys(row["original_problem"] for row in changed)))
    for variant in ("simple", "hard"):
        texts = [row["problem"] for row in changed if row["variant"] == variant]
        columns[f"MATH-Perturb: {variant}"] = flags(originals, texts)
    table("Rephrased and perturbed benchmark problems: share that is flagged", columns)


def speed(files: Sequence[Path], prompts: list[str]) -> None:
    benchmarks = index(files, ("exact",)).problems
    keys, ngrams, ngrams32 = KeyIndex(benchmarks), NgramIndex(benchmarks, [8, 32]), NgramIndex(benchmarks, [32])
    default = index(files, SETS["default of data_tools"])
    plain = {
        size: {" ".join(w[i : i + size]) for w in map(words, benchmarks) for i in range(len(w) - size + 1)}
        for size in (8, 32)
    }
    stored = {*benchmarks, *map(digitless_key, benchmarks)}

    def plain_ngram(prompt: str, size: int) -> bool:
        found = words(re.sub(r"\s+", " ", prompt))
        return any(" ".join(found[i : i + size]) in plain[size] for i in range(len(found) - size + 1))

    def plain_key(prompt: str) -> bool:
        return prompt in stored or re.sub(r"\d+", "", re.sub(r"[^\w]", "", prompt)).lower() in stored

    ways: dict[str, tuple[Callable[[str], object], int]] = {
        "exact, plainly": (plain_key, 1),
        "32-gram, plainly": (lambda prompt: plain_ngram(prompt, 32), 1),
        "8-gram, plainly": (lambda prompt: plain_ngram(prompt, 8), 1),
        "exact": (keys.find, 1),
        "32-gram": (ngrams32.find, 1),
        "32-gram and 8-gram": (ngrams.find, 1),
        "32-gram, 8-gram and exact": (lambda prompt: (keys.find(prompt), ngrams.find(prompt)), 1),
        "default (every tenth prompt)": (default.find, 10),
    }
    print(f"{len(prompts)} prompts against {len(benchmarks)} benchmark problems, one process\n")
    print("| tests | prompts/s (processor time) |\n|---|---|")
    for name, (way, step) in ways.items():
        chosen = prompts[::step]
        start = time.process_time()
        for prompt in chosen:
            way(prompt)
        print(f"| {name} | {len(chosen) / (time.process_time() - start):,.0f} |")
    same = all(
        (8 in (hits := ngrams.find(prompt)), 32 in hits, keys.find(prompt) is not None)
        == (plain_ngram(prompt, 8), plain_ngram(prompt, 32), plain_key(prompt))
        for prompt in prompts
    )
    print(f"\nSame flags as written plainly on all prompts: {'yes' if same else 'NO'}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    data: Path = parser.parse_args().data
    problems, pairs = data / "problems", data / "decontam"
    # GPQA may not be passed on; the first 198 of OlympiadBench stand in for its diamond set in the speed table.
    files = [problems / f"{name}.jsonl.gz" for name in ("aime24", "aime25", "math500")]
    train = [row["problem"] for row in read_rows(problems / "math_train.jsonl.gz")]
    planted(files)
    table("Flags on MATH train, believed clean", {"MATH train": flags(index(files), train)}, share=False)
    judged(pairs, list(read_rows(pairs / "math500_contamination_human_labelled.jsonl.gz")), train)
    rephrased(pairs)
    with tempfile.TemporaryDirectory() as folder:
        stand_in = Path(folder) / "olympiadbench_198.jsonl"
        write_rows(stand_in, [row for row, _ in zip(read_rows(problems / "olympiadbench_675.jsonl.gz"), range(198))])  # noqa: B905
        names = ("deepscaler_preview_40k", "dapo_math_17k", "gsm8k_train", "math_lvl3to5_8523", "amc_aime_numina_3899")
        prompts = [row["problem"] for name in names for row in read_rows(problems / f"{name}.jsonl.gz")]
        speed([*files, stand_in], prompts)


if __name__ == "__main__":
    main()
