"""JSON files: nothing in them is lost without a word, however they are cut or packed."""

from __future__ import annotations

import gzip
import json
import lzma
from datetime import date
from decimal import Decimal

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from data_tools.errors import DataToolsError
from data_tools.rows.files import read_rows, write_rows
from data_tools.rows.json_files import to_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
PACK = {".gz": gzip.compress, ".xz": lzma.compress, ".zst": zstandard.compress}


def lines(rows):
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.dictionaries(st.text(), VALUES, max_size=4), max_size=5))
@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_any_json_value_survives(tmp_path_factory, name, rows):
    path = tmp_path_factory.mktemp("json") / name
    write_rows(path, rows)
    assert list(read_rows(path)) == rows


@pytest.mark.parametrize("packed", PACK)
def test_concatenated_compressed_files_are_read_whole(tmp_path, packed):
    path = tmp_path / f"a.jsonl{packed}"
    path.write_bytes(PACK[packed](lines([{"i": 0}])) + PACK[packed](lines([{"i": 1}])))
    assert list(read_rows(path)) == [{"i": 0}, {"i": 1}]


@pytest.mark.parametrize("packed", PACK)
@pytest.mark.parametrize("share", [0.3, 0.7, 0.99])
def test_a_torn_compressed_file_is_an_error(tmp_path, packed, share):
    path = tmp_path / f"a.jsonl{packed}"
    data = PACK[packed](lines({"i": i, "t": str(i) * 20} for i in range(3000)))
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DataToolsError, match="torn"):
        list(read_rows(path))


def test_a_zstandard_file_cut_between_two_lines_is_an_error(tmp_path):
    writer = zstandard.ZstdCompressor().compressobj()
    first = writer.compress(lines([{"i": 0}])) + writer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    (tmp_path / "a.jsonl.zst").write_bytes(first)
    with pytest.raises(DataToolsError, match="torn"):
        list(read_rows(tmp_path / "a.jsonl.zst"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"a": 1}, {"a": 2}', "torn"),
        ('[{"a": 1}, {"a": ', "row 2: not valid JSON"),
        ('[{"a": 1}][{"a": 2}]', "more text behind"),
        ('[{"a": 1}, 7]', "row 2: expected an object, found a number"),
        ('[{"a": 1}, {a: 2}]', "row 2: not valid JSON"),
    ],
)
def test_broken_arrays_are_errors_with_a_place(tmp_path, content, message):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(DataToolsError, match=message):
        list(read_rows(tmp_path / "a.json"))


def test_a_json_file_of_lines_is_read_as_lines(tmp_path):
    (tmp_path / "a.json").write_text('{"a": 1}\n{"a": 2}\n')
    assert [row["a"] for row in read_rows(tmp_path / "a.json")] == [1, 2]


def test_array_elements_across_chunk_borders_are_whole(tmp_path):
    rows = [{"t": "x" * 700_000, "n": 1234567}, {"t": 'a"]}, {', "n": 7}] * 3  # a chunk is 1 MiB
    (tmp_path / "a.json").write_text(json.dumps(rows, indent=1))
    assert list(read_rows(tmp_path / "a.json")) == rows


def test_windows_files_with_a_byte_order_mark_are_read(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n{"a": 2}\r\n')
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf[{"a": 1}]')
    assert [row["a"] for row in read_rows(tmp_path / "a.jsonl")] == [1, 2]
    assert [row["a"] for row in read_rows(tmp_path / "a.json")] == [1]


def test_json_has_null_for_nan_and_no_infinity():
    assert to_json({"a": [float("nan"), 1.0]}) == '{"a": [null, 1.0]}'
    with pytest.raises(DataToolsError, match="infinite"):
        to_json({"id": "q", "a": float("inf")})


def test_values_of_tables_become_text_and_others_are_refused():
    assert to_json({"d": date(2025, 3, 1), "x": Decimal("0.10")}) == '{"d": "2025-03-01", "x": "0.10"}'
    assert json.loads(to_json({"t": "\ud800"})) == {"t": "\ud800"}
    with pytest.raises(DataToolsError, match="cannot be written as JSON"):
        to_json({"f": len})
