"""Candidates and "none of them" share one probability; equal values add theirs up."""

from __future__ import annotations

import json
import math

import pytest

from data_tools.solutions.candidates import statements
from data_tools.solutions.question import read_question
from data_tools.solutions.ranking import WEIGHTS, candidate_cues, none_cues, ranked

PROBLEM = "How many balls are in the bag?"
SOLUTION = "Say there are $3 \\cdot 4=12$ red ones. We add 14. Hence there are 26 balls in total. So $12+14=26$."


def test_probabilities_follow_from_the_weights_of_the_cues():
    weights = json.loads(WEIGHTS.read_text())
    question = read_question(PROBLEM)
    powers: dict[str, float] = {}
    for key, _, cues in candidate_cues(statements(SOLUTION), question):
        powers[key] = powers.get(key, 0.0) + math.exp(sum(weights.get(cue, 0.0) for cue in cues))
    none = math.exp(sum(weights.get(cue, 0.0) for cue in none_cues(question, SOLUTION)))
    total = none + sum(powers.values())
    found = dict(ranked(statements(SOLUTION), question, solution=SOLUTION))
    assert found == {key: pytest.approx(power / total) for key, power in powers.items()}


def test_the_conclusion_comes_first():
    found = ranked(statements(SOLUTION), read_question(PROBLEM), solution=SOLUTION)
    assert found[0][0] == "26" and found == sorted(found, key=lambda pair: -pair[1])
    assert sum(share for _, share in found) < 1


def test_a_solution_that_reads_like_a_proof_states_an_answer_less_often():
    proof = "Claim. By induction the lemma holds. Suppose $x=3$; a contradiction, as desired."
    assert "none:reads-3" in none_cues(read_question(""), proof)
    assert "none:reads-0" in none_cues(read_question(""), SOLUTION)


def test_without_candidates_there_is_nothing():
    assert ranked([], read_question(PROBLEM), solution="") == []
