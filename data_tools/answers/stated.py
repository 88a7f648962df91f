r"""Candidate final answers of a prediction; cheaper than `extract`, which reads worked solutions.

A bare answer is itself. In a longer text the last box or joined group of boxes counts, then the last answer phrase,
the last formula, the last number. `readings` gives the ways one answer text can be read (thousands, decimal comma).
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import replace

from data_tools.answers.marks import final_boxes, last_answer_phrase, last_maths, maths_spans
from data_tools.maths.number_words import CARDINALS, SCALES
from data_tools.maths.tokens import FUNCTIONS
from data_tools.maths.units import UNIT_WORDS

MAX_CHARS = 20_000
"""Of a longer prediction only the end is read: that is where the answer is."""
_BARE = 300
_NEAR_END = 2_500
_WORD = re.compile(r"\\[A-Za-z]+(?:\s*\{[A-Za-z ]*\})?|[^\W\d_]+")
_KNOWN_WORDS = (
    frozenset(FUNCTIONS) | frozenset(CARDINALS) | frozenset(SCALES) | UNIT_WORDS
    | frozenset(("and", "or", "pi", "sqrt", "infinity", "times", "choose", "in", "mod"))
)  # fmt: skip
_SHORT_WORDS = frozenset(("is", "the", "of", "to", "so", "we", "are", "has", "for", "not", "but", "was", "it", "by"))
_CHAT_END = re.compile(r"<\|(?:im_start|im_end|endoftext|eot_id)\|>.*", re.DOTALL)
_NAME = re.compile(r"\\?[A-Za-z]+(?:_\{?\w\}?)?'*(?:\([A-Za-z]\))?")
_NUMBER = re.compile(
    r"(?<![\w.,])(?:(?<![\w)\]}])[-−])?(?:\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:[.,]\d+)?|\.\d+)(?:/\d+)?%?"
    r"|(?<=[^\x00-\x7f])\d+(?:[.,]\d+)*"
)
_LATEX_RUN = re.compile(r"(?:\\[A-Za-z]+|[-+*/^_=(){}\[\].,!|<>\d √π²³−–×·]|(?<![A-Za-z])[a-zA-Z](?![A-Za-z]))+")
_JSON_ANSWER = re.compile(r'"answer"\s*:\s*("(?:[^"\\\n]|\\.)*"|\[[^\]\n]*\]|[-\d][\d.e+-]*)')
_SENTENCE_END = re.compile(r"[.!?]\s|\n\n")
_RESULT = re.compile(r"=[\s$*\\{]*(?:text\{)?([-−]?\d[\d,]*(?:\.\d+)?)")
_BOLD = re.compile(r"\*\*([^*\n]{1,80})\*\*")
_MARKED = re.compile(r"\s*(?:\*\*|`)([^*`\n]{1,300})(?:\*\*|`)\s*")
_SIGNED = re.compile(r"(?:[=$([{]\s*|^)[-−]\Z")
_LEAD = re.compile(r"^(?:[a-z]{3,}\s+){1,3}(?=[^a-z])")
_GROUPED = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")
_ZERO_GROUP = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})*,0\d\d(?!\d)")
_DECIMAL_COMMA = re.compile(r"[-+]?(?:\d+,\d{1,2}|0,\d+)(?!\d)")
_SPOKEN_MINUS = re.compile(r"(?:\bnegative|\A\s*minus)\s+(\$|\\\(|)(?=[\d\\])", re.IGNORECASE)
_CONNECTIVE = re.compile(r"\A\s*(?:so|thus|hence|therefore|ans(?:wer)?)\b[\s,:.]*(?=[-\d\\$(]|\w\s*=)", re.IGNORECASE)
_OPTION_PREFIX = re.compile(r"\(\s*[A-J]\s*\)\s*(?=\S)")


def candidates(text: str) -> list[str]:
    """Return what may be the answer in a text without a thought, the likeliest first; empty where there is nothing."""
    if not text.strip():
        return []
    text = text[-MAX_CHARS:]
    if marked := _MARKED.fullmatch(text):
        text = marked.group(1)
    if "<|" in text:
        text = _CHAT_END.sub("", text)
    if '"answer"' in text and (quoted := _JSON_ANSWER.findall(text)):
        return [_unquoted(quoted[-1])]
    text = _with_minus_signs(text)
    boxes = final_boxes(text) if "box" in text else []
    if boxes and (later := _behind(text, boxes[-1].end)):
        return [later]
    if boxes and _SIGNED.search(text, max(0, boxes[0].start - 20), boxes[0].start):
        boxes[0] = replace(boxes[0], content=f"-{boxes[0].content}")
    if boxes:
        joined = ", ".join(box.content for box in boxes)
        return [joined] if len(boxes) == 1 else [joined, boxes[-1].content]
    if _is_bare(text):
        text = _CONNECTIVE.sub("", text)
        number = last_number(text) if _prose(text[:_BARE]) else ""
        return [text, number] if number else [text]
    phrase = last_answer_phrase(text[-_NEAR_END:]) or last_answer_phrase(text)
    answers = _stated(phrase.content) if phrase else _in_sentence(text)
    if phrase and not answers:
        return [phrase.content]
    said = phrase is not None and phrase.content.lstrip("$*\\ ").startswith(answers[0] if answers else "")
    if answers and not said and _NUMBER.fullmatch(answers[0]):
        answers[0] = _concluded(text) or answers[0]
    if len(text) <= _BARE and "\n" not in text.strip():
        answers.append(text)
    return answers


def _with_minus_signs(text: str) -> str:
    """Return a text in which "negative 5" is -5; "10 minus 5" is no such thing."""
    return _SPOKEN_MINUS.sub(r"\1-", text) if "egative" in text or "inus" in text else text


def _unquoted(value: str) -> str:
    """Return the text of a JSON value; LaTeX in it is often not escaped."""
    if not value.startswith('"'):
        return value
    inner = value[1:-1]
    return inner.replace("\\\\", "\\").replace('\\"', '"')


def _behind(text: str, end: int) -> str:
    """Return an answer that is stated once more behind the last box: the last statement counts."""
    phrase = last_answer_phrase(text[end:]) if "nswer" in text[end:] else None
    if not phrase:
        return ""
    answers = _stated(phrase.content)
    return answers[0] if answers and (answers[0] != phrase.content or not _prose(answers[0])) else ""


def _concluded(text: str) -> str:
    """Return the number of the last sentence that the last equation came to: "so 10 spoons make 80 balls"."""
    tail = text[-1_500:].rstrip().rstrip(".!*")
    results = _RESULT.findall(tail)
    if not results:
        return ""
    boundary = deque(_SENTENCE_END.finditer(tail), maxlen=1)
    last_sentence = tail[boundary[0].end() :] if boundary else tail
    value = _plain_value(results[-1])
    numbers = [match.group() for match in _NUMBER.finditer(last_sentence)]
    return next((number for number in numbers if _plain_value(number) == value), "")


def _plain_value(number: str) -> str:
    plain = number.replace(",", "").rstrip("%")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def _stated(content: str) -> list[str]:
    """Return the answer in what follows an answer phrase: what it begins with, else what `_in_sentence` finds."""
    bare = content.strip().rstrip(".")
    spans = maths_spans(bare)
    if spans and not spans[0].start and _is_formula(spans[0].content):
        return [spans[0].content]
    bold = _BOLD.findall(bare)
    if bold and any(char.isdigit() for char in bold[-1]):
        return _in_sentence(bold[-1])
    if not spans:
        without_lead = _LEAD.sub("", bare)
        if not _prose(without_lead):
            return [without_lead]
        number = _NUMBER.match(bare.lstrip("$\\"))
        if number:
            return [number.group()]
    return _in_sentence(content)


def _in_sentence(text: str) -> list[str]:
    """Return the last formula, run of LaTeX without delimiters, or number of a text."""
    spans = maths_spans(text)
    formula = spans[-1] if spans else None
    rest = text[formula.end :] if formula else text
    number = last_number(rest)
    if formula and not _is_formula(formula.content):  # dollars that are money
        formula, rest = None, text
        number = last_number(text)
    if formula and not (number and _is_talked_over(formula.content, rest, number)):
        return [formula.content]
    if "\\" in rest or not rest.isascii():
        runs = [run.strip() for run in _LATEX_RUN.findall(rest)]
        latex = next((run for run in reversed(runs) if "\\" in run or any(c.isdigit() for c in run)), "")
        if "\\" in latex or "√" in latex or "π" in latex:
            return [latex.strip(" .,*")]
    if not number and len(text) <= 100 and not spans:
        return [text.strip()]
    return [number] if number else []


def _is_formula(content: str) -> bool:
    return (
        len(content) <= _BARE
        and "**" not in content
        and "\n\n" not in content
        and content[-1] not in "=+-*/÷×"
        and _prose(content) < 2
    )


def _is_talked_over(formula: str, rest: str, number: str) -> bool:
    """Whether a number behind a formula is the answer: the formula is a name, or a later sentence has the number."""
    return bool(_NAME.fullmatch(formula.strip()) or _SENTENCE_END.search(rest[: rest.rfind(number)]))


def last_number(text: str) -> str:
    """Return the last number of a text, decimal commas included, or an empty text."""
    for reach in (200, 4_000):
        numbers = deque(_NUMBER.finditer(text[-reach:]), maxlen=1)
        if numbers and (numbers[0].start() or len(text) <= reach):  # a number at the cut may be half of one
            return numbers[0].group()
    return ""


def _is_bare(text: str) -> bool:
    stripped = text.strip()
    if "####" in stripped or "\n\n" in stripped:
        return False
    if len(stripped) > _BARE:
        return not any(char.isspace() for char in stripped[:_BARE]) or not _prose(stripped[:2_000])
    words = _prose(stripped)
    if not words:
        return True
    return words == 1 and not (last_maths(stripped) or last_answer_phrase(stripped))


def _prose(text: str) -> int:
    """Count the words of running text: not names, functions, units, or what text commands hold."""
    words = 0
    for word in _WORD.findall(text):
        if not word.isascii() and word[0] != "\\":
            words += 2 * (len(word) > 1)
        elif word in _SHORT_WORDS or (len(word) > 3 and word[0] != "\\" and word.lower() not in _KNOWN_WORDS):
            words += 1
    return words


def readings(cleaned: str) -> list[str]:
    """Return how a cleaned answer can be read: thousands joined outside brackets, as it is, with a decimal comma."""
    texts = [cleaned]
    if "," in cleaned:
        joined = _join_groups(cleaned)
        if joined != cleaned:
            texts = [joined] if _ZERO_GROUP.search(cleaned) else [joined, cleaned]
        if _DECIMAL_COMMA.fullmatch(cleaned):
            texts.append(cleaned.replace(",", "."))
    without_option = _OPTION_PREFIX.sub("", cleaned, count=1) if cleaned.startswith("(") else cleaned
    if without_option != cleaned:
        texts.append(without_option)
    return texts


def _join_groups(text: str) -> str:
    if not any(bracket in text for bracket in "([{"):
        return _GROUPED.sub(lambda match: match.group().replace(",", ""), text)
    pieces: list[str] = []
    depth = at = 0
    for match in _GROUPED.finditer(text):
        before = text[at : match.start()]
        depth += sum(map(before.count, "([{")) - sum(map(before.count, ")]}"))
        pieces += [before, match.group() if depth > 0 else match.group().replace(",", "")]
        at = match.end()
    return "".join(pieces) + text[at:]
