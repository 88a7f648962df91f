"""Cues of the candidate ranking: position, surrounding words, fit to the question.

A cue is a name; `data_tools.solutions.ranking` holds the weights.
"""

from __future__ import annotations

import re

from data_tools.solutions.candidates import Item, Statement
from data_tools.solutions.question import Question, content_words
from data_tools.solutions.sentences import maths_key

_SAYS = {
    "answer": re.compile(r"\banswers?\b", re.IGNORECASE),
    "therefore": re.compile(
        r"\b(?:therefore|hence|thus|so|consequently|it\s+follows|we\s+(?:conclude|deduce|find|get)|"
        r"gives?|yields?|giving|yielding)\b",
        re.IGNORECASE,
    ),
    "finally": re.compile(
        r"\b(?:finally|in\s+conclusion|in\s+summary|in\s+total|altogether|total|overall|to\s+conclude|in\s+all)\b",
        re.IGNORECASE,
    ),
    "wanted": re.compile(
        r"\b(?:desired|requested|required|sought|wanted|asked|we\s+(?:want|seek|need)|solutions?)\b", re.IGNORECASE
    ),
    "extreme": re.compile(
        r"\b(?:maxim\w+|minim\w+|smallest|largest|least|greatest|most|highest|lowest)\b", re.IGNORECASE
    ),
    "example": re.compile(
        r"\b(?:achiev\w+|attain\w+|equality|examples?|construct\w*|consider|indeed|check\w*|verif\w+|satisf\w+|"
        r"impossible|contradiction|note|remark|recall)\b",
        re.IGNORECASE,
    ),
    "claim": re.compile(r"\b(?:claim|show|prove|proof|induct\w+|lemma)\b", re.IGNORECASE),
    "premise": re.compile(
        r"^\W*(?:if|suppose|assume|case|let|when|for|since|because|now|first|next|note|consider|given|similarly|"
        r"step|method|solution)\b",
        re.IGNORECASE,
    ),
    "conclusion": re.compile(
        r"^\W*(?:therefore|hence|thus|so|finally|in\s+total|altogether|it\s+follows)\b", re.IGNORECASE
    ),
    "only": re.compile(r"\bonly\b", re.IGNORECASE),
}
_BEFORE = {
    "is": re.compile(
        r"\b(?:is|are|equals?|be|was|becomes?|being)(?:\s+(?:thus|therefore|then|hence|simply|just|exactly|"
        r"equal|to|clearly|only|precisely|given\s+by|indeed))*\s*:?\s*$",
        re.IGNORECASE,
    ),
    "get": re.compile(
        r"\b(?:get|obtain|have|find|yields?|gives?|giving|yielding|conclude|us|leaves?|leaving|that|thus|so|hence|"
        r"therefore|then|means|implies|namely)\s*(?:that\s*)?[,:]?\s*$",
        re.IGNORECASE,
    ),
    "bound": re.compile(r"\b(?:at\s+(?:most|least)|(?:more|less|fewer|greater)\s+than|than)\s*$", re.IGNORECASE),
    "premise": re.compile(
        r"\b(?:if|when|let|suppose|assume|for|where|with|since|because|by|from|taking|using|setting|case|while|"
        r"in|on|mod|modulo|first|least|between|every|any|each)\s*$",
        re.IGNORECASE,
    ),
    "of": re.compile(r"\b(?:of|to|a|an|the)\s*$", re.IGNORECASE),
    "count": re.compile(
        r"\b(?:there\s+(?:are|is|will\s+be|were)|total\s+of|exactly|has|have|having|altogether)\s*$", re.IGNORECASE
    ),
    "choice": re.compile(r"\b(?:or|and)\s*,?\s*$", re.IGNORECASE),
    "answer-is": re.compile(
        r"\b(?:answers?|(?:desired|required|requested|sought)\s+\w+)\b[^.\x01]{0,60}?\b(?:is|are|equals?|be|=|:)\s*"
        r"(?:\w+\s+){0,2}$",
        re.IGNORECASE,
    ),
}
_AFTER = {
    "done": re.compile(
        r"^\W*(?:works?|satisf\w+|in\s+total|altogether|and\s+we\s+are\s+done|as\s+(?:desired|claimed|required|"
        r"needed)|is\s+(?:the|our)\s+(?:\w+\s+)?(?:answer|solution|maximum|minimum|value))\b",
        re.IGNORECASE,
    ),
    "verb": re.compile(r"^\s*(?:is|are|has|have|can|must|does|divides|satisf\w+)\b", re.IGNORECASE),
    "premise": re.compile(r"^\W*(?:because|since|if|when|where|for|with|but|by|as|then|of)\b", re.IGNORECASE),
    "next": re.compile(r"^\s*(?:,|and|or)\s*[\x01\d]"),
}
_INTEGER = re.compile(r"-?\d+")
_ARITHMETIC = re.compile(
    r"(?:\\(?:cdot|times|frac|dfrac|tfrac|sqrt|binom|pi|left|right|div|circ|degree|%|,|!|ldots|dots|cdots)(?![a-zA-Z])"
    r"|\\[,!%]|[-+*/^!\d\s().{},\[\]|])+"
)
_APPLIED = re.compile(r"\\?[a-zA-Z]+(?:_\{?\w+\}?)?\((?:\w|\*)+\)|\(\*+\)")
_LETTER = re.compile(r"(?<![a-zA-Z\\])[a-zA-Z](?![a-zA-Z])")
_COMMAND = re.compile(r"\\[a-zA-Z]+")
_OPERATION = re.compile(r"(?<=[\w)}\]!])\s*(?:[-+*/]|\\cdot|\\times|\\div)")
_BARE_LETTER = re.compile(r"\\?[a-zA-Z]+(?:_\{?\w+\}?)?'*")
_TUPLE = re.compile(r"(?:\\left)?\s*[(\[].*,.*[)\]]", re.DOTALL)


