import json

import pytest

from data_tools.errors import DataToolsError
from data_tools.rows.files import read_rows
from data_tools.rows.row import Dropped
from data_tools.tools.dedup import dedup, shard, symbolic_links

ROWS = [
    {"id": "a", "problem": "Problem 1. Find $x$ if $2x+1=7$.", "answer": ""},
    {"id": "b", "problem": "Determine $y$ if \\(2y + 1 = 7\\).", "answer": "3"},
    {"id": "c", "problem": "Find $x$ if $2x+1=9$.", "answer": "4"},
    {"id": "d", "problem": "John has 3 apples and eats 2 of them. How many apples has John left?", "answer": "1"},
    {"id": "e", "problem": "Olga has 3 apples and eats 2 of them. How many apples has Olga left?", "answer": "5"},
    {"id": "f", "problem": "How many primes are below one thousand?", "answer": "168"},
]


def run(rows, **options):
    generator, out = dedup(rows, **options), []
    while True:
        try:
            out.append(next(generator))
        except StopIteration as end:
            return out, end.value


def test_copies_go_and_siblings_stay():
    out, summary = run(ROWS)
    kept = [row for row in out if not isinstance(row, Dropped)]
    dropped = [row for row in out if isinstance(row, Dropped)]
    assert [row["id"] for row in kept] == ["b", "c", "d", "f"]
    assert [(row.row["id"], row.reason, row.match["id"]) for row in dropped] == [
        ("a", "same_text", "b"),
        ("e", "same_problem", "d"),
    ]
    assert kept[0] == {**ROWS[1], "copies": 2}
    assert kept[2] == {**ROWS[3], "copies": 2, "conflicting_answers": ["1", "5"]}
    assert kept[1] == ROWS[2]
    assert summary == {"clusters": 2, "conflicting_answers": 1, "embedded": 2}


def test_the_same_rows_in_any_order_give_the_same_clusters():
    def groups(rows):
        return sorted(sorted([row.row["id"], row.match["id"]]) for row in run(rows)[0] if isinstance(row, Dropped))

    assert groups(ROWS) == groups(ROWS[::-1]) == [["a", "b"], ["d", "e"]]


def test_shards_find_what_the_whole_finds():
    whole = {row.row["id"] for row in run(ROWS)[0] if isinstance(row, Dropped)}
    parts = [[row for row in ROWS if shard(row["problem"], 3) == part] for part in range(3)]
    assert {row.row["id"] for part in parts for row in run(part)[0] if isinstance(row, Dropped)} == whole
    assert sum(map(len, parts)) == len(ROWS)


def test_clusters_are_written(tmp_path):
    run(ROWS, clusters=tmp_path / "clusters.jsonl")
    found = list(read_rows(tmp_path / "clusters.jsonl"))
    assert [[row["id"] for row in cluster["rows"]] for cluster in found] == [["a", "b"], ["d", "e"]]
    assert [cluster["kept"]["id"] for cluster in found] == ["b", "d"]
    assert found[1]["answers"] == ["1", "5"]


def test_cosine_is_the_plain_rule():
    rows = [ROWS[3], {**ROWS[3], "id": "sibling", "problem": ROWS[3]["problem"].replace("3", "4")}, ROWS[5]]
    assert not [row for row in run(rows)[0] if isinstance(row, Dropped)]
    out, summary = run(rows, method="cosine", threshold=0.9)
    assert [(row.row["id"], row.reason) for row in out if isinstance(row, Dropped)] == [("sibling", "similar")]
    assert out[1].match["cosine"] >= 0.9
    assert summary["embedded"] == 3
    assert not [row for row in run(rows, method="cosine", threshold=1.0)[0] if isinstance(row, Dropped)]


def test_source_priority():
    rows = [{**ROWS[0], "source": "x"}, {**ROWS[1], "source": "y"}]
    assert run(rows, keep=["source"], sources=["x", "y"])[0][0]["id"] == "a"
    assert run(rows, keep=["source"], sources=["y"])[0][1]["id"] == "b"


@pytest.mark.parametrize("options", [{"method": "cosine"}, {"threshold": 1.5}])
def test_wrong_options_are_told_before_rows_are_read(options):
    with pytest.raises(DataToolsError, match="threshold"):
        dedup(iter([]), **options)


def test_no_rows_and_a_row_without_problem():
    assert run([]) == ([], {"clusters": 0, "conflicting_answers": 0, "embedded": 0})
    with pytest.raises(DataToolsError, match="problem"):
        run([{"id": "x"}])


def test_links_of_equal_texts_need_no_embedding():
    links = symbolic_links(["What is $1+1$?"] * 3)
    assert (links.embedded, [pair[:3] for pair in links.pairs]) == (0, [(0, 1, "same_text"), (0, 2, "same_text")])


def test_command_writes_rows_dropped_and_report(tmp_path):
    from data_tools.engine.run_tool import run_tool
    from data_tools.rows.files import write_rows

    write_rows(tmp_path / "in.jsonl", ROWS)
    report = run_tool("dedup", tmp_path / "in.jsonl", tmp_path / "out.jsonl", {})
    assert report.dropped == {"same_text": 1, "same_problem": 1}
    aside = [json.loads(line) for line in (tmp_path / "out.jsonl.dropped.jsonl").open()]
    assert [row["match"]["id"] for row in aside] == ["b", "d"]
