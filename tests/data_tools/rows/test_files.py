"""Files of rows: what goes in comes out, and what is broken is named with file and row."""

from __future__ import annotations

import os
import pickle

import pytest

from data_tools.errors import DataToolsError
from data_tools.rows.files import count_rows, file_format, open_writer, read_rows, write_rows, written_whole
from data_tools.rows.row import PlacedRow, place_of
from data_tools.rows.spool import Spool
from tests.shared import killed_before_the_rename

ROWS = [
    {"problem": "Find $x$ é\u2028", "n": 3, "rate": 0.5, "tags": ["a", "b"], "meta": {"k": "v"}},
    {"problem": "", "n": -1, "rate": 1.0, "tags": [], "meta": {"k": "w"}},
]
FILES = ["a.jsonl", "a.json", "a.ndjson", "a.parquet", "a"]
FILES += [f"a{kind}{packed}" for kind in (".jsonl", ".json") for packed in (".gz", ".xz", ".zst")]


@pytest.mark.parametrize("name", FILES)
def test_rows_survive_every_format(tmp_path, name):
    assert write_rows(tmp_path / name, iter(ROWS)) == 2
    assert [dict(row) for row in read_rows(tmp_path / name)] == ROWS
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]


@pytest.mark.parametrize("name", FILES)
def test_no_rows_is_a_readable_file(tmp_path, name):
    write_rows(tmp_path / name, [])
    assert list(read_rows(tmp_path / name)) == []


@pytest.mark.parametrize("name", FILES)
def test_equal_rows_write_equal_bytes(tmp_path, name):
    def content(folder):
        path = tmp_path / folder / name
        write_rows(path, ROWS)
        return [file.read_bytes() for file in (sorted(path.iterdir()) if path.is_dir() else [path])]

    assert content("one") == content("two")


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet", "a"])
def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, name):
    write_rows(tmp_path / name, ROWS)
    with pytest.raises(ZeroDivisionError), open_writer(tmp_path / name) as writer:
        writer.write(ROWS[0])
        raise ZeroDivisionError
    assert [dict(row) for row in read_rows(tmp_path / name)] == ROWS
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_a_killed_writer_leaves_the_old_rows(tmp_path, name):
    write_rows(tmp_path / name, ROWS)
    code = f"from data_tools.rows.files import write_rows; write_rows({str(tmp_path / name)!r}, [{{'n': 1}}])"
    killed_before_the_rename(tmp_path / name, code)
    assert [dict(row) for row in read_rows(tmp_path / name)] == ROWS


def test_a_folder_that_is_replaced_is_never_seen_in_part(tmp_path):
    write_rows(tmp_path / "a", ROWS)
    code = f"from data_tools.rows.files import write_rows; write_rows({str(tmp_path / 'a')!r}, [{{'n': 1}}])"
    killed_before_the_rename(tmp_path / "a", code)
    assert not (tmp_path / "a").exists()
    contents = [list(read_rows(folder)) for folder in tmp_path.iterdir()]
    assert sorted(contents, key=len) == [[{"n": 1}], ROWS]


def test_a_file_is_made_with_its_folders_and_replaced_without_a_trace(tmp_path):
    file = tmp_path / "new" / "folder" / "a.txt"
    for content in ("one", "zwei ∑"):
        with written_whole(file) as temporary:
            temporary.write_text(content, encoding="utf-8")
    assert file.read_text(encoding="utf-8") == "zwei ∑"
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("fails", ["block", "rename"])
def test_an_error_leaves_no_file(tmp_path, monkeypatch, fails):
    def full(*_):
        raise OSError("full")

    if fails == "rename":
        monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="full"), written_whole(tmp_path / "a.txt") as temporary:
        temporary.write_text("half of")
        if fails == "block":
            full()
    assert list(tmp_path.iterdir()) == []


