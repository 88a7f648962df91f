"""Gold answers over a cap are refused before any prediction exists."""

from __future__ import annotations

import pytest

from data_tools.answers.symbolic import Refused, guard


@pytest.mark.parametrize("text", ["5", "x^2+1", "2001^{2}", "\\text{even}", "a^2+b^2=c^2", "\\frac{1}{", "(1,2)"])
def test_bounded_answers_pass(text):
    guard(text)


@pytest.mark.parametrize("text", ["9^{9^{9^{9}}}", "x" * 3000, "(" * 100 + "1" + ")" * 100, "10000000!"])
def test_unbounded_answers_are_refused(text):
    with pytest.raises(Refused):
        guard(text)
