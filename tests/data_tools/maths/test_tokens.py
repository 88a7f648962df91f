"""One alphabet for LaTeX and plain text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_tools.maths.tokens import MAX_TOKENS, LatexError, tokenize


def values(text):
    return [token.value for token in tokenize(text)[:-1]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2x+1", ["2", "x", "+", "1"]),
        ("\\sin x", ["sin", "x"]),
        ("sin x", ["sin", "x"]),
        ("\\arctan x", ["atan", "x"]),
        ("\\sinx", ["sin", "x"]),
        ("\\piR", ["pi", "R"]),
        ("x \\le 3", ["x", "<=", "3"]),
        ("xyz", ["x", "y", "z"]),
        ("5 cm", ["5", "cm"]),
        ("4e+7p", ["4", "e", "+", "7", "p"]),
        ("1500E-1", ["1500E-1"]),
        ("0.1\\overline{6}", ["frac", "{", "15", "}", "{", "90", "}"]),
        ("f^{\\prime\\prime}", ["f", "'", "'"]),
        ("\\text{and}", ["and"]),
        ("\\text{e}", ["e"]),
        ("1\\2", ["1", "\\", "2"]),
    ],
)
def test_tokens(text, expected):
    assert values(text) == expected


def test_a_unit_letter_is_a_unit_only_behind_a_number():
    assert tokenize("5\\text{m}")[1].kind == "text"
    assert tokenize("\\text{m}")[0].kind == "sym"


def test_the_number_of_tokens_is_bounded():
    with pytest.raises(LatexError, match="tokens"):
        tokenize("1+" * MAX_TOKENS)


@given(st.text(max_size=100))
def test_any_text_is_read_or_refused(text):
    try:
        tokens = tokenize(text)
    except LatexError:
        return
    assert tokens[-1].kind == "eof"
