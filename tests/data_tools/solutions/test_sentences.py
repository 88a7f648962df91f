"""Sentences are cut with the maths set apart, and spellings of one expression meet in one key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_tools.solutions.sentences import MASK, masked, maths_key, split_sentences, tidy


def test_maths_is_masked_whatever_delimits_it():
    text, spans = masked(r"A $1.5$ B \(2\) C \[3\] D $$4$$ E \begin{align*}5\end{align*} [asy] draw(); [/asy]")
    assert spans[:4] == ["1.5", "2", "3", "4"] and "5" in spans[4]
    assert text.count(MASK) == 5 and "draw" not in text


def test_sentences_know_their_maths_and_paragraphs():
    text, spans = masked("Let $x=1.5$ be it. Then $y=2$ holds.\n\nSo $z=3$.")
    sentences = split_sentences(text)
    assert [spans[s.first] for s in sentences] == ["x=1.5", "y=2", "z=3"]
    assert [s.ends_paragraph for s in sentences] == [False, True, True]


@given(st.text(st.sampled_from("ab .!?\n$\\()\x01"), max_size=60))
def test_every_mask_stands_for_one_span(text):
    hidden, spans = masked(text)
    assert hidden.count(MASK) == len(spans)
    assert sum(s.text.count(MASK) for s in split_sentences(hidden)) == len(spans)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (r"\dfrac{1}{2}", r"\frac{1}{2}"),
        ("1,234", "1234"),
        (r"1{,}234", "1234"),
        ("x _ {1}", "x_1"),
        (r"\left( 1, 2 \right)", "(1,2)"),
        (r"\mathbf{1 2}", "12"),
    ],
)
def test_spellings_meet(one, other):
    assert maths_key(one) == maths_key(other)


@pytest.mark.parametrize(("one", "other"), [("12", "21"), ("x^{2}", "x2"), ("-1", "1"), ("x^{12}", "x^12")])
def test_different_expressions_do_not_meet(one, other):
    assert maths_key(one) != maths_key(other)


def test_fonts_go_and_exponents_stay_grouped():
    assert tidy(r"\mathbf{2 0}") == "20"
    assert tidy(r"x^\mathrm{10}") == "x^{10}"
