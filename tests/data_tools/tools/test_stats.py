"""Statistics of a stream: exact, without holding or changing rows."""

from __future__ import annotations

import json
from statistics import mean, median_low

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_tools.engine.run_tool import run_tool
from data_tools.errors import DataToolsError
from data_tools.rows.files import write_rows
from data_tools.stats.summary import quantiles
from data_tools.tools.stats import stats

ROWS = [
    {"id": n, "problem": "x" * n, "answer": str(n), "source": "ab"[n % 2], "n_correct": n % 5, "n": 4}
    for n in range(1, 5)
] * 3


def test_rows_go_through_unchanged_while_the_page_is_made(tmp_path):
    stream = stats(iter(ROWS), page=str(tmp_path / "p" / "page.html"))
    assert [next(stream) for _ in range(3)] == ROWS[:3]  # they stream
    assert not (tmp_path / "p").exists()
    assert list(stream) == ROWS[3:]
    assert (tmp_path / "p" / "page.html").stat().st_size > 10_000
    assert (tmp_path / "p" / "page.png").read_bytes().startswith(b"\x89PNG")


def test_the_report_holds_the_numbers(tmp_path):
    write_rows(tmp_path / "in.jsonl", ROWS)
    run_tool("stats", tmp_path / "in.jsonl", tmp_path / "out.jsonl", {"page": str(tmp_path / "page.html")})
    found = json.loads((tmp_path / "out.jsonl.report.json").read_text())["summary"]
    assert found["rows"] == 12 and found["by_source"] == {"b": 6, "a": 6}
    assert found["chars"]["problem"] == {
        "n": 12, "mean": 2.5, "min": 1, "p10": 1, "median": 3, "p90": 4, "p99": 4, "max": 4,
    }  # fmt: skip
    assert set(found["chars"]) == {"problem", "answer"}
    assert found["pass_rate"]["mean"] == pytest.approx(mean([0.25, 0.5, 0.75, 1.0]))
    assert (tmp_path / "in.jsonl").read_bytes() == (tmp_path / "out.jsonl").read_bytes()


def test_messages_are_measured_together(tmp_path):
    turns = [{"role": "user", "content": "abc"}, {"role": "assistant", "content": "de"}]
    stream = stats([{"messages": turns}, {"messages": []}, {"messages": [7]}], page=str(tmp_path / "page.html"))
    with pytest.raises(StopIteration) as end:
        while True:
            next(stream)
    assert end.value.value["chars"]["messages"]["n"] == 1 and end.value.value["chars"]["messages"]["max"] == 5


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=50))
def test_quantiles_are_values_that_occur(values):
    found = quantiles(values)
    assert found["mean"] == pytest.approx(mean(values), abs=1e-4)
    assert (found["min"], found["max"], found["n"]) == (min(values), max(values), len(values))
    if len(values) % 2:
        assert found["median"] == median_low(values)
    assert {found[name] for name in ("p10", "median", "p90", "p99")} <= set(values)


def test_examples_depend_on_seed_and_content_not_on_order(tmp_path):
    rows = [{"problem": f"problem {n}"} for n in range(50)]

    def shown(rows, seed):
        page = tmp_path / "page.html"
        list(stats(rows, page=str(page), examples=4, seed=seed))
        text = page.read_text()
        return {row["problem"] for row in rows if f"<dd>{row['problem']}</dd>" in text}

    assert shown(rows, 1) == shown(rows[::-1], 1) and len(shown(rows, 1)) == 4
    assert shown(rows, 1) != shown(rows, 2)
    assert shown(rows, 1) and not list(stats([], page=str(tmp_path / "none.html")))


def test_the_page_must_be_html():
    with pytest.raises(DataToolsError, match=r"ends with \.html"):
        stats([], page="page.png")
