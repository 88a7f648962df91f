import json

import pytest

from data_tools.problems.same_problem import same_problem
from data_tools.problems.signature import signature
from tests.shared import shared_file

PROBLEM = "Let $x$ and $y$ be positive real numbers such that $x+2y=12$. Tom asks Ann for the largest value of $xy$."


def same(one, other):
    forward = same_problem(signature(one), signature(other))
    assert forward == same_problem(signature(other), signature(one))
    return forward


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Tom asks Ann", "Olga asks Farid"),
        ("Let", "Suppose"),
        ("largest", "greatest"),
        ("the largest value", "the largest possible value"),
        ("value", "values"),
        ("real numbers such that", "reals so that"),
    ],
)
def test_wording_and_names_do_not_matter(old, new):
    assert old in PROBLEM
    assert same(PROBLEM, PROBLEM.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("12", "13"),
        ("largest", "smallest"),
        ("positive", "negative"),
        ("x+2y", "x-2y"),
        ("2y", "y"),
        ("value of $xy$", "value of $xx$"),
        ("real numbers", "integers"),
    ],
)
def test_what_decides_matters(old, new):
    assert old in PROBLEM
    assert not same(PROBLEM, PROBLEM.replace(old, new))


def test_another_noun_is_another_problem():
    one = "Half of the girls and all of the boys of 26 members came, 16 in all. How many {} are in the club?"
    assert not same(one.format("boys"), one.format("girls"))


def test_names_must_be_renamed_consistently():
    one = "Tom has 3 apples. Ann has 5. How many more does Ann have?"
    assert same(one, one.replace("Ann", "Olga"))
    assert not same(one, "Tom has 3 apples. Ann has 5. How many more does Tom have?")


def test_figures_must_agree_unless_one_is_lost():
    text = "Find $x$. [asy] label({}); [/asy]"
    assert not same(text.format('"30"'), text.format('"45"'))
    assert same(text.format('"30"'), text.format('"30", NE'))
    assert same(text.format('"30"'), "Find $x$.")


def test_labelled_pairs():
    rows = [json.loads(line) for line in shared_file("cases/dedup_pairs.jsonl").open(encoding="utf-8")]
    found = [(bool(row["label"]), same_problem(signature(row["a"]), signature(row["b"]))) for row in rows]
    right = found.count((True, True))
    assert right / (right + found.count((False, True))) >= 0.98
    assert right / (right + found.count((True, False))) >= 0.95


def test_another_axis_is_another_problem():
    text = "Find where the graph of $y = 3k + 5$ crosses the x-axis, and its slope there."
    renamed = text.replace("$y = 3k", "$q = 3p")
    assert same_problem(signature(text), signature(renamed))
    assert not same_problem(signature(text), signature(renamed.replace("x-axis", "y-axis")))


def test_one_copy_may_give_two_people_one_name_but_not_one_person_two():
    text = "{0} has 12 pens and gives 3 of them to {1}. Then {2} buys 5 pens. How many pens does {0} have now?"
    one = signature(text.format("Rosa", "Luca", "Rosa"))
    merged = signature(text.format("Yuki", "Yuki", "Yuki"))
    split = signature(text.format("Yuki", "Omar", "Omar"))
    assert same_problem(one, merged) and same_problem(merged, one)
    assert not same_problem(one, split) and not same_problem(split, one)
