"""Which part of an output is taken for the answer, and how it can be read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_tools.answers.stated import MAX_CHARS, candidates, last_number, readings


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("\\frac{1}{2}", "\\frac{1}{2}"),
        ("58 square units", "58 square units"),
        ("We get \\boxed{5}.", "5"),
        ("\\boxed{5}. Final Answer: The final answer is $6$. I hope it is correct.", "6"),
        ("<think>\\boxed{1}</think>\\boxed{2}", "2"),
        ("some reasoning\n#### 42", "42"),
        ("Therefore $x \\gt 5$ is the solution.", "x \\gt 5"),
        ("The largest $n$ is 34.", "34"),
        ("It is 5 x 2 = 10 spoons.\n\nTherefore, he needs 10 spoons to make 80 meatballs.", "10"),
        ("so $r$ is known.\nThe answer is: \\frac{3}{4}", "\\frac{3}{4}"),
        ("\\boxed{\\frac{1}{4}}.\nThe answer is: \\frac{1}{4}", "\\frac{1}{4}"),
        ("She earned #### 42 dollars in 6 hours.", "42 dollars in 6 hours"),
        ("**Answer:** Damien makes **$75** in a 30-day month.", "75"),
        ("Consequently, the length of a diagonal of the square is 6√2.", "6√2"),
        ("He pays $8 + $12 = $20 in total.", "20"),
        ("Le coût final est donc de 100 - 30 = 70", "70"),
        ("答案：每份应该是 (\\frac{2}{5}) 吨。", "(\\frac{2}{5})"),
        ('```json\n{"steps": [1, 2], "answer": "x > 5"}\n```', "x > 5"),
        ('{"answer": [-1, -2, 4]}', "[-1, -2, 4]"),
        ("so $x = -\\boxed{5}$", "-5"),
        ("- \\boxed{5}", "5"),
        ("3-\\boxed{5}", "5"),
        ("**12**", "12"),
    ],
)
def test_the_likeliest_candidate(text, answer):
    assert candidates(text)[0].strip() == answer


def test_nothing_is_found_in_nothing():
    assert candidates("  \n ") == []


def test_only_the_end_of_a_long_text_is_read():
    assert candidates("\\boxed{1}" + " word" * MAX_CHARS + " so 7.") == ["7"]


def test_numbers_of_running_text():
    assert last_number("from 3 to 2,74 $") == "2,74"
    assert last_number("AZYUK2A") == ""
    assert last_number("she pays $1,300.50.") == "1,300.50"


def test_readings():
    assert readings("12") == ["12"]
    assert readings("1,234") == ["1234", "1,234"]
    assert readings("(1,234)") == ["(1,234)"]
    assert "2.74" in readings("2,74")
    assert "195" in readings("(C) 195")


@given(st.text(max_size=200))
def test_candidates_never_raise_and_are_texts(text):
    assert all(isinstance(answer, str) for answer in candidates(text))
