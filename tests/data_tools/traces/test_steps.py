"""A thought is cut where its flow breaks, and nothing of it is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_tools.traces.steps import reflects, sentences_of, steps_of

PIECES = st.sampled_from(
    ["Wait, ", "so 2+2=4. ", "Alternatively, ", "\n\n", "\n", "But no. ", "Let me check. ", "x ", "? "]
)


@given(st.lists(PIECES, max_size=60).map("".join), st.integers(1, 200))
def test_the_steps_joined_are_the_thought(thought, min_chars):
    steps = steps_of(thought, min_chars=min_chars)
    assert "".join(steps) == thought
    assert all(len(step) >= min_chars for step in steps) or len(steps) <= 1


@given(st.text(max_size=200))
def test_the_sentences_joined_are_the_text(text):
    assert "".join(sentences_of(text)) == text


def test_a_step_begins_where_the_flow_breaks():
    thought = (
        "We add the two numbers and get 4. That looks fine.\n\nWait, the second one is negative. So it is 0. "
        "Alternatively, use the formula for sums. Let me check with an example: 1-1=0."
    )
    starts = [step.split()[0] for step in steps_of(thought, min_chars=1)]
    assert starts == ["We", "Wait,", "Alternatively,", "Let"]


def test_a_short_piece_is_no_step_of_its_own():
    assert steps_of("Hmm. Wait, that is wrong because of the sign. But the rest holds.", min_chars=19) == [
        "Hmm. Wait, that is wrong because of the sign. ",
        "But the rest holds.",
    ]


def test_a_thought_without_breaks_is_cut_at_paragraphs():
    assert steps_of("a" * 90 + "\n\n" + "b" * 90) == ["a" * 90 + "\n\n", "b" * 90]
    assert steps_of("") == []


def test_reflection_is_told_from_plain_statements():
    assert reflects("Wait, is that right?") and reflects("Let me double-check this.")
    assert not reflects("The sum is 4.") and not reflects("The waiter brings 3 plates.")


def test_a_step_has_at_least_one_character():
    with pytest.raises(ValueError, match="min_chars"):
        steps_of("a", min_chars=0)
