import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_tools.maths.number_words import CARDINALS, WHOLE_NUMBER, read_number_words, whole_number
from data_tools.problems.signature import Token


def read(text):
    tokens = [
        Token(word, "word" if word[0].isalpha() else "number" if word.isdigit() else "symbol") for word in text.split()
    ]
    return " ".join(token.text for token in read_number_words(tokens, Token))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("twenty - five dogs", "25 dogs"),
        ("twenty five dogs", "25 dogs"),
        ("twenty - dogs", "20 - dogs"),
        ("one two three", "1 2 3"),
        ("two hundred five", "205"),
        ("two hundred and five", "205"),
        ("three thousand and twelve cats", "3012 cats"),
        ("between one hundred and two hundred", "between 100 and 200"),
        ("six and one", "6 and 1"),
        ("three thousand two hundred twelve", "3212"),
        ("two million", "2000000"),
        ("hundred dogs", "hundred dogs"),
        ("the fourth of 12 th", "the 4 th of 12 th"),
        ("zero", "0"),
        ("- five", "- 5"),
    ],
)
def test_number_words(words, expected):
    assert read(words) == expected


def said(number):
    """Say a whole number below a trillion, the textbook way."""
    names = {value: word for word, value in CARDINALS.items()}
    for scale, word in ((10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred")):
        if number >= scale:
            return f"{said(number // scale)} {word}" + (f" {said(number % scale)}" if number % scale else "")
    if number in names:
        return names[number]
    return f"{names[number - number % 10]}-{names[number % 10]}"


@given(st.integers(0, 10**12 - 1))
def test_a_number_in_words_is_read_whole_and_found_in_a_text(number):
    assert whole_number(said(number)) == number
    assert re.search(WHOLE_NUMBER, f"the {said(number)} balls").group() == said(number)


@pytest.mark.parametrize("text", ["", "-", "and", "hundred", "two three", "two balls", "second"])
def test_what_is_no_number_in_words(text):
    assert whole_number(text) is None
