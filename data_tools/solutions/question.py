"""What a problem asks for: a number, a list, a function, a choice or a proof, and under which name.

Read from the wording only. `extract` uses it to tell the quantity asked for from the other quantities of a
solution; `gradable` uses the proof test.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from data_tools.solutions.equations import equations
from data_tools.solutions.sentences import MASK, masked, maths_key, split_sentences

Kind = Literal["count", "probability", "list", "function", "tuple", "closed", "other"]

_ASK = re.compile(
    r"\b(?:find|determine|compute|calculate|evaluate|what|how|which|simplify|express|solve|give|state|where|"
    r"when|who|write|estimate|let\s+\x01\s+be\s+the)\b|\?|_{3,}|\\underline",
    re.IGNORECASE,
)
_TARGET = re.compile(
    r"\b(?:find|determine|compute|calculate|evaluate|what\s+(?:is|are)|simplify|express|solve|give)\b"
    r"[^\x01.?!]{0,90}?\x01(?:\s*,?\s*and\s+\x01)?",
    re.IGNORECASE,
)
_PROOF = re.compile(
    r"\bwith\s+(?:full\s+)?(?:proof|justification)\b|\b(?:explain\s+why|disprove)\b|(?<!need\sto\s)\bprove\b"
    r"|(?:^|[.:;,)*\n]\s*|\b(?:and|then|to|also|or|must|please|\(?[a-d1-4]\))\s+)"
    r"(?:show\s+(?:that|how)|verify\s+that|demonstrate|justify)\b",
    re.IGNORECASE,
)
_VALUE = re.compile(
    r"(?:^|[.,;:?!)]\s*|\b(?:and|then|to|also|furthermore|or)\s+)\(?\s*"
    r"(?:find|determine|compute|calculate|evaluate|(?:for\s+)?(?:what|which)|how\s+(?:many|much|long|far|old))\b"
    r"|\b(?:what\s+(?:is|are)|how\s+(?:many|much))\b",
    re.IGNORECASE | re.MULTILINE,
)
_ONE_VALUE = re.compile(
    r"\b(?:sum|product|number|how\s+many|smallest|largest|least|greatest|minimum|maximum|minimal|maximal|"
    r"average|mean|difference|total|probability|area|volume|length|remainder|ratio|expected)\b",
    re.IGNORECASE,
)
_ALL = re.compile(
    r"\b(?:all|every|values|solutions|roots|pairs|triples|quadruples|integers|primes|those|intercepts|"
    r"coordinates|for\s+(?:which|what))\b",
    re.IGNORECASE,
)
_COUNT = re.compile(r"\bhow\s+many\b|\bnumber\s+of\b", re.IGNORECASE)
_COUNTED = re.compile(r"\b(?:how\s+many|number\s+of)\s+((?:[a-z\x01-]+\s*){1,5})", re.IGNORECASE)
_CLOSED = re.compile(
    r"^(?:\([a-z\d]\)\s*)?(?:is|are|does|do|can|could|must|will)\s|\b(?:true\s+or\s+false|yes\s+or\s+no)\b"
    r"|,\s*(?:is\s+it\s+possible|can\s+(?:we|you|one|he|she|it))\b[^,]*\?$",
    re.IGNORECASE,
)
_IN_TERMS = re.compile(
    r"\bin\s+terms\s+of\b|\bas\s+a\s+function\s+of\b|\bfor\s+each\s+(?:positive\s+)?integer\b", re.IGNORECASE
)
_EVERY = re.compile(
    r"\b(?:find|determine|describe)\b[^.?:;]{0,30}?\ball\b|\bfor\s+(?:which|what)\b|\blocus\b", re.IGNORECASE
)
_WORD = re.compile(r"[a-z]{3,}")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_LETTER = re.compile(r"(?<![a-zA-Z\\])[a-zA-Z](?![a-zA-Z])")
_STOP_WORDS = """
the and for that with are all such what how many find value determine compute this which there from has
have its can then given let number possible real answer must not into each than one two any following
will was were where when does their they exactly only also but both some thus hence therefore
"""
_STOP = frozenset(_STOP_WORDS.split())


@dataclass(frozen=True, slots=True)
class Question:
    """What a problem asks for.

    Args:
        kind: `count` (a whole number), `probability` (0 to 1), `list` (all values), `function`, `tuple`,
            `closed` (yes or no), or `other`.
        proof: `none`, `only` (prove, show) or `too` (a value and its proof).
        targets: Keys of the maths right behind the words that ask: `m+n` in "Find $m+n$".
        symbols: Keys of all maths in the sentences that ask.
        words: Content words of the sentences that ask.
        nouns: What is counted: "how many red balls" gives red and ball.
        numbers: Numbers that the problem states.
        letters: Single letters in the maths of the problem.
        asked_letters: Those in the sentences that ask.
        in_terms: The answer is wanted in terms of a letter.
        all: Every solution is wanted: "find all pairs", "for which n".
        text: The sentences that ask, maths as `MASK`.
    """

    kind: Kind
    proof: Literal["none", "only", "too"]
    targets: frozenset[str]
    symbols: frozenset[str]
    words: frozenset[str]
    nouns: frozenset[str]
    numbers: frozenset[str]
    letters: frozenset[str]
    asked_letters: frozenset[str]
    in_terms: bool
    all: bool
    text: str


def content_words(text: str) -> frozenset[str]:
    """Words of three letters and more that carry meaning, in lower case, a plural s taken off."""
    return frozenset(word.rstrip("s") for word in _WORD.findall(text.lower()) if word not in _STOP)


@lru_cache(maxsize=256)
def read_question(problem: str) -> Question:
    """Read what a problem asks for. An empty problem asks for anything."""
    text, spans = masked(problem)
    sentences = split_sentences(text)
    asking = [sentence for sentence in sentences if _ASK.search(sentence.text)] or sentences[-1:]
    asking = asking[-2:]
    words = " ".join(sentence.text for sentence in asking)
    symbols: set[str] = set()
    targets: set[str] = set()
    for sentence in asking:
        own = spans[sentence.first : sentence.first + sentence.text.count(MASK)]
        symbols |= {maths_key(span) for span in own}
        for match in _TARGET.finditer(sentence.text):
            end = sentence.text.count(MASK, 0, match.end())
            for span in own[end - match.group().count(MASK) : end]:
                targets |= _names(span)
    maths = " ".join(spans)
    target = " ".join(span for part in asking for span in spans[part.first : part.first + part.text.count(MASK)])
    return Question(
        kind=_kind(asking[-1].text if asking else "", spans),
        proof=_proof(text),
        targets=frozenset(targets),
        symbols=frozenset(symbols),
        words=content_words(words),
        nouns=frozenset().union(*(content_words(match[1]) for match in _COUNTED.finditer(words))),
        numbers=frozenset(_NUMBER.findall(problem)),
        letters=frozenset(_LETTER.findall(maths)),
        asked_letters=frozenset(_LETTER.findall(target)),
        in_terms=_IN_TERMS.search(text) is not None,
        all=_EVERY.search(words) is not None,
        text=words,
    )


def _names(span: str) -> set[str]:
    """The names under which an asked expression may return: itself, and its side of an equation."""
    names = {maths_key(span)}
    for equation in equations(span):
        names.add(maths_key(equation.left or equation.right))
    return names - {""}


def _kind(sentence: str, spans: list[str]) -> Kind:
    lower = sentence.lower()
    if ("function" in lower or "polynomial" in lower) and not _ONE_VALUE.search(sentence):
        return "function"
    if "probability" in lower or "chance" in lower:
        return "probability"
    if _COUNT.search(sentence):
        return "count"
    if _CLOSED.search(sentence):
        return "closed"
    if re.search(r"\b(?:ordered\s+(?:pair|triple)|pairs?|triples?|quadruples?|coordinates)\b", lower):
        return "tuple"
    if _ALL.search(sentence) and not _ONE_VALUE.search(sentence):
        return "list"
    return "other"


def _proof(text: str) -> Literal["none", "only", "too"]:
    if not _PROOF.search(text):
        return "none"
    return "too" if _VALUE.search(text) else "only"
