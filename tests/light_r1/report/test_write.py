from __future__ import annotations

import re
import shutil

import pytest

from light_r1.errors import RunDirError
from light_r1.report.blocks import Table, Verbatim, markdown, page
from light_r1.report.summary import chosen_questions, first_samples, read_run
from light_r1.report.write import table_text, write_report
from tests.light_r1.run_folders import RATES, evaluate, finish, spec, whole_run, write_run


@pytest.fixture
def root(tmp_path):
    return whole_run(tmp_path / "toy")


def cells(text: str, stage: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(f"| {stage} "))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_stage_table_has_scores_errors_and_paired_changes(root):
    text = table_text(root)
    # sft: 0, 1/2, 1 by its questions; the samples say 0, 1/2, 1 too. dpo: +1/2, +1/2, 0.
    assert cells(text, "sft") == ["sft", "9 of 10", "3", "1,234", "1 min 01 s", "50.0 ± 28.9", "", "50.0%", "15"]
    assert cells(text, "dpo")[6] == "+33.3 ± 16.7"
    assert cells(text, "filter")[1] == "2 of 6"
    assert cells(text, "dpo")[1] == "5 pairs from 2"
    assert "sft.evaluate" not in text


def test_report_compares_a_merge_with_all_its_inputs(root):
    write_report(root)
    text = (root / "report.md").read_text()
    rows = [re.split(r"\s*\|\s*", line)[1:4] for line in text.splitlines() if line.startswith("| merge ")]
    assert ["merge", "sft", "+16.7 ± 16.7"] in rows
    assert ["merge", "dpo", "-16.7 ± 16.7"] in rows


def test_funnel_shows_each_step_with_its_reasons(root):
    write_report(root)
    text = (root / "report.md").read_text()
    assert cells(text, "filter: difficulty") == ["filter: difficulty", "6", "3 rows", "3 too_easy"]
    assert cells(text, "filter: dedup") == ["filter: dedup", "3", "2 rows", "1 same"]


def test_html_page_needs_no_other_file(root):
    write_report(root)
    text = (root / "report.html").read_text()
    pictures = list((root / "plots").glob("*.png"))
    assert text.count('src="data:image/png;base64,') == len(pictures) > 8
    assert not re.search(r'(src|href)="(?!data:)', text)
    assert "What is &lt;a&gt;?" in text, "problems are not escaped"
    linked = re.findall(r"!\[.*?\]\((.*?)\)", (root / "report.md").read_text())
    assert sorted(linked) == sorted(f"plots/{picture.name}" for picture in pictures)


def test_every_scored_stage_shows_its_answer_to_the_same_three_questions(root):
    write_report(root)
    text = (root / "report.md").read_text()
    for stage in ("sft", "dpo", "merge", "grpo"):
        for question in RATES:
            assert f"{stage}.evaluate thinks ``` {question} 0" in text
            assert f"{stage}.evaluate thinks ``` {question} 1" not in text
    assert "wrong, 10 tokens" in text
    assert "right, 10 tokens" in text


def test_fences_are_longer_than_those_in_the_text(tmp_path):
    text = markdown([Verbatim("c", "a ```` b")], tmp_path)
    assert text == "c\n\n`````\na ```` b\n`````\n"


def test_pipes_do_not_split_cells_and_markup_is_escaped(tmp_path):
    table = Table(["x"], [["a|b <i>"]])
    assert "| a\\|b <i> |" in markdown([table], tmp_path)
    assert "<td>a|b &lt;i&gt;</td>" in page("t", [table])


ORDER = ["sft", "sft.evaluate", "filter", "dpo", "dpo.evaluate", "merge", "merge.evaluate", "grpo", "grpo.evaluate"]


@pytest.mark.parametrize("done", range(len(ORDER)))
def test_report_of_a_run_cut_off_anywhere(root, done):
    for name in ORDER[done:]:
        (root / name / "manifest.json").unlink()
    if done < 5:
        shutil.rmtree(root / "merge")
    write_report(root)
    text = table_text(root)
    for name in ("sft", "filter", "dpo", "merge", "grpo"):
        assert ("not done" in cells(text, name)) == (ORDER.index(name) >= done)
    assert (root / "report.html").stat().st_size > 0


def test_a_run_that_has_done_nothing_has_a_report(tmp_path):
    write_report(write_run(tmp_path / "new", [spec("sft", "sft")], start="some/model"))
    assert "0 of 1 stages done from some/model" in (tmp_path / "new/report.md").read_text()


def test_no_run_folder_is_told(tmp_path):
    with pytest.raises(RunDirError, match="is not a run folder"):
        write_report(tmp_path)


def test_scores_of_the_start_are_what_the_first_stage_is_held_against(tmp_path):
    specs = [spec("before", "evaluate"), spec("sft", "sft"), spec("sft.evaluate", "evaluate", ("sft",))]
    root = write_run(tmp_path / "toy", specs, start="some/model")
    finish(root, "sft", "sft")
    evaluate(root, "before", RATES)
    evaluate(root, "sft.evaluate", {key: 1.0 for key in RATES})
    text = table_text(root)
    assert cells(text, "model")[5] == "50.0 ± 28.9"
    assert cells(text, "sft")[6] == "+50.0 ± 28.9"


def test_a_second_evaluation_has_a_row_of_its_own_and_is_no_input(root):
    recipe = [*read_run(root).recipe["stages"], spec("final", "evaluate", ("grpo",))]
    write_run(root, recipe)
    evaluate(root, "final", RATES)
    text = table_text(root)
    assert cells(text, "final")[5:7] == ["50.0 ± 28.9", ""]
    assert cells(text, "grpo")[5] == "100.0 ± 0.0"


def test_a_torn_last_line_is_left_out(root):
    sft = read_run(root).stages[0]
    assert [event["step"] for event in sft.curve] == [1, 2, 3]


def test_chosen_questions_do_not_depend_on_their_order(root):
    scores = {"by_question": {str(i): 0.0 for i in range(50)}}
    backwards = {"by_question": dict(reversed(scores["by_question"].items()))}
    assert chosen_questions(scores, 3) == chosen_questions(backwards, 3)
    assert len(set(chosen_questions(scores, 3))) == 3
    assert [s["prompt_id"] for s in first_samples(read_run(root).stages[0], "hard", ["c", "x", "a"])] == ["c", "a"]
