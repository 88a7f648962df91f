from __future__ import annotations

import pytest

from light_r1.recipe.check.answers import answer_fault


@pytest.mark.parametrize("answer", ["4", 4, 4.5, "\\frac{1}{2}", "(1, 2)", ["1", "2"], "\\boxed{7}", "#### 12", "C"])
def test_gradable_answers_have_no_fault(answer):
    assert answer_fault(answer) is None


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (None, "missing"),
        ("  ", "empty"),
        ([], "empty list"),
        ({"a": 1}, "not a text"),
        ("\\frac{1}{2", "braces"),
        ("it follows that the two triangles are similar to each other by symmetry", "free text"),
        ("9^{9^{9^{9}}}", "tower"),
    ],
)
def test_faults_are_named(answer, fault):
    assert fault in answer_fault(answer)
