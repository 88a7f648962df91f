"""The store holds each sample once, survives a kill at any byte, and is read in order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_tools.errors import DataToolsError
from data_tools.rollouts.store import RolloutStore, prompt_id, read_rollouts, rollout_key


def sample(prompt, index, **more):
    return {"prompt_id": prompt, "sample_index": index, "completion": f"é {prompt}{index}\n", **more}


def test_a_prompt_id_depends_on_the_problem_text_alone():
    assert prompt_id({"problem": " 1+1 \n"}) == prompt_id({"id": 7, "problem": "1+1"})
    assert prompt_id({"problem": "1+1"}) != prompt_id({"problem": "1+2"})
    assert len(prompt_id({"problem": "\ud800"})) == 16


def test_nothing_is_stored_twice(tmp_path):
    store = RolloutStore(tmp_path / "deep" / "r.jsonl")
    assert store.append([sample("a", 0), sample("a", 0), sample("a", 1)]) == 2
    assert store.append([sample("a", 0, model="m"), sample("a", 1)]) == 1
    again = RolloutStore(store.path)
    assert again.append([sample("a", 1)]) == 0 and len(again) == 3
    assert again.done() == {("a", 0), ("a", 1)} and again.done(model="m") == {("a", 0)}


@given(cut=st.integers(0, 400))
def test_a_kill_at_any_byte_costs_at_most_the_torn_line(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("store") / "r.jsonl"
    records = [sample("a", i) for i in range(4)]
    RolloutStore(path).append(records)
    data = path.read_bytes()
    path.write_bytes(data[: min(cut, len(data))])
    whole = [line for line in data[: min(cut, len(data))].splitlines() if line.endswith(b"}")]
    assert list(read_rollouts(path)) == records[: len(whole)]
    store = RolloutStore(path)
    assert len(store) == len(whole)
    assert store.append(records) == 4 - len(whole)
    assert list(store.read()) == records
    assert RolloutStore(path).torn_bytes == 0


def test_long_torn_lines_are_cut_whole(tmp_path):
    path = tmp_path / "r.jsonl"
    RolloutStore(path).append([sample("a", 0)])
    size = path.stat().st_size
    with path.open("ab") as file:
        file.write(b'{"prompt_id": "' + b"x" * 200_000)
    store = RolloutStore(path)
    assert path.stat().st_size == size and store.torn_bytes == 200_015 and len(store) == 1


def test_a_broken_line_in_the_middle_is_an_error(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text('{"prompt_id": "a", "sample_index": 0}\n{"other": 1}\n{"prompt_id": "a", "sample_index": 1}\n')
    with pytest.raises(DataToolsError, match=r"r\.jsonl row 2: not a rollout"):
        RolloutStore(path)
    with pytest.raises(DataToolsError, match="no such file"):
        list(read_rollouts(tmp_path / "none.jsonl"))


def test_a_rollout_needs_its_key():
    with pytest.raises(DataToolsError, match="needs sample_index; it has prompt_id"):
        rollout_key({"prompt_id": "a"})
