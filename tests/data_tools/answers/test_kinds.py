"""Each kind of answer is recognised, and the first that can tell decides."""

from __future__ import annotations

import pytest

from data_tools.answers.kinds import KINDS, TEXT, agreement, kind_of
from data_tools.maths.budget import TooLarge
from data_tools.maths.tokens import LatexError

GOLDS = {
    "number": ("-12", "1,234.50", "\\frac12"),
    "option": ("C", "(C)", "(C) 195"),
    "time": ("3:30 PM", "4:05", "noon"),
    "based integer": ("1101_2", "21_{\\text{three}}", "1f_{\\text{sixteen}}"),
    "expression": ("x^2+1", "1,2", "\\frac{1}{0}", "2\\pm\\sqrt3", "(-\\infty,3]"),
}


@pytest.mark.parametrize(("name", "gold"), [(name, gold) for name, golds in GOLDS.items() for gold in golds])
def test_the_kind_of_a_gold_answer_also_finds_it_equal_to_itself(name, gold):
    kind = kind_of(gold)
    assert kind.name == name
    assert kind.compare(kind.read(gold), kind.read_gold(gold)) or name in ("option", "time")
    assert agreement(gold, gold) == "same text"


def test_what_no_kind_reads_is_told_why():
    with pytest.raises(LatexError, match="empty"):
        kind_of("\\frac{1}{")
    with pytest.raises(TooLarge):
        kind_of("9^{9^{9^9}}")


def test_any_text_is_a_text_and_a_text_alone_never_says_that_answers_differ():
    assert TEXT in KINDS
    assert TEXT.compare(TEXT.read("an Ellipse"), TEXT.read_gold("ellipse")) == "same text"
    assert TEXT.compare(TEXT.read("odd"), TEXT.read_gold("even")) is None


@pytest.mark.parametrize(
    ("prediction", "gold", "reason"),
    [
        ("0.5", "\\frac12", "same number"),
        ("1,234", "1,235", ""),
        ("1 1/2", "11/2", ""),
        ("(C) 195", "C", "same choice"),
        ("2/4", "0.25", ""),
        ("101", "101_2", "same digits"),
        ("12:00", "noon", "same time"),
        ("x+1", "1+x", "same value"),
        ("1.41421356237", "\\sqrt2", "rounds to the same number"),
    ],
)
def test_the_first_kind_that_can_tell_decides(prediction, gold, reason):
    assert agreement(prediction, gold) == reason
