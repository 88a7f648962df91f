r"""The n-gram and key tests that others decontaminate with, in one fast pass.

Light-R1 (arXiv 2503.10460 §3.1.2) flags a training prompt whose key without digits is a benchmark's, or that shares 32
words in a row; open-r1 and s1 flag 8 words in a row. Words are what lies between blanks, in lower case. Almost no
training prompt shares anything, so the work is to see that fast: of the short blocks of words that begin at every k-th
word, each window of n words holds a whole one, so only windows around a benchmark's blocks are looked at.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_NOT_LETTERS = re.compile(r"[\W\d]+")
_PREFIX = 12
_GLANCE = 28


def digitless_key(prompt: str) -> str:
    r"""Return Light-R1's key: without characters that are no `\w`, without digits, in lower case."""
    return _NOT_LETTERS.sub("", prompt).lower()


def words(text: str) -> list[str]:
    """Return the words of a text in lower case."""
    return text.lower().split()


class KeyIndex:
    """Finds prompts that equal a benchmark's prompt up to digits, blanks, punctuation and case.

    Args:
        prompts: The benchmark's prompts.
    """

    def __init__(self, prompts: Sequence[str]) -> None:
        self._keys: dict[str, int] = {}
        for number, prompt in enumerate(prompts):
            self._keys.setdefault(prompt, number)
            self._keys.setdefault(digitless_key(prompt), number)
        self._starts = {digitless_key(key)[:_PREFIX] for key in self._keys}

    def find(self, prompt: str) -> int | None:
        """Return the number of the benchmark's prompt that this one equals, or None."""
        start = _NOT_LETTERS.sub("", prompt[:_GLANCE])
        # One letter more than compared: the lower case of a sigma depends on the next letter.
        if len(start) > _PREFIX and start.lower()[:_PREFIX] not in self._starts:
            return None
        match = self._keys.get(prompt)
        return self._keys.get(digitless_key(prompt)) if match is None else match


class NgramIndex:
    """Finds prompts that share n words in a row with a benchmark's prompt.

    Args:
        prompts: The benchmark's prompts.
        sizes: The values of n.
    """

    def __init__(self, prompts: Sequence[str], sizes: Sequence[int]) -> None:
        self.sizes = sorted(sizes)
        self._grams: dict[int, dict[str, int]] = {size: {} for size in self.sizes}
        shortest = self.sizes[0] if self.sizes else 1
        self._block = min(shortest, max(5, shortest // 4))
        self._stride = shortest - self._block + 1
        self._blocks: set[tuple[str, ...]] = set()
        for number, prompt in enumerate(prompts):
            tokens = words(prompt)
            if len(tokens) >= shortest:
                self._blocks.update(zip(*(tokens[start:] for start in range(self._block)), strict=False))
            for size, grams in self._grams.items():
                for start in range(len(tokens) - size + 1):
                    grams.setdefault(" ".join(tokens[start : start + size]), number)

    def find(self, prompt: str) -> dict[int, int]:
        """Return size -> number of the first benchmark prompt that shares so many words in a row."""
        match = words(prompt)
        hits: dict[int, int] = {}
        aligned = list(zip(*(match[start :: self._stride] for start in range(self._block)), strict=False))
        if self._blocks.isdisjoint(aligned):
            return hits
        for size in self.sizes:
            number = self._first(match, aligned, size)
            if number is None:
                break  # whoever shares more words in a row shares fewer
            hits[size] = number
        return hits

    def _first(self, tokens: list[str], aligned: list[tuple[str, ...]], size: int) -> int | None:
        """Look at the windows that begin in, or just before, a block that a benchmark has."""
        grams, stride, blocks = self._grams[size], self._stride, self._blocks
        done = 0
        for position, words_of_block in enumerate(aligned):
            if words_of_block not in blocks:
                continue
            last = min(position * stride, len(tokens) - size)
            for start in range(max(done, position * stride - stride + 1), last + 1):
                number = grams.get(" ".join(tokens[start : start + size]))
                if number is not None:
                    return number
            done = last + 1
        return None
