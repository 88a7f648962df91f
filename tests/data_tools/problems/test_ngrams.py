import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_tools.problems.ngrams import KeyIndex, NgramIndex, digitless_key

# Few words, so that windows are shared often.
WORDS = st.lists(st.sampled_from(["a", "B", "b", "$x$", "c\n", "12"]), max_size=30).map(" ".join)
TEXT = st.text(alphabet=st.sampled_from("aAbB1 2.$_é\nσΣ"), max_size=90)


def grams(text, n):
    words = re.sub(r"\s+", " ", text.lower().strip()).split(" ")
    return {tuple(words[start : start + n]) for start in range(len(words) - n + 1)}


@given(st.lists(WORDS, max_size=4), WORDS, st.sampled_from([[2], [3], [4], [8], [2, 5], [3, 7]]))
def test_same_flags_as_all_windows_one_by_one(prompts, text, sizes):
    found = NgramIndex(prompts, sizes).find(text)
    for size in sizes:
        sharing = [number for number, prompt in enumerate(prompts) if grams(prompt, size) & grams(text, size)]
        assert (size in found) == bool(sharing)
        if sharing:
            assert found[size] in sharing


def test_light_r1_key():
    assert digitless_key("Find $x_1$ if x = 12.5 É?") == "findx_ifxé"


@given(st.lists(TEXT, max_size=4), TEXT, st.integers(0, 3))
def test_keys_as_light_r1_compares_them(prompts, text, copied):
    def key(prompt):
        return re.sub(r"\d+", "", re.sub(r"[^\w]", "", prompt)).lower()

    if copied < len(prompts):
        text = prompts[copied].replace("1", "21").replace("$", " ")
    stored = {entry for prompt in prompts for entry in (prompt, key(prompt))}
    assert (KeyIndex(prompts).find(text) is not None) == (text in stored or key(text) in stored)


@pytest.mark.parametrize("length", [31, 32, 33])
def test_32_words_in_a_row(length):
    shared = " ".join(f"w{number}" for number in range(length))
    found = NgramIndex([f"before {shared} after"], [32]).find(f"one two three {shared} rest")
    assert (32 in found) == (length >= 32)
