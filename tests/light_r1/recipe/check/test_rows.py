from __future__ import annotations

import json
import sys

import pytest

from data_tools.answers.verify import verify
from data_tools.rows.row import Dropped
from data_tools.tools.gradable import gradable
from light_r1.run.check import inspect

THOUGHT = "<think>1 + 1 is 2</think>The answer is \\boxed{2}."
ROW = {"problem": "What is 1 + 1?", "answer": "2", "solution": THOUGHT}

STAGES = {
    "sft": "{name: s, type: sft, data: x, args: {max_length: 100%s}}",
    "dpo": "{name: s, type: dpo, data: x, args: {max_length: 999}, sample: {n: 2, max_tokens: 9, temperature: 1.0}%s}",
    "pairs": "{name: s, type: dpo, data: x, args: {max_length: 100}%s}",
    "grpo": "{name: s, type: grpo, data: x, args: {num_generations: 2}, rewards: [accuracy]%s}",
    "data": "{name: s, type: data, data: x, steps: [{tool: difficulty}]%s}",
}


@pytest.fixture
def check(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def checked(stage: str, rows: list[dict], more: str = "", source: str = "path: x.jsonl", chat: str = "{}"):
        (tmp_path / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (tmp_path / "r.yaml").write_text(
            f"model: {{name_or_path: a/b}}\nchat: {chat}\ndata:\n  x: {{{source}}}\n"
            f"stages:\n  - {STAGES[stage] % more}\n"
        )
        found = inspect("r.yaml")
        return [str(problem) for problem in found.problems], found.notes

    return checked


@pytest.mark.parametrize(
    ("stage", "rows"),
    [
        ("sft", [ROW] * 3),
        ("sft", [{**ROW, "solution": "a forced opening tag is not in the row</think>2"}]),
        ("sft", [{"text": "anything"}]),
        ("sft", [{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": THOUGHT}]}]),
        ("sft", [{"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": THOUGHT}]}]),
        ("dpo", [ROW]),
        ("pairs", [{"problem": "q", "chosen": "a", "rejected": "b"}]),
        ("pairs", [{**ROW, "responses": [{"text": "a", "correct": False}]}]),
        ("grpo", [{"problem": "q", "answer": "2"}]),
        ("grpo", [{"question": "q", "final_answer": 2}]),
        ("data", [{"problem": "q", "pass_rate": 0.5}]),
    ],
)
def test_rows_that_a_stage_can_use_raise_no_alarm(check, stage, rows):
    assert check(stage, rows)[0] == []


@pytest.mark.parametrize(
    ("stage", "rows", "says"),
    [
        ("sft", [{"problem": "q"}], "no column solution, which stage s needs"),
        ("sft", [{"problem": "q", "solutions": "a"}], "Did you mean solutions?"),
        ("sft", [ROW, {**ROW, "solution": ""}], "x.jsonl row 2: solution is empty"),
        (
            "sft",
            [ROW] * 3 + [{**ROW, "solution": "<think>a<think>b</think>c"}],
            "x.jsonl row 4: solution has the fault",
        ),
        ("sft", [{**ROW, "solution": "no thought"}] * 5, "5 of the first 5 rows have no <think> thought"),
        ("sft", [{"messages": [{"role": "user", "content": "q"}] * 3}], "must end with an assistant turn"),
        ("sft", [{"messages": [{"role": "wizard", "content": "q"}]}], "unknown role 'wizard'"),
        ("sft", [], "has no rows"),
        ("dpo", [{"problem": "q", "answer": "2"}], "no column solution"),
        ("dpo", [{"problem": "q", "solution": "s"}], "no column answer"),
        ("pairs", [{"problem": "q", "answer": "2"}], "there are neither responses nor chosen and rejected"),
        ("pairs", [{"problem": "q", "chosen": "a", "rejected": "a"}], "chosen and rejected are the same"),
        ("pairs", [{"problem": "q", "chosen": "a"}], "no column rejected"),
        ("pairs", [{**ROW, "responses": [{"text": "a"}]}], "responses must be a list of items with text and correct"),
        ("pairs", [{**ROW, "responses": "a"}], "responses must be a list"),
        ("pairs", [{"problem": "q", "solution": "s", "responses": []}], "no column answer"),
        ("grpo", [{"problem": "q"}], "no column answer"),
        ("grpo", [{"problem": "q", "answer": "9^{9^{9^{9}}}"}], "cannot be graded"),
        ("grpo", [{"problem": "q", "answer": "2"}] * 4 + [{"problem": "q", "answer": ""}], "row 5"),
    ],
)
def test_rows_that_a_stage_cannot_use_are_named(check, stage, rows, says):
    problems, _ = check(stage, rows)
    assert any(says in problem and problem.startswith("r.yaml:4: ") for problem in problems), problems


def test_a_few_traces_without_a_thought_are_a_note_not_a_fault(check):
    problems, notes = check("sft", [ROW] * 40 + [{**ROW, "solution": "no thought"}])
    assert problems == []
    assert any("1 of the first 41 rows have no <think> thought" in note for note in notes)


def test_missing_thoughts_are_what_the_stage_says(check):
    rows = [{**ROW, "solution": "no thought"}] * 5
    assert check("sft", rows, ", missing_think: keep")[0] == []
    assert check("sft", rows, chat="{think_tokens: []}")[0] == []
    assert "takes none" in check("sft", [*[ROW] * 30, rows[0]], ", missing_think: error")[0][0]


def test_other_think_tokens_are_looked_for(check):
    rows = [{**ROW, "solution": "<t>thought</t>answer"}]
    assert check("sft", rows, chat='{think_tokens: ["<t>", "</t>"]}')[0] == []
    assert check("sft", rows)[0]


def test_an_order_by_difficulty_needs_the_column(check):
    problems, _ = check("sft", [ROW], ", order: by_difficulty")
    assert any("no column difficulty" in problem for problem in problems)
    assert check("sft", [{**ROW, "difficulty": 3}], ", order: by_difficulty")[0] == []


def test_only_the_first_fifty_rows_are_read(check):
    assert check("grpo", [{"problem": "q", "answer": "2"}] * 50 + [{"problem": "", "answer": ""}])[0] == []


def test_columns_are_mapped_before_they_are_looked_at(check):
    rows = [{"q": "What?", "a": "2"}]
    assert check("grpo", rows, source="path: x.jsonl, columns: {problem: q, answer: a}")[0] == []
    problems, _ = check("grpo", rows, source="path: x.jsonl, columns: {problem: qq, answer: a}")
    assert any("Did you mean `q`" in problem for problem in problems)


def test_files_of_steps_are_looked_up(check, tmp_path, monkeypatch):
    monkeypatch.setitem(STAGES, "data", STAGES["data"].replace("difficulty", "difficulty, rollouts: r.jsonl"))
    rows = [{"problem": "q", "pass_rate": 0.5}]
    assert any("r.yaml:6: s.steps.0.rollouts: no file r.jsonl" in text for text in check("data", rows)[0])
    (tmp_path / "r.jsonl").write_text("")
    assert check("data", rows)[0] == []


def test_a_generator_that_fails_is_named(check):
    problems, _ = check(
        "grpo", [], source='generator: "light_r1.tiny:problems", options: {n: 3, sed: 1, max_steps: 2}'
    )
    assert any("Did you mean seed?" in problem for problem in problems)


BROKEN = """def rows(*, n: int = 3):
    for i in range(n):
        yield {"problem": str(i), "answer": str(1 / (1 - i))}
"""


@pytest.mark.parametrize(
    ("generator", "says"),
    [
        (
            "broken_rows:rows",
            "data.x: broken_rows:rows failed in broken_rows.py:3: ZeroDivisionError: division by zero",
        ),
        ("broken_rows:row", "data.x.generator: broken_rows:row cannot be found"),
        ("borken_rows:rows", "data.x.generator: borken_rows:rows cannot be found: no module named borken_rows"),
    ],
)
def test_a_generator_that_fails_is_one_problem_with_its_line(tmp_path, monkeypatch, generator, says):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "broken_rows", raising=False)
    (tmp_path / "broken_rows.py").write_text(BROKEN)
    (tmp_path / "r.yaml").write_text(
        f"data:\n  x: {{generator: '{generator}'}}\n"
        "stages: [{name: c, type: data, data: x, steps: [{tool: dedup}]}]\n"
    )
    (problem,) = inspect("r.yaml").problems
    assert str(problem).startswith(f"r.yaml:2: {says}"), problem


@pytest.mark.parametrize(
    ("gold", "equal", "can"),
    [
        ("2^{2^{2^{2}}}", "65536", True),
        ("the number of ways is 5", "5", False),
        ("9^{9^{9^{9}}}", "9^{9^{387420489}}", False),
        ("Tuesday", "\\text{tuesday}", True),
        ("\\frac{1}{2", "0.5", False),
    ],
)
def test_check_tool_and_verifier_say_the_same_of_a_gold_answer(check, gold, equal, can):
    (row,) = gradable([{"problem": "q", "answer": gold}], allow_text=True)
    assert (check("grpo", [{"problem": "q", "answer": gold}])[0] == []) == can
    assert isinstance(row, Dropped) != can
    assert verify(equal, gold).correct == can
