"""Words that say maths are read as what they say; words that do not stay words."""

from __future__ import annotations

import pytest

from data_tools.answers.spoken import spoken


@pytest.mark.parametrize(
    ("said", "maths"),
    [
        ("forty-two", "42"),
        ("Minus five", "-5"),
        ("negative one hundred and five", "-105"),
        ("half", r"\frac{1}{2}"),
        ("a third", r"\frac{1}{3}"),
        ("two-thirds", r"\frac{2}{3}"),
        ("three quarters", r"\frac{3}{4}"),
        ("two and a half", r"(2+\frac{1}{2})"),
        ("There is no real solution", r"\emptyset"),
        ("the empty set", r"\emptyset"),
        ("All real numbers", r"(-\infty,\infty)"),
        ("DNE", "does not exist"),
    ],
)
def test_maths_in_words(said, maths):
    assert spoken(said) == maths


@pytest.mark.parametrize(
    "text",
    ["a", "x", "and", "no", "yes", "third", "one one", "two and three", "minus", "a and b", "None of the above", "5 m",
     "real", "zero divisor", "half of it", "a - b", ""],
)  # fmt: skip
def test_other_texts_stay(text):
    assert spoken(text) == text
