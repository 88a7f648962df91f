"""From file to file: kept rows, dropped rows with reasons, a report; the same with any number of workers."""

from __future__ import annotations

import json

import pytest

from data_tools.engine.execution import Execution, executing, per_row
from data_tools.engine.run_tool import run_tool
from data_tools.errors import DataToolsError
from data_tools.rows.files import read_rows, write_rows
from tests.data_tools.sample_tools import check_short, keep_short
from tests.shared import killed_before_the_rename

SHORT = "tests.data_tools.sample_tools:keep_short"
FIRST = "tests.data_tools.sample_tools:keep_first_of_each"


@pytest.fixture
def questions(tmp_path):
    path = tmp_path / "in.jsonl"
    write_rows(path, [{"question": "x" * (n % 9), "n": n} for n in range(700)])
    return path


def test_a_run_writes_rows_dropped_rows_and_report(tmp_path, questions):
    report = run_tool(SHORT, questions, tmp_path / "out.jsonl", {"max_chars": 4})
    kept = list(read_rows(tmp_path / "out.jsonl"))
    dropped = list(read_rows(tmp_path / "out.jsonl.dropped.jsonl"))
    assert [row["chars"] for row in kept] == [n % 9 for n in range(700) if n % 9 <= 4]
    assert {item["reason"] for item in dropped} == {"too_long"}
    assert [item["row"]["n"] for item in dropped] == [n for n in range(700) if n % 9 > 4]
    written = json.loads((tmp_path / "out.jsonl.report.json").read_text())
    assert written["rows_in"] == 700 == written["kept"] + written["dropped"]["too_long"]
    assert written["options"] == {"max_chars": 4} and written["kept"] == report.kept == len(kept)
    assert "seconds" not in written
    assert str(report).startswith(f"{SHORT}: 700 in = {len(kept)} kept + {len(dropped)} too_long (")


def test_a_run_killed_before_its_report_leaves_the_old_report(tmp_path, questions):
    out = tmp_path / "out.jsonl"
    run_tool(SHORT, questions, out, {"max_chars": 4})
    report = tmp_path / "out.jsonl.report.json"
    before = report.read_bytes()
    code = f"from data_tools.engine.run_tool import run_tool; run_tool({SHORT!r}, {str(questions)!r}, {str(out)!r})"
    killed_before_the_rename(report, code)
    assert report.read_bytes() == before


def test_match_and_summary_reach_the_files(tmp_path, questions):
    run_tool(FIRST, questions, tmp_path / "out.jsonl")
    item = next(read_rows(tmp_path / "out.jsonl.dropped.jsonl"))
    assert item["match"]["n"] == 0 and item["row"]["n"] == 9
    assert json.loads((tmp_path / "out.jsonl.report.json").read_text())["summary"] == {"distinct": 9}


def test_workers_change_nothing_but_time(tmp_path, questions):
    for workers in (1, 2):
        run_tool(SHORT, questions, tmp_path / f"{workers}" / "out.jsonl", workers=workers)
    for name in ("out.jsonl", "out.jsonl.dropped.jsonl"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_a_file_can_be_replaced_by_its_own_result(tmp_path, questions):
    run_tool(SHORT, questions, questions, {"max_chars": 2})
    assert {row["chars"] for row in read_rows(questions)} == {0, 1, 2}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_row_that_a_tool_cannot_read_stops_with_its_place_or_is_dropped(tmp_path, workers):
    path, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    path.write_text('{"problem": "ok"}\n{"problem": 7}\nnot json\n{"problem": "raise"}\n')
    with pytest.raises(DataToolsError, match=r"in\.jsonl row 2: column `problem` must be text"):
        run_tool(SHORT, path, out, workers=workers)
    assert not out.exists() and not (tmp_path / "out.jsonl.report.json").exists()
    report = run_tool(SHORT, path, out, workers=workers, on_error="skip")
    assert (report.rows_in, report.kept, report.dropped) == (4, 1, {"malformed": 3})
    places = [item["match"] for item in read_rows(tmp_path / "out.jsonl.dropped.jsonl")]
    assert sum("in.jsonl row 2" in place for place in places) == 1
    assert sum("in.jsonl row 3" in place for place in places) == 1
    assert sum("row 4: this problem raises" in place for place in places) == 1


def test_named_columns_are_used(tmp_path):
    write_rows(tmp_path / "in.jsonl", [{"text": "abc", "problem": "not this one"}])
    run_tool(SHORT, tmp_path / "in.jsonl", tmp_path / "out.jsonl", columns={"problem": "text"})
    assert next(read_rows(tmp_path / "out.jsonl"))["chars"] == 3


def test_unknown_tools_and_options_are_named_before_reading(tmp_path):
    with pytest.raises(DataToolsError, match="Did you mean balance"):
        run_tool("balanse", tmp_path / "none.jsonl", tmp_path / "out.jsonl")
    with pytest.raises(DataToolsError, match="Did you mean max_chars"):
        run_tool(SHORT, tmp_path / "none.jsonl", tmp_path / "out.jsonl", {"max_char": 3})


def test_execution_ends_with_its_block():
    with executing(Execution(on_error="skip")):
        (dropped,) = per_row(check_short, [{"id": "q"}], max_chars=1)
        assert dropped.reason == "malformed"
    with pytest.raises(DataToolsError, match="row 'q': no column `problem`"):
        list(keep_short([{"id": "q"}]))
