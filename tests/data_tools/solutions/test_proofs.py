"""Whether a solution is a proof shows in its words; a value in a box stays an answer."""

from __future__ import annotations

import pytest

from data_tools.solutions.final_answer import extract_answer
from data_tools.solutions.proofs import answers_closed, is_statement, proof_marks
from data_tools.solutions.question import read_question

ALL = read_question("Find all positive integers $n$ such that $n!$ divides $f(n)$.")
ONE = read_question("What is the value of $n$?")


def test_each_family_of_proof_words_counts_once():
    assert proof_marks("Adding up gives 5.") == 0
    assert proof_marks("We prove the claim by induction. The proof of the lemma: ... $\\blacksquare$") == 3
    assert proof_marks("This is a contradiction, so we are done. Q.E.D.") == 3
    assert proof_marks("Use \\boxed{3} and \\boxedsize") == 0


@pytest.mark.parametrize(
    ("answer", "question", "marks", "statement"),
    [
        ("n \\ge 13", ALL, 1, True),
        ("n \\ge 13", ALL, 0, False),
        ("n \\ge 13", ONE, 1, False),
        ("n \\ge 13", ONE, 2, True),
        ("13", ALL, 5, False),
        ("(1, 2), (2, 1)", ALL, 5, False),
        (r"\text{D}", ALL, 5, False),
        (r"R \text{ lies on the arc } XY", ALL, 0, True),
        ("2^n", read_question("Find the sum as a function of $n$."), 5, False),
    ],
)
def test_a_box_with_a_relation_or_prose_in_a_proof_is_a_statement(answer, question, marks, statement):
    assert is_statement(answer, question, marks) is statement


def test_only_yes_and_no_answer_a_closed_question():
    assert answers_closed("No") and answers_closed(r"\text{yes}") and answers_closed("true")
    assert not answers_closed("0") and not answers_closed("nobody")
    solution = "The sums differ, and the invariant is $x = 2$. Therefore the answer is $2$."
    assert extract_answer(solution, "What is the invariant $x$?").answer == "2"
    assert extract_answer(solution, "Starting from red, is it possible to arrive at blue?").answer is None


def test_a_value_with_its_proof_is_abstained_from_unless_it_is_stated_apart():
    problem = "Determine, with proof, the smallest $n$."
    assert extract_answer("Thus the smallest is $n = 23$.", problem).method == "proof"
    assert extract_answer(r"Thus the smallest is $\boxed{23}$.", problem).method == "proof"
    assert extract_answer("Thus it follows.\n#### 23", problem).answer == "23"


def test_an_unmarked_value_needs_more_certainty_in_a_proof(monkeypatch):
    monkeypatch.setattr("data_tools.solutions.final_answer.ranked", lambda *_, **__: [("1", 0.5)])
    problem = "Which $n$ is it?"
    assert extract_answer("It is $1$.", problem).answer == "1"
    assert extract_answer("It is $1$, as claim and induction show.", problem).answer == "1"
    assert extract_answer("It is $1$, else a contradiction. That proves the lemma. Q.E.D.", problem).method == "unsure"
