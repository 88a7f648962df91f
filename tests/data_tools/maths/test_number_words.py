import pytest

from data_tools.maths.number_words import read_number_words
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
