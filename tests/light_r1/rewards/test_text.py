"""Rewards of text and length, against naive counting."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from light_r1.errors import LightR1Error
from light_r1.rewards.text import (
    get_format_reward,
    get_language_consistency_reward,
    get_repetition_reward,
    get_soft_overlong_reward,
    get_tag_count_reward,
    get_think_format_reward,
    repeated_share,
)


@pytest.mark.parametrize(
    ("text", "with_tag", "without"),
    [
        ("<think>a</think>b", 1, 0),
        ("  <think>\na\n</think>\nb", 1, 0),
        ("a</think>b", 0, 1),
        ("<think>a", 0, 0),
        ("a", 0, 0),
        ("<think>a</think>b</think>", 0, 0),
        ("<think>a<think>b</think>c", 0, 0),
        ("x<think>a</think>b", 0, 0),
        ("", 0, 0),
    ],
)
def test_format_with_and_without_the_opening_tag(text, with_tag, without):
    assert get_format_reward()([text]) == [with_tag]
    assert get_think_format_reward()([text]) == [with_tag]
    assert get_think_format_reward(opening_tag="in_template")([text]) == [without]


def test_tag_count_is_half_for_each_tag_that_occurs_once():
    assert get_tag_count_reward()(["<think></think>", "</think>", "<think><think></think>", ""]) == [1, 0.5, 0.5, 0]


# Values that open-r1's own tests expect of its repetition penalty.
@pytest.mark.parametrize(
    ("text", "n", "penalty", "expected"),
    [
        ("same same same same same", 2, -1.0, -0.75),
        ("this is a this is a test", 2, -1.0, -1 / 3),
        ("this is a this is a test", 3, -2.0, -0.4),
        ("A B C a b c", 3, -1.0, -0.25),
        ("test test test test", 3, -0.5, -0.25),
        ("one two", 3, -1.0, 0),
        ("", 3, -1.0, 0),
    ],
)
def test_repetition_penalises_repeated_ngrams(text, n, penalty, expected):
    assert get_repetition_reward(ngram=n, max_penalty=penalty)([text]) == pytest.approx([expected])


@given(st.lists(st.integers(0, 2), max_size=12), st.integers(1, 4))
def test_repeated_share_counts_ngrams_seen_before(items, n):
    seen, again = [], 0
    for i in range(len(items) - n + 1):
        gram = items[i : i + n]
        again += gram in seen
        seen.append(gram)
    assert repeated_share(items, n) == pytest.approx(again / len(seen) if seen else 0)


def test_repetition_by_tokens_needs_no_blanks():
    assert get_repetition_reward(ngram=2, unit="tokens")(["循环循环循环"], [[1, 2, 1, 2, 1, 2]]) == [-0.6]
    assert get_repetition_reward(ngram=2)(["循环循环循环"]) == [0]


@pytest.mark.parametrize(("length", "expected"), [(0, 0), (80, 0), (90, -0.5), (100, -1), (110, -1)])
def test_soft_overlong_falls_over_its_cache(length, expected):
    assert get_soft_overlong_reward(max_len=100, cache=20)(completion_ids=[[0] * length]) == [expected]


def test_language_consistency_is_the_share_of_letters():
    english = get_language_consistency_reward(language="en")
    chinese = get_language_consistency_reward(language="zh")
    mixed = "<think>we know that x 所以答案是</think> $x=1$"
    latin, han = len("know" + "that"), 3 * 5  # a Chinese character counts as three letters
    assert english(["<think>so the sum is 4</think>\\boxed{4}", "所以", "$1+1$"]) == [1, 0, 1]
    assert english([mixed]) == pytest.approx([latin / (latin + han)])
    assert chinese([mixed]) == pytest.approx([han / (latin + han)])


@pytest.mark.parametrize(
    "make",
    [
        lambda: get_repetition_reward(max_penalty=0.1),
        lambda: get_repetition_reward(ngram=0),
        lambda: get_soft_overlong_reward(max_len=10, cache=0),
        lambda: get_language_consistency_reward(language="klingon"),
    ],
)
def test_faulty_options_are_refused(make):
    with pytest.raises(LightR1Error):
        make()
