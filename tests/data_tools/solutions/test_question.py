"""What a problem asks for is read from its wording."""

from __future__ import annotations

import pytest

from data_tools.solutions.question import content_words, read_question


@pytest.mark.parametrize(
    ("problem", "kind"),
    [
        ("How many red balls are there?", "count"),
        ("What is the probability that it rains?", "probability"),
        ("Find all real solutions of $x^2=1$.", "list"),
        (r"Find all functions $f$ with $f(x)=f(-x)$.", "function"),
        ("Find the sum of all functions of 3 letters.", "other"),
        ("Find the ordered pair $(x,y)$.", "tuple"),
        ("Is the number 7 prime?", "closed"),
        ("Find the area of the triangle.", "other"),
        ("", "other"),
    ],
)
def test_the_kind_of_answer(problem, kind):
    assert read_question(problem).kind == kind


@pytest.mark.parametrize(
    ("problem", "proof"),
    [
        ("Prove that $n$ is even.", "only"),
        ("Let $n>1$. Show that $n^2>1$.", "only"),
        ("Determine, with proof, the least $n$.", "too"),
        ("Find $x$ and prove that it is the only one.", "too"),
        ("How many shows did the television show air?", "none"),
        ("How many ways to arrange the letters of the word PROOF?", "none"),
        ("Measurements show that it is hot. What is $T$?", "none"),
        ("Find $x$. There is no need to prove the answer.", "none"),
    ],
)
def test_proofs_are_told_from_values(problem, proof):
    assert read_question(problem).proof == proof


def test_targets_letters_and_nouns():
    question = read_question(r"Let $p$ be a prime. In terms of $n$, how many red balls are there? Find $m+n$.")
    assert question.targets == {"m+n"}
    assert question.letters == {"p", "n", "m"} and question.asked_letters == {"n", "m"}
    assert {"red", "ball"} <= question.nouns and question.in_terms


def test_content_words_are_stems_without_filler():
    assert content_words("How many of the Balls are in the boxes?") == {"ball", "boxe"}
