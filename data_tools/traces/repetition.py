"""Share of a text that repeats itself."""

from __future__ import annotations

import re

_CJK = "\u3040-\u30ff\u4e00-\u9fff"
_PIECE = re.compile(rf"[^\W\d_{_CJK}]+|[{_CJK}]|\d|[^\w\s]|_")
_BASE, _MODULUS = 1_000_003, (1 << 61) - 1


def repeated_share(value: str, *, ngram: int = 40) -> float:
    """Return 1 - distinct / all n-grams of a text's pieces; 0 for a text of fewer pieces.

    Args:
        value: The text.
        ngram: Pieces per n-gram.
    """
    numbers: dict[str, int] = {}
    pieces = [numbers.setdefault(piece, len(numbers) + 1) for piece in _PIECE.findall(value)]
    count = len(pieces) - ngram + 1
    if count < 1:
        return 0.0
    seen: set[int] = set()
    rolling, oldest = 0, pow(_BASE, ngram, _MODULUS)
    for at, piece in enumerate(pieces):  # a rolling hash: the cost does not grow with the n-gram
        rolling = (rolling * _BASE + piece) % _MODULUS
        if at >= ngram:
            rolling = (rolling - pieces[at - ngram] * oldest) % _MODULUS
        if at >= ngram - 1:
            seen.add(rolling)
    return 1 - len(seen) / count
