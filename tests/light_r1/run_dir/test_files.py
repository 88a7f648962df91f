import json
import os
import signal
import subprocess
import sys

from light_r1.run_dir.files import append_line, write_json, write_whole


def test_write_whole_replaces_and_leaves_no_temporary_file(tmp_path):
    file = tmp_path / "new" / "x.txt"
    write_whole(file, "one")
    write_whole(file, "zwei ∑")
    assert file.read_text(encoding="utf-8") == "zwei ∑"
    assert [path.name for path in file.parent.iterdir()] == ["x.txt"]


def test_killed_writer_leaves_the_old_content(tmp_path):
    file = tmp_path / "x.json"
    write_json(file, {"old": 1})
    # The process dies where the new content is complete but not yet under its name.
    code = (
        "import os, signal, sys; from light_r1.run_dir import files as atomic;"
        "os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL);"
        "atomic.write_json(sys.argv[1], {'new': 2})"
    )
    died = subprocess.run([sys.executable, "-c", code, str(file)], check=False)
    assert died.returncode == -signal.SIGKILL
    assert json.loads(file.read_text()) == {"old": 1}


def test_write_whole_removes_its_temporary_file_after_an_error(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("full")

    monkeypatch.setattr(os, "replace", refuse)
    try:
        write_whole(tmp_path / "x", "text")
    except OSError:
        assert list(tmp_path.iterdir()) == []
    else:
        raise AssertionError("the error was swallowed")


def test_append_line_ends_a_line_that_was_cut_off(tmp_path):
    file = tmp_path / "metrics.jsonl"
    append_line(file, {"step": 1})
    with file.open("a") as stream:
        stream.write('{"step": 2, "lo')
    append_line(file, {"step": 2})
    append_line(file, {"step": 3})
    lines = file.read_text().splitlines()
    assert [json.loads(line) for line in (lines[0], lines[2], lines[3])] == [
        {"step": 1},
        {"step": 2},
        {"step": 3},
    ]
    assert lines[1] == '{"step": 2, "lo'
