"""Parquet and saved datasets: no column lost, no type guessed, readable by the libraries that own the formats."""

from __future__ import annotations

import datasets
import pyarrow.parquet as pq
import pytest

from data_tools.errors import DataToolsError
from data_tools.rows.files import count_rows, read_rows, write_rows


def test_a_column_of_late_rows_is_kept(tmp_path):
    rows = [{"a": 1}] * 1500 + [{"a": 2.5, "late": ["x"]}]
    write_rows(tmp_path / "a.parquet", rows)
    found = list(read_rows(tmp_path / "a.parquet"))
    assert len(found) == 1501
    assert found[-1] == {"a": 2.5, "late": ["x"]} and found[0] == {"a": 1.0, "late": None}
    assert pq.read_table(tmp_path / "a.parquet").column_names == ["a", "late"]


def test_a_saved_dataset_is_what_datasets_writes_and_reads(tmp_path):
    rows = [{"p": "x", "m": [{"role": "user", "content": "y"}]}, {"p": "z", "m": []}]
    write_rows(tmp_path / "ours", rows)
    assert datasets.load_from_disk(str(tmp_path / "ours")).to_list() == rows
    datasets.Dataset.from_list(rows).save_to_disk(str(tmp_path / "theirs"), num_shards=2)
    assert [dict(row) for row in read_rows(tmp_path / "theirs")] == rows


def test_splits_must_be_named(tmp_path):
    split = datasets.Dataset.from_list([{"a": 1}])
    datasets.DatasetDict({"train": split, "test": split}).save_to_disk(str(tmp_path / "both"))
    with pytest.raises(DataToolsError, match=r"several splits.*both/train"):
        list(read_rows(tmp_path / "both"))
    assert list(read_rows(tmp_path / "both" / "test")) == [{"a": 1}]


@pytest.mark.parametrize("name", ["a.parquet", "a"])
def test_a_column_without_one_type_is_refused_by_name(tmp_path, name):
    with pytest.raises(DataToolsError, match=r"column `answer` has no single type \(int, str"):
        write_rows(tmp_path / name, [{"answer": 1}, {"answer": "x"}])
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_no_tables_are_refused(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 but no more")
    with pytest.raises(DataToolsError, match="not a readable Parquet file"):
        list(read_rows(tmp_path / "a.parquet"))
    with pytest.raises(DataToolsError, match="not a readable Parquet file"):
        count_rows(tmp_path / "a.parquet")
    write_rows(tmp_path / "set", [{"a": 1}])
    shard = tmp_path / "set" / "data-00000-of-00001.arrow"
    shard.write_bytes(shard.read_bytes()[:20])
    with pytest.raises(DataToolsError, match="not a readable dataset"):
        list(read_rows(tmp_path / "set"))
    for name, content, kind in (("state", "{", "shards"), ("state", "{}", "shards"), ("dataset_dict", "[", "splits")):
        (tmp_path / "set" / f"{name}.json").write_text(content)
        with pytest.raises(DataToolsError, match=rf"{name}\.json: not a readable list of {kind}"):
            list(read_rows(tmp_path / "set"))
