import json

from light_r1.run_dir.files import append_line, write_json
from tests.shared import killed_before_the_rename


def test_a_killed_writer_leaves_the_old_content(tmp_path):
    file = tmp_path / "x.json"
    write_json(file, {"old": 1})
    killed_before_the_rename(
        file, f"from light_r1.run_dir.files import write_json; write_json({str(file)!r}, {{'new': 2}})"
    )
    assert json.loads(file.read_text()) == {"old": 1}


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
