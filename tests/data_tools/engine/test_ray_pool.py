"""On Ray a tool writes the same files as without it."""

from __future__ import annotations

import sys

import pytest

from data_tools.engine.execution import Execution, executing, map_in_chunks
from data_tools.engine.run_tool import run_tool
from data_tools.errors import DataToolsError
from data_tools.rows.files import write_rows

SHORT = "tests.data_tools.sample_tools:keep_short"


@pytest.fixture
def ray():
    module = pytest.importorskip("ray", reason="needs the extra ray")
    yield module
    module.shutdown()


@pytest.mark.slow  # starting Ray takes seconds and a gigabyte
def test_ray_changes_nothing_in_the_files(tmp_path, ray):
    rows = [{"problem": "x" * (n % 9), "n": n, "odd": [n, "mixed"] if n % 2 else None} for n in range(700)]
    write_rows(tmp_path / "in.jsonl", [*rows, {"problem": 7}])
    for engine in ("local", "ray"):
        run_tool(SHORT, tmp_path / "in.jsonl", tmp_path / engine / "out.jsonl", engine=engine, on_error="skip")
    for name in ("out.jsonl", "out.jsonl.dropped.jsonl"):
        assert (tmp_path / "local" / name).read_bytes() == (tmp_path / "ray" / name).read_bytes()
    with pytest.raises(DataToolsError, match=r"in\.jsonl row 701: column `problem` must be text"):
        run_tool(SHORT, tmp_path / "in.jsonl", tmp_path / "out.jsonl", engine="ray", workers=2)
    with executing(Execution(engine="ray")):
        assert list(map_in_chunks(sorted, [3, 1, 2, 0], chunk=2)) == [1, 3, 0, 2]


def test_without_ray_the_engine_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with executing(Execution(engine="ray")), pytest.raises(DataToolsError, match=r"pip install 'light-r1\[ray\]'"):
        list(map_in_chunks(sorted, [1], chunk=1))


@pytest.mark.parametrize("workers", [1, 2])
def test_chunks_are_the_same_without_ray(workers):
    with executing(Execution(workers=workers)):
        assert list(map_in_chunks(sorted, [3, 1, 2, 0, 9], chunk=2)) == [1, 3, 0, 2, 9]