def test_rows_know_their_place_also_in_another_process(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n\n{"a": 2}\n')
    second = pickle.loads(pickle.dumps(list(read_rows(tmp_path / "a.jsonl"))[1]))
    assert place_of(second) == f"{tmp_path}/a.jsonl row 3"
    assert isinstance(second, PlacedRow) and second == {"a": 2}
    assert place_of({"id": "q7"}) == "row 'q7'"


def test_a_malformed_row_stops_with_its_place_or_is_handed_over(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n{"a": \n[1]\n{"a": 2}\n')
    with pytest.raises(DataToolsError, match=r"a\.jsonl row 2: not valid JSON"):
        list(read_rows(path))
    bad = []
    assert list(read_rows(path, on_error="skip", on_malformed=bad.append)) == [{"a": 1}, {"a": 2}]
    assert [item.row["row"] for item in bad] == [2, 3]
    assert "found an array" in bad[1].match and bad[0].row["text"].startswith('{"a": ')


@pytest.mark.parametrize(
    "text", ["<!DOCTYPE html>\n<html>", "version https://git-lfs.github.com/spec/v1\noid sha256:1"]
)
def test_what_was_downloaded_instead_of_rows_is_shown(tmp_path, text):
    path = tmp_path / "a.jsonl"
    path.write_text(text)
    with pytest.raises(DataToolsError, match=f"starts with '{text[:10]}"):
        list(read_rows(path))


def test_a_skipped_row_is_logged_when_nobody_takes_it(tmp_path, caplog):
    (tmp_path / "a.jsonl").write_text("no\n")
    assert list(read_rows(tmp_path / "a.jsonl", on_error="skip")) == []
    assert "a.jsonl row 1" in caplog.text


@pytest.mark.parametrize(
    ("name", "message"),
    [("none.jsonl", "no such file"), ("a.csv", "unknown file type"), ("nosuffix", "without a suffix")],
)
def test_unreadable_paths_are_named(tmp_path, name, message):
    for existing in ("a.csv", "nosuffix"):
        (tmp_path / existing).write_text("x")
    with pytest.raises(DataToolsError, match=message):
        list(read_rows(tmp_path / name))


def test_a_folder_of_shards_is_read_in_order_of_name(tmp_path):
    write_rows(tmp_path / "b.jsonl.gz", [{"i": 2}])
    write_rows(tmp_path / "a.parquet", [{"i": 1}])
    (tmp_path / "notes.md").write_text("not data")
    assert [row["i"] for row in read_rows(tmp_path)] == [1, 2]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataToolsError, match="neither a saved dataset"):
        list(read_rows(tmp_path / "empty"))


def test_a_foreign_folder_is_never_replaced(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(DataToolsError, match="refusing to replace"):
        write_rows(tmp_path / "mine", ROWS)
    assert (tmp_path / "mine" / "thesis.tex").exists()


def test_format_and_count_come_from_the_path(tmp_path):
    assert file_format("x.JSONL.GZ") == "jsonl" and file_format("x.json.zst") == "json"
    write_rows(tmp_path / "a.parquet", ROWS)
    write_rows(tmp_path / "a.jsonl", ROWS)
    assert count_rows(tmp_path / "a.parquet") == 2
    assert count_rows(tmp_path / "a.jsonl") is None


@pytest.mark.parametrize("in_memory", [0, 1, 3, 10])
def test_a_spool_gives_back_all_rows_in_order_as_often_as_asked(in_memory):
    rows = [{"i": i, "t": "x" * i} for i in range(5)]
    with Spool(in_memory=in_memory) as spool:
        for row in rows:
            spool.add(row)
        assert list(spool) == rows
        spool.add({"i": 5})
        assert list(spool) == [*rows, {"i": 5}]


def test_a_folder_that_cannot_be_replaced_keeps_its_content(tmp_path, monkeypatch):
    folder = tmp_path / "rows"
    folder.mkdir()
    (folder / "a").write_text("old")
    replace = os.replace

    def failing(source, target):
        if str(source).endswith(".tmp"):
            raise OSError("no")
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OSError, match="no"), written_whole(folder) as temporary:
        temporary.mkdir()
        (temporary / "a").write_text("new")
    assert [(path.name, (path / "a").read_text()) for path in tmp_path.iterdir()] == [("rows", "old")]
