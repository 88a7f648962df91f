"""The values that a solution may conclude with are listed, and few others."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from data_tools.solutions.candidates import FIRST, LAST, statements


def answers(solution):
    return [item.answer for statement in statements(solution) for item in statement.items]


def test_right_sides_expressions_numbers_and_number_words_are_candidates():
    assert answers(r"We have $a=1+1=2$. There are 26 balls and three boxes. It is $\sqrt{5}$.") == [
        "2", "26", "3", r"\sqrt{5}",
    ]  # fmt: skip


def test_numbers_in_words_are_candidates_whole_and_one_is_a_pronoun():
    assert answers("There are thirteen red balls.") == ["13"]
    assert answers("No one has twenty-five or two hundred and five.") == ["25", "205", "25, 205"]
    assert answers("That makes one hundred.") == ["100"]


def test_values_tied_together_make_a_list():
    assert "1, 3" in answers("So $n=1$ or $n=3$.")
    assert "2, 5" in answers("The answers are 2 and 5.")
    assert "1, 3" not in answers("If $n=1$ then it holds, and so does $m=3$.")


def test_an_exact_value_survives_its_approximation():
    assert answers(r"So $d=\sqrt{2} \approx 1.41$.") == ["1.41", r"\sqrt{2}"]


def test_labels_are_no_candidates():
    assert answers("See Case 2 and Figure 3 and Lemma 4.") == []


def test_long_solutions_are_read_at_both_ends():
    sentences = [f"Value number {n} equals {n}00 here." for n in range(10, 90)]
    found = answers(" ".join(sentences))
    assert "1000" in found and "8900" in found and "5000" not in found
    assert len(statements(" ".join(sentences))) == FIRST + LAST


@given(st.lists(st.sampled_from([*"$\\{}=,. \nab12", *["\\frac", "and ", "$x=1$"]]), max_size=80).map("".join))
def test_any_text_can_be_read(solution):
    assert all(0 < item.start + 1 <= item.end for s in statements(solution) for item in s.items)
