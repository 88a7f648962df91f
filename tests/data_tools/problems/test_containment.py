import pytest

from data_tools.problems.containment import ContainmentIndex
from data_tools.problems.signature import signature

PROBLEM = "Let $x$ and $y$ be real numbers such that $x+2y=12$. Find the largest value of $xy$."


def share(text, problems=(PROBLEM,), **options):
    found = ContainmentIndex(problems, **{"numbers": True, "min_windows": 1, **options}).find(signature(text).tokens)
    return found.share if found else 0.0


@pytest.mark.parametrize(
    "text",
    [
        PROBLEM,
        f"A tutor asks a question that needs some thought. {PROBLEM} Give reasons, and draw a picture of it.",
        PROBLEM.replace("x", "p").replace("pp", "p"),
        PROBLEM.replace("$x+2y=12$", "\\(x + 2y = 12\\)").replace("Find", "Determine"),
    ],
)
def test_what_stands_around_and_names_do_not_matter(text):
    assert share(text) == 1.0


def test_share_by_hand():
    first, second = "1 2 3 4 5 6 7", "1 2 3 4 5 9 9"  # windows 12345, 23456, 34567 and 12345, 23459, 34599
    assert share(second, [first]) == pytest.approx(1 / 3)
    assert share("3 4", [first]) == 0.0
    assert share(first, [second, first]) == 1.0


def test_blank_numbers_see_changed_numbers():
    changed = PROBLEM.replace("12", "15").replace("2y", "3y")
    assert share(changed) < 0.7
    assert share(changed, numbers=False) == 1.0


def test_problems_with_few_windows_are_left_out():
    assert share("1 2 3 4 5 6", ["1 2 3 4 5 6"], min_windows=2) == 1.0
    assert share("1 2 3 4 5 6", ["1 2 3 4 5 6"], min_windows=3) == 0.0
