"""The whole number that a contest asks for follows from the form it gives to the value."""

from __future__ import annotations

import pytest

from data_tools.solutions.asked_sum import asked_sum


@pytest.mark.parametrize(
    ("problem", "value", "expected"),
    [
        (r"It is $\frac{m}{n}$ in lowest terms. Find $m+n$.", r"\frac{17}{18}", "35"),
        (r"It is $\tfrac{m}{n}$. Find $m + n.$", "17/18", "35"),
        (r"written as $\frac{a}{b}$. Compute $100a+b$.", r"\dfrac{3}{7}", "307"),
        (r"is $a\sqrt{b}$. What is $a+b$?", r"4\sqrt{3}", "7"),
        (r"is $\frac{a\sqrt{b}}{c}$. Find $a+b+c$.", r"\frac{2\sqrt{5}}{3}", "10"),
        (r"It is $\frac{m}{n}$. Find $m+n$.", "12", None),
        (r"It is $\frac{m}{n}$. Find $m+n$.", r"\frac{x}{2}", None),
        (r"It is $\frac{m}{n}$. Find $m$.", r"\frac{1}{2}", None),
        (r"Find $x+y$ if $xy=3$.", "3", None),
        ("", "1/2", None),
    ],
)
def test_the_form_decides(problem, value, expected):
    assert asked_sum(problem, value) == expected
