import gzip
import json

import pytest

from data_tools.engine.execution import Execution, executing
from data_tools.engine.run_tool import run_tool
from data_tools.errors import DataToolsError
from data_tools.rows.files import write_rows
from data_tools.rows.row import Dropped
from data_tools.tools.decontaminate import decontaminate
from tests.shared import shared_file

BENCHMARK = [
    {"id": "m1", "problem": "Let $x$ and $y$ be real numbers such that $x+2y=12$. Find the largest value of $xy$."},
    {"id": "m2", "problem": "Compute $\\sin 60^\\circ$."},
    {"id": "m3", "problem": " ".join(f"word{number}" for number in range(40))},
]
ALL = ["exact", "ngram32", "ngram8", "containment", "template", "signature"]


@pytest.fixture
def benchmark(tmp_path):
    write_rows(tmp_path / "bench.jsonl", BENCHMARK)
    return tmp_path / "bench.jsonl"


def flagging_tests(problem, benchmark, tests=ALL):
    (found,) = decontaminate([{"problem": problem}], benchmarks=[benchmark], tests=tests)
    return found.match["tests"] if isinstance(found, Dropped) else []


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        (BENCHMARK[0]["problem"], ["containment", "exact", "ngram8", "signature", "template"]),
        (BENCHMARK[0]["problem"].replace("12", "17").replace("2y", "3y"), ["exact", "ngram8", "template"]),
        ("Let $p$ and $q$ be real numbers such that $p+2q=12$. Find the largest value of $pq$.",
         ["containment", "signature", "template"]),
        ("Determine $\\sin 60^{\\circ}$.", ["containment", "signature"]),
        ("Compute $\\sin 30^\\circ$.", ["exact"]),
        ("First. " + " ".join(f"word{number}" for number in range(3, 36)), ["ngram32", "ngram8"]),
        ("Find the largest prime below 100.", []),
    ],
)  # fmt: skip
def test_what_each_test_sees(problem, expected, benchmark):
    assert flagging_tests(problem, benchmark) == expected
    for test in ALL:
        assert flagging_tests(problem, benchmark, [test]) == [name for name in expected if name == test]


def test_match_names_the_benchmarks_problem(benchmark):
    clean = {"id": "c", "problem": "How many primes are there below 100?"}
    dirty = {"id": "d", "problem": "A friend asks: " + BENCHMARK[0]["problem"]}
    kept, dropped = decontaminate([clean, dirty], benchmarks=[benchmark])
    assert kept == clean
    assert (dropped.row, dropped.reason) == (dirty, "containment")
    assert dropped.match == {
        "benchmark": "bench",
        **BENCHMARK[0],
        "tests": ["containment", "template"],
        "share": 1.0,
    }


def test_rows_of_messages(benchmark):
    row = {"messages": [{"role": "system", "content": "Think."}, {"role": "user", "content": BENCHMARK[1]["problem"]}]}
    (found,) = decontaminate([row], benchmarks=[benchmark], tests=["exact"])
    assert found.reason == "exact"


def test_same_result_in_processes(benchmark):
    rows = [{"problem": f"Problem {n}: " + BENCHMARK[n % 3]["problem"].replace("12", str(n))} for n in range(40)]
    alone = list(decontaminate(rows, benchmarks=[benchmark], tests=ALL))
    with executing(Execution(workers=2, chunk=7)):
        assert list(decontaminate(rows, benchmarks=[benchmark], tests=ALL)) == alone


def test_the_cleaned_set_is_written(benchmark, tmp_path):
    write_rows(tmp_path / "in.jsonl", [{"problem": "What is $1+1$?"}, BENCHMARK[2]])
    report = run_tool("decontaminate", tmp_path / "in.jsonl", tmp_path / "out.jsonl", {"benchmarks": [str(benchmark)]})
    assert (report.kept, report.dropped) == (1, {"ngram32": 1})
    assert json.loads((tmp_path / "out.jsonl").read_text()) == {"problem": "What is $1+1$?"}


def test_a_changed_benchmark_is_read_again(benchmark):
    assert flagging_tests("What is $1+1$?", benchmark, ["exact"]) == []
    write_rows(benchmark, [{"problem": "What is $1+2$?"}])
    assert flagging_tests("What is $1+1$?", benchmark, ["exact"]) == ["exact"]


@pytest.mark.parametrize(
    "options", [{"benchmarks": []}, {"benchmarks": ["none.jsonl"]}, {"tests": []}, {"min_containment": 0.0}]
)
def test_wrong_options_are_told_at_once(options, benchmark):
    with pytest.raises(DataToolsError):
        decontaminate([], **{"benchmarks": [benchmark], **options})


def test_few_clean_problems_are_flagged():
    files = [shared_file(f"data/problems/{name}.jsonl.gz") for name in ("aime24", "aime25", "math500")]
    with gzip.open(shared_file("data/problems/math_train.jsonl.gz"), "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    assert sum(isinstance(row, Dropped) for row in decontaminate(rows, benchmarks=files)) <= 60
