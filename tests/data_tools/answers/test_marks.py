"""Spans are found where they stand and never raise."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from data_tools.answers.marks import (
    answer_phrases,
    boxed_spans,
    closing_brace,
    final_boxes,
    last_answer_phrase,
    last_boxed,
    last_maths,
    last_number,
    maths_spans,
)


def test_the_last_balanced_box_counts():
    text = "\\boxed{1} then \\fbox{\\frac{2}{3}} then \\boxed{4"
    span = last_boxed(text)
    assert span is not None
    assert span.content == "\\frac{2}{3}"
    assert text[span.start : span.end] == "\\fbox{\\frac{2}{3}}"


def test_boxes_next_to_each_other_are_one_answer():
    contents = [span.content for span in final_boxes("\\boxed{9}. So \\boxed{2}, \\boxed{3} and \\boxed{5}.")]
    assert contents == ["2", "3", "5"]


def test_escaped_braces_do_not_count():
    assert closing_brace("{\\}}", 0) == 3
    assert closing_brace("{{}", 0) == -1


def test_what_stands_behind_an_answer_phrase():
    assert [s.content for s in answer_phrases("Answer: 3\nThe answer is $x=\\text{a. b}$. Bye")] == [
        "3",
        "$x=\\text{a. b}$",
    ]
    assert last_answer_phrase("#### 42").content == "42"
    assert last_answer_phrase("nothing") is None


def test_formulas_and_numbers():
    assert [s.content for s in maths_spans("a $x$ b \\(y\\) c \\[z\\] $$w$$ $open")] == ["x", "y", "z", "w"]
    assert last_maths("no maths") is None
    assert last_number("from 1,234.5 to -7").content == "-7"


@given(st.text(alphabet="\\boxed{}$ ()[]12a.", max_size=80))
def test_spans_lie_in_the_text(text):
    for span in (*boxed_spans(text), *final_boxes(text), *maths_spans(text), *answer_phrases(text)):
        assert 0 <= span.start < span.end <= len(text)
        assert span.content in text