def statement_cues(statement: Statement, question: Question) -> list[str]:
    """Cues that all candidates of a statement share."""
    text = statement.text
    place = min(statement.from_end, 4) if statement.from_end < 7 else 9
    cues = [f"from-end:{place}"]
    if statement.from_start < 2 and statement.from_end > 1:
        cues.append(f"from-start:{statement.from_start}")
    cues += [f"says:{name}" for name, pattern in _SAYS.items() if pattern.search(text)]
    if statement.ends_paragraph and statement.from_end:
        cues.append("ends-paragraph")
    return cues


def repeat_cues(count: int, places: int) -> list[str]:
    """Cues of a value that stands in several places.

    Args:
        count: How many candidates have this value.
        places: In how many statements they stand.
    """
    return [f"count:{min(count, 4)}", f"places:{min(places, 4)}"]


def item_cues(statement: Statement, number: int, question: Question) -> list[str]:
    """Cues of one candidate of a statement."""
    items = statement.items
    item = items[number]
    text = statement.text
    before, after = text[max(0, item.start - 60) : item.start], text[item.end : item.end + 60]
    single = [other for other in items if other.size == 1]
    last = item.end >= single[-1].end and item.closes_span
    cues = [f"kind:{item.kind}", "last" if last else "not-last"]
    if last and not after.strip(" .!)\n"):
        cues.append("ends-sentence")
    if item.start == single[0].start and last:
        cues.append("alone")
    cues += [f"before:{name}" for name, pattern in _BEFORE.items() if pattern.search(before)]
    cues += [f"after:{name}" for name, pattern in _AFTER.items() if pattern.search(after)]
    if "answer" in text.lower():
        cues.append("last-of-answer-sentence" if last else "in-answer-sentence")
    if last and statement.from_end == 0:
        cues.append("very-last")
    if last and any(cue.startswith("before:") for cue in cues):
        cues.append("last-behind-words")
    cues += _name_cues(item, before, question)
    cues += _word_cues(item, before, after, text, question)
    cues += value_cues(item, question)
    return cues


def _name_cues(item: Item, before: str, question: Question) -> list[str]:
    """Whether the candidate is said of the quantity asked for."""
    equation = item.equation
    if equation is None or not equation.relation:
        return ["no-name"]
    cues = [f"relation:{equation.relation}"]
    if equation.length > 2:
        cues.append("long-chain")
    left = maths_key(equation.left)
    if _APPLIED.fullmatch(left):
        cues.append(f"{question.kind}:left:applied")
    if not left:
        cues.append("left:none")
    elif left in question.targets:
        cues.append("left:target")
    elif left in question.symbols:
        cues.append("left:asked")
    elif _ARITHMETIC.fullmatch(equation.left):
        cues.append("left:arithmetic")
    elif _BARE_LETTER.fullmatch(equation.left):
        cues.append("left:other-letter")
    else:
        cues.append("left:other")
    return cues


def _word_cues(item: Item, before: str, after: str, text: str, question: Question) -> list[str]:
    cues = []
    following = content_words(" ".join(after.split()[:4]))
    if question.nouns and following & question.nouns:
        cues.append("counts-noun")
    shared = len(content_words(text) & question.words)
    if question.words:
        share = shared / len(question.words)
        cues.append(
            "asked-words:" + ("most" if share >= 0.6 else "half" if share >= 0.35 else "some" if shared else "none")
        )
    return cues


def value_cues(item: Item, question: Question) -> list[str]:
    """How the value itself fits the question."""
    answer = item.answer
    cues = []
    bare = answer.replace(" ", "").replace(",", "") if item.size == 1 else answer
    shape = _shape(answer, bare, item)
    cues.append(f"{question.kind}:{shape}")
    cues.append(f"shape:{shape}")
    if bare in question.numbers:
        cues.append("stated-in-problem")
    letters = set(_LETTER.findall(_COMMAND.sub(" ", answer)))
    if letters:
        cues.append("letters:known" if letters <= question.letters else "letters:new")
        cues.append("letters:asked" if letters <= question.asked_letters else "letters:not-asked")
    elif question.asked_letters:
        cues.append("letters:missing")
    if question.in_terms:
        cues.append("in-terms:yes" if letters else "in-terms:no")
    if _APPLIED.fullmatch(maths_key(answer)):
        cues.append("applied")
    if len(answer) > 50:
        cues.append("long")
    return cues


def _shape(answer: str, bare: str, item: Item) -> str:
    if item.size > 1:
        return "list"
    if _INTEGER.fullmatch(bare):
        return "integer"
    if _BARE_LETTER.fullmatch(answer):
        return "letter"
    if _TUPLE.fullmatch(answer):
        return "tuple"
    if "," in answer and "(" not in answer:
        return "list"
    if _ARITHMETIC.fullmatch(answer):
        return "sum" if _OPERATION.search(answer) and "\\" not in answer else "number"
    return "expression"
