from __future__ import annotations

import pytest

from light_r1.errors import DataError
from light_r1.recipe.read import load_recipe
from light_r1.recipe.spec import SourceSpec
from light_r1.stages.evaluate import _answer, _check, _samples, evaluate_settings, score_benchmark


def record(question, index, text, correct):
    return {
        "prompt_id": question,
        "sample_index": index,
        "text": text,
        "correct": correct,
        "finished": True,
        "n_tokens": 4,
        "completion_ids": [1, 2, 3, 4],
    }


QUESTIONS = [
    {"problem": "1+1?", "answer": "2", "difficulty": 1},
    {"problem": "2+2?", "answer": "4", "difficulty": 2},
]
RECORDS = [
    [record("a", 0, r"<think>so</think> \boxed{2}", True), record("a", 1, r"<think>so</think> \boxed{ 2 }", True)],
    [record("b", 0, r"<think>so</think> \boxed{5}", False), record("b", 1, r"<think>\boxed{4}", None)],
]


def test_scores_of_judged_samples():
    found = score_benchmark(QUESTIONS, RECORDS, [1, 2])
    assert found["avg@2"] == 0.5
    assert found["cons@2"] == 0.5
    assert found["unjudged"] == 0.25
    assert found["by_question"] == {"a": 1.0, "b": 0.0}
    assert found["by_difficulty"] == {"1": 1.0, "2": 0.0}


def test_difficulties_are_in_the_order_of_their_numbers():
    for names in ([10, 9, 2.5], ["10", "9", "2.5"], ["hard", "easy", "7"]):
        rows = [{"problem": "?", "answer": "2", "difficulty": name} for name in names]
        found = score_benchmark(rows, [RECORDS[0]] * 3, [1])["by_difficulty"]
        assert list(found) == [str(name) for name in reversed(names)]


def test_an_answer_inside_an_unfinished_thought_wins_no_vote():
    assert _answer(r"<think>\boxed{4}") is None
    assert _answer(r"<think>\boxed{4}</think> so \boxed{ 5 }") == _answer(r"\boxed{5}") is not None


def test_kept_samples_show_the_question_but_no_token_ids():
    kept = _samples("easy", QUESTIONS, RECORDS)
    assert [(s["benchmark"], s["problem"], s["sample_index"]) for s in kept] == [
        ("easy", "1+1?", 0),
        ("easy", "1+1?", 1),
        ("easy", "2+2?", 0),
        ("easy", "2+2?", 1),
    ]
    assert all("completion_ids" not in sample for sample in kept)


def test_args_of_the_stage_go_over_the_block(tmp_path):
    file = tmp_path / "r.yaml"
    file.write_text(
        "name: r\nmodel: {name_or_path: x}\n"
        "evaluate: {benchmarks: {b: {path: b.jsonl}}, n: 8, temperature: 0.5, k: [1, 8]}\n"
        "stages: [{name: e, type: evaluate, from: model, args: {n: 16, k: [1, 16]}}]\n"
    )
    recipe = load_recipe(file)
    found = evaluate_settings(recipe, recipe.stage("e"))
    assert (found.n, found.k, found.temperature, found.top_p) == (16, (1, 16), 0.5, 0.95)
    assert list(found.benchmarks) == ["b"]


def test_a_benchmark_without_rows_or_answers_is_told():
    with pytest.raises(DataError, match=r"evaluate.benchmarks.b: no rows"):
        _check("b", SourceSpec(), [])
    with pytest.raises(DataError, match=r"b row 1: no answer; the columns are answer, problem"):
        _check("b", SourceSpec(), [{"problem": "p", "answer": "1"}, {"problem": "p", "answer": ""}])
