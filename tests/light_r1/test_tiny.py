"""The embedded curriculum: its problems are right, its split is clean, its tokenizer survives being saved."""

from __future__ import annotations

import re

import pytest
from transformers import AutoTokenizer

from data_tools.answers.verify import verify
from light_r1.errors import DataError
from light_r1.models.chat import ChatFormat
from light_r1.recipe.read import load_recipe
from light_r1.tiny import build_tokenizer, documents, drills, problems, word_merges
from tests.conftest import make_model


def solve(problem: str) -> int:
    """Solve a problem from its English alone."""
    value = int(re.search(r"Start with (\d)\.", problem)[1])
    for word, operand in re.findall(r"Step [a-z]: (add|times) (\d)\.", problem):
        value = value + int(operand) if word == "add" else value * int(operand)
    return value % 10


def shape(problem: str) -> str:
    """The numbers and operations of a problem, without letters and asides."""
    return " ".join(re.findall(r"(?:Start with|add|times) \d", problem))


def test_every_answer_is_what_the_english_says():
    for row in problems(n=400, seed=1, max_steps=8):
        assert row["answer"] == str(solve(row["problem"]))
        assert row["difficulty"] == row["problem"].count("Step ")
        assert verify(row["solution"], row["answer"]).correct


def test_every_line_of_a_thought_is_true_and_names_its_step():
    for row in problems(n=200, seed=2, max_steps=8):
        lines = row["solution"].removeprefix("<think>\n").partition("\n</think>")[0].splitlines()
        letters = re.findall(r"Step ([a-z]):", row["problem"])
        assert [line[0] for line in lines] == letters
        assert len(set(letters)) == len(letters)
        for line in lines:
            left, operation, right, result = re.fullmatch(r"[a-z]:(\d)([+*])(\d)=_(\d)", line).groups()
            value = int(left) + int(right) if operation == "+" else int(left) * int(right)
            assert value % 10 == int(result)


def test_held_out_problems_are_not_even_training_problems_with_other_letters():
    train = {shape(row["problem"]) for row in problems(n=4000, seed=3, min_steps=2, max_steps=3)}
    held_out = {shape(row["problem"]) for row in problems(n=500, seed=9, min_steps=2, max_steps=3, split="heldout")}
    assert not train & held_out


def test_asides_move_the_steps_about():
    starts = {row["problem"].index("Start with") for row in problems(n=200, seed=6, max_steps=3)}
    assert 0 in starts
    assert len(starts) > 20


def test_problems_are_distinct_seeded_and_of_every_length():
    rows = list(problems(n=600, seed=4, min_steps=2, max_steps=5))
    assert len({row["problem"] for row in rows}) == len({row["id"] for row in rows}) == 600
    assert {row["difficulty"] for row in rows} == {2, 3, 4, 5}
    assert rows == list(problems(n=600, seed=4, min_steps=2, max_steps=5))
    assert rows != list(problems(n=600, seed=5, min_steps=2, max_steps=5))


def test_short_answers_have_no_thought():
    for row in problems(n=20, seed=1, max_steps=3, style="short"):
        assert row["solution"] == f"The last digit is \\boxed{{{row['answer']}}}."


@pytest.mark.parametrize(
    "options",
    [{"max_steps": 0}, {"min_steps": 3, "max_steps": 2}, {"max_steps": 27}, {"max_steps": 3, "split": "heldout"}],
)
def test_impossible_lengths_are_refused(options):
    with pytest.raises(DataError, match="tiny problems have"):
        list(problems(n=1, seed=0, **options))


def test_documents_are_worked_problems_without_chat_or_answer():
    worked = {row["problem"]: row["solution"] for row in problems(n=50, seed=2, max_steps=3)}
    for row in documents(n=50, seed=2, max_steps=3):
        problem, _, thought = row["text"].partition("\n")
        assert worked.pop(problem).startswith(f"<think>\n{thought}\n</think>")
    assert not worked


def test_drills_are_true_sums():
    for row in drills(n=20, seed=1, sums=5):
        lines = row["text"].splitlines()
        assert len(lines) == 5
        for line in lines:
            left, operation, right, result = re.fullmatch(r"[a-z]:(\d)([+*])(\d)=_(\d)", line).groups()
            assert (int(left) + int(right) if operation == "+" else int(left) * int(right)) % 10 == int(result)


def test_every_word_digit_and_letter_is_one_token_wherever_it_stands():
    tokenizer = build_tokenizer()
    assert len(tokenizer) < 400
    for row in problems(n=300, seed=1, min_steps=4, max_steps=10):
        pieces = re.findall(r"[A-Za-z]+|\d|[^\w\s]", row["problem"])
        # A space is its own token before a letter, a digit or the first word of a sentence.
        apart = re.findall(r" (?=[a-z]:|\d|Start|Here|Take|Think|Go|The|Write|This|Good)", row["problem"])
        assert len(tokenizer(row["problem"])["input_ids"]) == len(pieces) + len(apart) + row["problem"].count(" a ")
        thought = row["solution"].partition("</think>")[0].removeprefix("<think>")
        assert len(tokenizer(thought)["input_ids"]) == 1 + 8 * row["difficulty"]


def test_the_tokenizer_comes_back_as_it_was_saved(tmp_path):
    tokenizer = build_tokenizer()
    make_model(tokenizer).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    for row in problems(n=20, seed=1, max_steps=6):
        text = ChatFormat(tokenizer).prompt_text(row["problem"]) + row["solution"]
        assert again(text)["input_ids"] == tokenizer(text)["input_ids"]
        assert again.decode(again(text)["input_ids"]) == text


def test_merges_make_each_word_one_token():
    merges = word_merges(["last", "lasting", "ast"])
    assert merges[0] == ("s", "t")
    assert len(merges) == len(set(merges))
    assert set(merges) >= {("l", "ast"), ("last", "ing")}


@pytest.mark.parametrize("name", ["tiny", "smoke"])
def test_shipped_recipes_have_the_whole_curriculum(name):
    stages = [stage.name for stage in load_recipe(name).stages if not stage.implicit]
    assert stages == ["base", "sft-stage1", "difficulty", "sft-stage2", "dpo", "merge", "grpo"]
