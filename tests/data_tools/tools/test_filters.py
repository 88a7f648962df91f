"""Length, loops and language: each against a plain reference, and on published traces."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_tools.errors import DataToolsError
from data_tools.rows.files import read_rows
from data_tools.rows.row import Dropped
from data_tools.tools.filters import filter_language, filter_length, filter_repetition
from data_tools.traces.repetition import repeated_share
from tests.shared import ROOT, shared_file

TOKENIZER = ROOT / "recipes" / "data" / "gsm8k_tokenizer"


def split(results):
    results = list(results)
    kept = [row for row in results if not isinstance(row, Dropped)]
    return kept, [(item.row, item.reason) for item in results if isinstance(item, Dropped)]


def naive_share(words, ngram):
    grams = [tuple(words[i : i + ngram]) for i in range(len(words) - ngram + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


@given(st.lists(st.sampled_from(["one", "two", "7", "+", "数"]), max_size=40), st.integers(1, 6))
def test_repeated_share_is_that_of_all_ngrams(words, ngram):
    assert repeated_share(" ".join(words), ngram=ngram) == pytest.approx(naive_share(words, ngram))


def test_pieces_are_words_digits_signs_and_single_characters_of_chinese():
    assert repeated_share("abc123", ngram=1) == 0.0
    assert repeated_share("1212", ngram=1) == 0.5
    assert repeated_share("好好x好", ngram=1) == 0.5
    assert repeated_share("word" * 100, ngram=1) == 0.0
    assert repeated_share("-" * 10_000) > 0.99


def test_loops_of_published_traces_are_dropped_and_nothing_else():
    def shares(name):
        rows = read_rows(shared_file(f"data/traces/{name}.jsonl.gz"))
        return split(filter_repetition(rows, column="response"))

    _, loops = shares("long_cot_missing_premise")
    assert len(loops) == 17
    assert {row["model"] for row, _ in loops} == {"DeepSeek-R1-Distill-Qwen-32B"}
    assert min(row["chars"] for row, _ in loops) > 80_000
    assert shares("long_cot_math")[1] == []


@pytest.mark.parametrize(
    ("options", "lengths"),
    [
        ({"min_length": 2, "max_length": 4}, [2, 4]),
        ({"unit": "words", "max_length": 1}, [1, 1]),
        ({"unit": "words", "min_length": 2}, [2]),
        ({}, [2, 4, 5]),
    ],
)
def test_bounds_belong_to_the_window(options, lengths):
    kept, dropped = split(filter_length([{"solution": s} for s in ("ab", "abcd", "ab cd")], **options))
    assert [row["length"] for row in kept] == lengths
    assert len(kept) + len(dropped) == 3


def test_lengths_in_tokens_are_those_of_the_tokenizer():
    from tokenizers import Tokenizer

    value = "Natalia sold 48 clips in April."
    ids = Tokenizer.from_file(str(TOKENIZER / "tokenizer.json")).encode(value, add_special_tokens=False).ids
    for path in (TOKENIZER, TOKENIZER / "tokenizer.json"):
        (row,) = filter_length([{"solution": value}], unit="tokens", tokenizer=path)
        assert row["length"] == len(ids) > 1
    kept, dropped = split(
        filter_length([{"solution": value}], unit="tokens", tokenizer=TOKENIZER, max_length=len(ids) - 1)
    )
    assert not kept and dropped[0][1] == "too_long"


def test_language_and_slides_into_another_script_are_dropped():
    english = "Find the number of integers that are less than 100 and divisible by 7."
    texts = {
        english: None,
        "$1+1=$": None,
        english + " 所以答案是多少": "mixed_language",
        "Bestimme alle Zahlen, die durch 7 teilbar sind und nicht mit der Null enden.": "other_language",
        "求所有能被7整除的整数的个数。": "other_language",
        "Compute 求": "mixed_language",
    }
    kept, dropped = split(filter_language([{"problem": value} for value in texts]))
    assert [row["problem"] for row in kept] == [value for value, reason in texts.items() if reason is None]
    assert {row["problem"]: reason for row, reason in dropped} == {v: r for v, r in texts.items() if r}
    kept, _ = split(filter_language([{"problem": "求所有能被7整除的整数 (Answer)的个数。"}], languages=["zh"]))
    assert kept[0]["language"] == "zh"
    assert split(filter_language([{"problem": "$1$"}], unsure="drop"))[1][0][1] == "unsure_language"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: filter_length([], unit="tokens"), "needed for, and only for"),
        (lambda: filter_length([], tokenizer=TOKENIZER), "needed for, and only for"),
        (lambda: filter_length([], min_length=5, max_length=4), "expected 5"),
        (lambda: list(filter_length([{"solution": "x"}], unit="tokens", tokenizer=Path("no"))), "no such tokenizer"),
        (lambda: filter_repetition([], ngram=0), "expected 1 or more"),
        (lambda: filter_language([], languages=["xx"]), "xx unknown"),
    ],
)
def test_wrong_options_are_named_at_once(call, message):
    with pytest.raises(DataToolsError, match=message):
        call()
