"""Cues name what speaks for or against a candidate."""

from __future__ import annotations

from data_tools.solutions.candidates import statements
from data_tools.solutions.cues import item_cues, repeat_cues, statement_cues
from data_tools.solutions.question import read_question


def cues_of(solution, problem=""):
    statement = statements(solution)[-1]
    return set(item_cues(statement, 0, read_question(problem))) | set(
        statement_cues(statement, read_question(problem))
    )


def test_place_and_words():
    cues = cues_of("First we add. Therefore the answer is 12.")
    assert {"from-end:0", "says:answer", "says:conclusion", "before:answer-is", "last", "ends-sentence"} <= cues
    assert "before:premise" in cues_of("If $x=3$, it fails.") and "before:premise" not in cues


def test_the_name_of_the_quantity_asked_for():
    assert "left:target" in cues_of("So $m+n=35$.", "Find $m+n$.")
    assert "left:other-letter" in cues_of("So $k=35$.", "Find $m+n$.")


def test_the_fit_of_the_value():
    assert "count:integer" in cues_of("It is 5.", "How many are there?")
    assert "letters:known" in cues_of("It is $2n$.", "Let $n>1$. Find the sum.")
    assert "letters:new" in cues_of("It is $2k$.", "Let $n>1$. Find the sum.")
    assert "stated-in-problem" in cues_of("It is 7.", "A box holds 7 balls. What is its volume?")
    assert "counts-noun" in cues_of("There are 5 red balls.", "How many red balls are there?")


def test_repetition_is_capped():
    assert repeat_cues(9, 1) == ["count:4", "places:1"]
