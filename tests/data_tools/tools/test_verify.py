"""The `verify` tool on single predictions, lists of them, and rows it cannot read."""

from __future__ import annotations

import json

import pytest

from data_tools.engine.run_tool import run_tool
from data_tools.errors import DataToolsError
from data_tools.rows.row import Dropped
from data_tools.tools.verify import verify_rows


def test_a_row_gets_its_verdict():
    row = {"prediction": "so \\boxed{1/2}", "answer": "0.5", "id": 7}
    [judged] = verify_rows([row])
    assert judged == {**row, "correct": True, "outcome": "right", "reason": "same number"}


def test_predictions_in_a_list_are_judged_one_by_one():
    [judged] = verify_rows([{"responses": ["1", "2", "2"], "answer": 2}], prediction="responses")
    assert judged["correct"] == [False, True, True]
    assert judged["pass_rate"] == pytest.approx(2 / 3)


def test_keep_drops_by_outcome():
    rows = [{"prediction": p, "answer": "5"} for p in ("5", "6", "")]
    found = list(verify_rows(rows, keep=["right"]))
    assert [f.reason if isinstance(f, Dropped) else f["outcome"] for f in found] == ["right", "wrong", "unparsable"]


def test_a_missing_or_odd_column_is_an_error_with_its_name():
    with pytest.raises(DataToolsError, match="prediction"):
        list(verify_rows([{"answer": "5"}]))
    with pytest.raises(DataToolsError, match="'answer' holds dict"):
        list(verify_rows([{"prediction": "5", "answer": {}}]))


def test_the_command_writes_rows_and_report(tmp_path):
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(json.dumps({"prediction": str(n), "answer": "3"}) + "\n" for n in range(5)))
    report = run_tool("verify", source, out, {"keep": ["right"]})
    assert (report.rows_in, report.kept, report.dropped) == (5, 1, {"wrong": 4})
    assert json.loads(out.read_text())["prediction"] == "3"
