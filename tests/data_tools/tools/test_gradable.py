"""Only problems whose answer the verifier can read and compare are kept."""

from __future__ import annotations

import pytest

from data_tools.rows.files import read_rows
from data_tools.rows.row import Dropped
from data_tools.tools.gradable import gradable, needs_figure
from tests.shared import shared_file


def reason_for(answer, problem="Find the value.", **options):
    (result,) = gradable([{"problem": problem, "answer": answer}], **options)
    return result.reason if isinstance(result, Dropped) else None


@pytest.mark.parametrize(
    "answer",
    ["12", "-3.5", r"\frac{1}{2}", r"\boxed{7}", "$2x+1$", "(1,2)", "1, 3, 5", r"\{1,2\}", "5 cm", r"90^\circ",
     r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"(-\infty, 3]", "f(x)=x^2", "x", r"2 \pm \sqrt{3}", ["1", "2"],
     "forty-two", "negative two thirds", "no solutions", "all real numbers", "DNE", "does not exist", "3:30 PM"],
)  # fmt: skip
def test_answers_of_every_type_are_kept(answer):
    assert reason_for(answer) is None


@pytest.mark.parametrize(
    ("answer", "problem", "reason"),
    [
        (None, "Find it.", "no_answer"),
        (" ", "Find it.", "no_answer"),
        ([], "Find it.", "no_answer"),
        (["1", ""], "Find it.", "no_answer"),
        ("1" * 300, "Find it.", "too_long"),
        ("2", "Prove that there are infinitely many primes.", "proof"),
        ("2", "Show that $n$ is even.", "proof"),
        ("2", "In the figure below, find $x$.", "needs_figure"),
        ("2", "A square is cut as shown. Find its area.", "needs_figure"),
        ("C", "Which one?", "letter"),
        ("Tuesday", "Which day?", "free_text"),
        ("No solution exists for this", "Solve it.", "free_text"),
        (r"\frac{1}{", "Find it.", "unparsable"),
        ("9^{9^{9^9}}", "Find it.", "unbounded"),
    ],
)
def test_others_are_dropped_with_the_reason(answer, problem, reason):
    assert reason_for(answer, problem) == reason


def test_what_is_dropped_can_be_allowed():
    assert reason_for("Tuesday", allow_text=True) is None
    assert reason_for("2", "In the figure below, find $x$.", allow_figures=True) is None
    assert reason_for("1" * 300, max_chars=300) is None


def test_a_letter_is_gradable_where_the_options_are_listed_or_it_is_a_variable():
    assert reason_for("B", "Which? (A) 1 (B) 2 (C) 3") is None
    assert reason_for("x", "Simplify $x^2/x$.") is None


def test_a_figure_in_the_text_is_no_missing_figure():
    assert needs_figure("Find the area of the shaded part, as shown in the diagram.")
    assert not needs_figure("As shown below. [asy] draw((0,0)--(1,1)); [/asy]")
    assert not needs_figure("The diagram of a function is a graph; figure out its slope.")


@pytest.mark.parametrize(("source", "kept"), [("aime24", 1.0), ("math_train", 0.98), ("omni_math_rule_2819", 0.97)])
def test_published_sets_are_mostly_gradable(source, kept):
    rows = list(read_rows(shared_file(f"data/problems/{source}.jsonl.gz")))[:1_000]
    results = list(gradable(rows))
    assert len(results) == len(rows)
    assert sum(not isinstance(result, Dropped) for result in results) / len(rows) >= kept
