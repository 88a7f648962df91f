"""Options of a multiple choice are read, and letters told from values."""

from __future__ import annotations

import pytest

from data_tools.answers.multiple_choice import (
    gold_option,
    is_option,
    last_option,
    named_option,
    option_letter,
    read_choices,
    same_option,
    without_label,
)


@pytest.mark.parametrize(
    "problem",
    [
        r"How many? $\textbf{(A)}\ 2 \qquad \textbf{(B)}\ \frac{1}{2} \qquad \textbf{(C)}\ 12$",
        r"How many? $\mathrm{(A)}\ 2\qquad\mathrm{(B)}\ \frac{1}{2}\qquad\mathrm{(C)}\ 12$",
        r"How many? (A) $2$ (B) $\frac{1}{2}$ (C) $12$",
        "How many?\nA. $2$\nB. $\\frac{1}{2}$\nC. $12$",
        r"Cases (A) one (B) two were seen. How many? A) 2 B) \frac{1}{2} C) 12",
    ],
)
def test_options_are_read(problem):
    assert {letter: value.strip("$") for letter, value in read_choices(problem).items()} == {
        "A": "2",
        "B": r"\frac{1}{2}",
        "C": "12",
    }


@pytest.mark.parametrize("problem", ["Points $A$, $B$ and $C$.", "(A) one (B) two", "(B) 1 (C) 2 (D) 3", ""])
def test_letters_that_are_no_options_are_left_alone(problem):
    assert read_choices(problem) == {}


@pytest.mark.parametrize("text", ["C", "(C)", "c.", r"\textbf{(C)}", r"\text{(C)},", "$C$", r"\mathrm{C}", "**"])
def test_a_letter_is_told_from_a_value(text):
    assert option_letter(text) == (None if text == "**" else "c" if text == "c." else "C")
    assert is_option(text) == ("C" in text)
    assert option_letter(f"{text}5") is None


@pytest.mark.parametrize(
    ("prediction", "gold", "reason"),
    [
        ("(C) 195", "C", "same choice"),
        ("B because it is even", "{(C)}", ""),
        ("C", "(C) 195", "same choice"),
        ("(B) 195", "(C) 195", None),
    ],
)
def test_options_agree_by_their_letter_where_one_side_is_nothing_else(prediction, gold, reason):
    assert same_option(named_option(prediction), gold_option(gold)) == reason


def test_a_value_names_no_option():
    assert named_option("195") is gold_option("x^2") is gold_option("c") is None


def test_the_option_that_an_output_ends_with():
    assert last_option("First (A), but then the answer is (B), so option C") == "C"
    assert last_option("x=(A)") == last_option("so the option is \\boxed{C}") == ""


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r"\textbf{(C) }195", "195"),
        (r"\text{(C) } \frac{1}{2}", r"\frac{1}{2}"),
        (r"2\pi\Rightarrow\textbf{(C)}", r"2\pi"),
        (r"\textbf{(051)}", "051"),
        ("(A,B)", "(A,B)"),
        (r"\textbf{(C)}", r"\textbf{(C)}"),
        ("(3,4)", "(3,4)"),
    ],
)
def test_labels_come_off(text, value):
    assert without_label(text) == value
