r"""`m+n` of an answer $\frac{m}{n}$: contest problems ask for a whole number made of the parts of the real answer.

"... is $\frac{m}{n}$, where $m$ and $n$ are relatively prime. Find $m+n$": a solution that stops at $\frac{17}{18}$
has the answer 35. The form, the letters and the sum all come from the problem; a value that does not have the form
gives nothing.
"""

from __future__ import annotations

import re
from functools import lru_cache

from data_tools.solutions.sentences import masked, maths_key

_SUM = re.compile(r"\d*[a-zA-Z](?:\+\d*[a-zA-Z])+")
_TERM = re.compile(r"(\d*)([a-zA-Z])")
_SLASH = re.compile(r"(?<![\w}])(\w+)/(\w+)(?![\w{])")
_ASKS = re.compile(r"\b(?:find|compute|determine|what\s+is|evaluate)[^.?!]*$", re.IGNORECASE)


def asked_sum(problem: str, value: str) -> str | None:
    """Return the whole number that the problem asks for, made from the parts of a value, or None.

    Args:
        problem: The problem.
        value: The quantity that the problem gives a form to, such as a fraction.
    """
    target, forms = _target_and_forms(problem)
    if not target:
        return None
    key = _SLASH.sub(r"\\frac{\1}{\2}", maths_key(value))
    for form, letters in forms:
        match = re.fullmatch(form, key)
        if match:
            parts = {letter: int(match[letter]) for letter in letters}
            return str(sum(int(factor or 1) * parts[letter] for factor, letter in _TERM.findall(target)))
    return None


@lru_cache(maxsize=256)
def _target_and_forms(problem: str) -> tuple[str, tuple[tuple[str, frozenset[str]], ...]]:
    """The sum asked for, and the forms as patterns with one group per letter."""
    text, spans = masked(problem)
    keys = [maths_key(span) for span in spans]
    marks = [at for at, char in enumerate(text) if char == "\x01"]
    sums = [key for key, at in zip(keys, marks, strict=True) if _SUM.fullmatch(key) and _ASKS.search(text[:at])]
    if not sums:
        return "", ()
    wanted = frozenset(letter for _, letter in _TERM.findall(sums[-1]))
    forms = []
    for key in dict.fromkeys(keys):
        pattern = _pattern(_SLASH.sub(r"\\frac{\1}{\2}", key), wanted)
        if pattern:
            forms.append((pattern, wanted))
    return sums[-1], tuple(forms)


def _pattern(form: str, wanted: frozenset[str]) -> str:
    """A form as a pattern; empty unless every letter of it stands for a number and all wanted ones occur once."""
    pieces: list[str] = []
    seen: list[str] = []
    for token in re.findall(r"\\[a-zA-Z]+|.", form, re.DOTALL):
        if len(token) == 1 and token.isalpha():
            seen.append(token)
            pieces.append(rf"(?P<{token}>\d{{1,12}})")
        else:
            pieces.append(re.escape(token))
    complete = len(seen) == len(set(seen)) and set(seen) == wanted and "+" not in form.lstrip("+")
    return "".join(pieces) if complete else ""
