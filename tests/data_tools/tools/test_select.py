"""FastCuRL's split and caps per category."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_tools.engine.execution import Execution, executing
from data_tools.engine.fold import fold, make_step
from data_tools.errors import DataToolsError
from data_tools.rows.files import read_rows
from data_tools.rows.row import Dropped
from data_tools.tools.select import balance, segment
from tests.shared import shared_file


def run(tool, options, rows):
    dropped = []
    folded = fold(rows, [make_step(tool, options)], on_dropped=lambda _, item: dropped.append(item))
    kept = list(folded)
    return kept, dropped, folded.counts[0].summary


@given(st.lists(st.text(max_size=30), max_size=30))
def test_short_is_at_most_the_mean_and_long_the_rest(problems):
    rows = [{"problem": problem} for problem in problems]
    mean = sum(map(len, problems)) / len(problems) if problems else 0
    short, rest, summary = run("segment", {"keep": "short"}, rows)
    long, _, _ = run("segment", {"keep": "long"}, rows)
    everything, nothing, _ = run("segment", {}, rows)
    assert [row["problem"] for row in short] == [p for p in problems if len(p) <= mean]
    assert [row["problem"] for row in long] == [p for p in problems if len(p) > mean]
    assert [row["problem"] for row in everything] == problems and not nothing
    assert {item.reason for item in rest} <= {"long"}
    assert (summary["mean_chars"], summary["short"], summary["all"]) == (mean, len(short), len(problems))


def test_a_threshold_can_be_given_and_another_column_measured():
    rows = [{"problem": "x", "prompt_text": "a" * n} for n in (3, 4)]
    assert [row["segment"] for row in segment(rows, threshold=3, column="prompt_text")] == ["short", "long"]


def test_the_published_split_comes_back():
    rows = list(read_rows(shared_file("data/problems/deepscaler_preview_40k.jsonl.gz")))
    found = list(segment(rows))
    other = [row for row in found if (row["segment"] == "short") != (row["fastcurl_split"] == "L1")]
    # Published: 24,976 and 15,339. Two problems of 247 characters here have one more, a blank, in the release.
    assert Counter(row["segment"] for row in found) == {"short": 24_978, "long": 15_337}
    assert {(row["chars"], row["fastcurl_split"]) for row in other} == {(247, "L3")} and len(other) == 2


CATEGORIES = st.lists(st.sampled_from(["a", "b", None]) | st.lists(st.sampled_from("xyz"), max_size=3), max_size=25)


@given(CATEGORIES, st.integers(1, 4), st.integers(0, 3))
def test_no_category_exceeds_its_cap_and_no_row_is_dropped_without_need(categories, cap, seed):
    rows = [{"problem": str(n), "tag": tag} for n, tag in enumerate(categories)]
    kept, dropped, summary = run("balance", {"by": "tag", "cap": cap, "seed": seed}, rows)

    def names(row):
        return (set(row["tag"]) if isinstance(row["tag"], list) else {row["tag"]}) or {None}

    sizes = Counter(name for row in kept for name in names(row))
    assert all(size <= cap for size in sizes.values())
    assert all(sizes[item.match["tag"]] == cap and item.match["tag"] in names(item.row) for item in dropped)
    assert sorted(kept + [item.row for item in dropped], key=lambda row: int(row["problem"])) == rows
    assert [row for row in rows if row in kept] == kept
    assert {name: n["kept"] for name, n in summary["categories"].items() if n["kept"]} == {
        str(name): size for name, size in sizes.items()
    }


def test_the_choice_depends_on_seed_and_text_alone():
    rows = [{"problem": str(n), "source": "s"} for n in range(200)]

    def chosen(seed, rows):
        results = balance(rows, by="source", cap=50, seed=seed)
        return {row["problem"] for row in results if not isinstance(row, Dropped)}

    assert chosen(1, rows) == chosen(1, rows[::-1])
    assert chosen(1, rows) != chosen(2, rows)
    assert len(chosen(1, rows) & chosen(1, rows[:150])) >= 30  # what stays is mostly the same in a part of the rows


def test_what_cannot_be_balanced_is_named():
    with pytest.raises(DataToolsError, match="expected 1 or more"):
        balance([], by="source", cap=0)
    with pytest.raises(DataToolsError, match=r"no column `sourc`.*Did you mean `source`"):
        list(balance([{"problem": "x", "source": "s"}], by="sourc", cap=1))
    with pytest.raises(DataToolsError, match="neither a category nor a list of tags"):
        list(balance([{"problem": "x", "meta": {"a": 1}}], by="meta", cap=1))


def test_rows_that_cannot_be_read_are_dropped_where_errors_are_skipped():
    rows = [{"problem": 7, "source": "s"}, {"problem": "x", "source": "s"}, {"source": "s"}]
    with executing(Execution(on_error="skip")):
        for results in (segment(rows), balance(rows, by="source", cap=5)):
            found = list(results)
            assert [item.reason for item in found if isinstance(item, Dropped)] == ["malformed"] * 2
            assert [row["problem"] for row in found if not isinstance(row, Dropped)] == ["x"]
    with pytest.raises(DataToolsError, match="must be text, found int"):
        list(segment(rows))
