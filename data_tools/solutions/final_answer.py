r"""The final answer of a worked solution or a model output, without an LLM; or no answer, with the reason.

Routes, the surest first: an explicit mark (`####`, a box, a line "Answer: ..."), an option letter, a bold final line,
and for solutions that mark nothing the candidate that `data_tools.solutions.ranking` thinks likeliest. Several
solutions behind one another (AoPS pages) give the majority of their boxes. Where the problem asks for a proof, or no
candidate is likely enough, `extract_answer` abstains. Thoughts in think tags are never read. Nothing is computed or
evaluated.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from data_tools.answers.marks import Span, boxed_spans, final_boxes, maths_spans
from data_tools.answers.multiple_choice import option_letter, read_choices, without_label
from data_tools.solutions.asked_sum import asked_sum
from data_tools.solutions.candidates import statements
from data_tools.solutions.equations import equations
from data_tools.solutions.proofs import answers_closed, is_statement, proof_marks
from data_tools.solutions.question import Question, read_question
from data_tools.solutions.ranking import ranked
from data_tools.solutions.sentences import maths_key, tidy
from data_tools.traces.thoughts import behind_any_tag

LONGEST_TEXT = 200_000
"""Of a longer text only the end is read."""
LEAST_CONFIDENCE = (0.38, 0.45, 0.55, 0.6)
"""Of an unmarked answer, by `proof_marks`; below it `extract_answer` abstains. Chosen by cross-validation on the
worked solutions of OlympiadBench and HARP."""

_HASHES = re.compile(r"####[ \t]*(?P<answer>[^\n#]+?)[ \t]*(?=\n|$)")
_LABELLED = re.compile(
    r"(?:^|\n|(?<=[.!?)\d])[ \t])[ \t#>*(]*(?:(?:the|final|correct|right)[ \t]+)*(?:answer|ans|(?-i:A)(?=[ \t]*:))\**"
    r"[ \t]*(?:[:=：][ \t]*|is[ \t]*:[ \t]*|is,?[ \t]+(?=(?:option[ \t]+)?\(?[A-J]\)?[ \t.*)]*(?:\n|$))|"
    r"[ \t]+(?=(?:option[ \t]+)?\(?[A-J]\)?[ \t.*)]*(?:\n|$)))\**[ \t]*"
    r"(?P<answer>[^\n]+?)[ \t]*(?=\n|$)",
    re.IGNORECASE,
)
_FIELD = re.compile(
    r'"(?:final_?)?answer"\s*:\s*(?:"(?P<text>[^"\n]{1,200})"|(?P<number>-?[\d.]+))\s*,?\s*\}[\s`]*$', re.IGNORECASE
)
_OPTION = re.compile(
    r"\b(?:(?:option|choice)(?:\s+is)?|answers?\s+(?:is|are|will\s+be|would\s+be|should\s+be)\s*,?\s*(?:option|choice)?|"
    r"it'?s|answer\s*[:=-]+\s*(?:option|choice)?)\s*[:-]?\s*"
    r"(?:\$?\\?(?:text\w*\{)?\((?P<a>[A-J])\)|\$(?P<b>[A-J])\$|\**(?P<c>[A-J])(?=\s*(?:[.,;!*)]|\n|$|is\s)))",
    re.IGNORECASE,
)
_CHOICE_LAST = re.compile(
    r"(?:\b(?:hence|so|thus|therefore)\b,?\s*(?:the\s+answer\s+is\s+)?\((?P<a>[A-J])\)|>>\s*(?P<b>[A-J])\s*$)",
    re.IGNORECASE,
)
_LAST_LINE_LETTER = re.compile(r"(?:^|\n)[ \t*(]*(?P<letter>[A-Ja-j])[ \t*).]*$")
_BOLD = re.compile(r"\*\*(?P<answer>[^*\n]{1,80})\*\*[ \t.]*$")
_BOLD_PART = re.compile(r"\*\*(?P<answer>[^*]+)\*\*")
_EMPTY = re.compile(r"(?:\s|\\(?:phantom|hspace)\{[^{}]*\}|[.,_?$])*")
_NAME = re.compile(r"\\?[a-zA-Z]+(?:_\{?\w+\}?)?")
_ASKS_LETTER = re.compile(
    r"\b(?:letter|correct\s+(?:option|choice|answer)|which\s+of\s+(?:the\s+)?(?:following|\w+\s+below))\b",
    re.IGNORECASE,
)
_ASKS_ALL = re.compile(r"\b(?:all|solutions|values|separated\s+by|find\s+the\s+\w+s)\b", re.IGNORECASE)
_ASKS_ONE = re.compile(r"\bonly\s+one\b|\beither\s+of\b|\bone\s+of\s+the\b|\bnot\s+both\b", re.IGNORECASE)
_COMMAND = re.compile(r"\\[a-zA-Z]+")
_TEXT_COMMAND = re.compile(r"\b(?:and|or|cm|in|ft|mi|hours?|minutes?|degrees?|feet|inches|percent|cents)\b")
_WORD = re.compile(r"[a-zA-Z]{2,}")
_EMPTY_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{\s*\}")
_ZEROS = re.compile(r"0+(?=\d)\d+")


@dataclass(frozen=True, slots=True)
class Extraction:
    """What was found in a text.

    Args:
        answer: The answer as text, or None where there is none to be sure of.
        method: The route that found it (`hashes`, `box`, `majority of boxes`, `label`, `option`, `bold`, `asked sum`,
            `ranked`), or, without an answer, the reason: `empty`, `proof`, `empty box`, `unsure` or `nothing`.
        confidence: Estimated probability, 0 to 1, that the answer is right; it orders extractions.
    """

    answer: str | None
    method: str
    confidence: float


def extract_answer(solution: str, problem: str | None = None) -> Extraction:
    r"""Find the final answer that a text states.

    Args:
        solution: A worked solution, several behind one another, or a model output.
        problem: The problem: tells what is asked for, and the options of a multiple choice.

    Returns:
        The extraction; `answer` is None where the text states none or none is likely enough. Never raises.

    Example:
        >>> extract_answer("Adding up gives $x=2+3=5$, so the answer is \\boxed{\\textbf{(C) }5}.")
        Extraction(answer='5', method='box', confidence=0.99)
    """
    body = behind_any_tag(solution[-LONGEST_TEXT:]).strip()
    if not body:
        return Extraction(None, "empty", 1.0)
    question = read_question(problem or "")
    if question.proof == "only":
        return Extraction(None, "proof", 0.9)
    choices = _mapped_choices(problem) if problem else {}
    extraction = _from_hashes(body) or _from_boxes(body, question) or _from_label(body)
    if extraction is None and (not problem or read_choices(problem)):
        extraction = _from_option(body)
    extraction = extraction or _from_bold(body)
    if question.proof == "too" and (extraction is None or extraction.method == "box"):
        return Extraction(None, "proof", 0.6)
    if (
        extraction
        and extraction.method == "box"
        and is_statement(extraction.answer or "", question, proof_marks(body))
    ):
        return Extraction(None, "proof", 0.6)
    answer = _finished(extraction.answer, extraction.method, choices) if extraction and extraction.answer else ""
    if not extraction or not answer:
        return _from_statements(body, question, problem or "")
    return Extraction(answer, extraction.method, extraction.confidence)


def _from_hashes(body: str) -> Extraction | None:
    marks = list(_HASHES.finditer(body)) if "####" in body else []
    if not marks or body[marks[-1].end() :].strip():
        return None
    return Extraction(marks[-1]["answer"].strip(), "hashes", 0.99)


def _from_boxes(body: str, question: Question) -> Extraction | None:
    """The last group of boxes, unless an earlier value is boxed more often: then several solutions agree on it."""
    last = _own_boxes(body, question)
    spans = [span for span in boxed_spans(body) if not _EMPTY.fullmatch(span.content)]
    if not last and not spans:
        return None
    final = ", ".join(without_label(span.content) for span in last or spans[-1:])
    if len(last) > 1 or len(spans) <= 1:
        return Extraction(final, "box", 0.99)
    votes: dict[str, int] = {}
    texts: dict[str, str] = {}
    for span in spans:
        answer = without_label(span.content)
        key = _vote_key(answer)
        votes[key] = votes.get(key, 0) + 1
        texts[key] = answer
    winner = max(votes, key=lambda key: votes[key])
    own = votes.get(_vote_key(final), 1)
    total = sum(votes.values())
    if votes[winner] > own and votes[winner] >= 2:
        return Extraction(texts[winner], "majority of boxes", 0.6 + 0.38 * votes[winner] / total)
    return Extraction(final, "box", 0.7 + 0.29 * own / total)


def _own_boxes(body: str, question: Question) -> list[Span]:
    """The last box, with those it makes one answer with: joined by more than "or", where all values are asked."""
    group = [span for span in final_boxes(body) if not _EMPTY.fullmatch(span.content)]
    if len(group) < 2:
        return group
    between = body[group[-2].end : group[-1].start]
    one_of = re.search(r"\bor\b|^[\s=$]*$", between) is not None or _ASKS_ONE.search(question.text) is not None
    one_of = one_of or _ASKS_ALL.search(question.text) is None
    return group[-1:] if one_of or len({_vote_key(span.content) for span in group}) == 1 else group


def _vote_key(answer: str) -> str:
    key = maths_key(answer)
    return key.lstrip("0") or "0" if key.isdigit() else key


def _from_label(body: str) -> Extraction | None:
    """A closing line "Answer: ...", or the field "answer" of a closing JSON object."""
    field = _FIELD.search(body[-2_000:])
    if field:
        return Extraction((field["text"] or field["number"]).replace("\\\\", "\\"), "label", 0.95)
    labels = list(_LABELLED.finditer(body[-2_000:]))
    if not labels:
        return None
    behind = body[-2_000:][labels[-1].end() :]
    if behind.strip():
        return None
    content = labels[-1]["answer"].strip().strip("*").strip()
    letter = option_letter(re.sub(r"^option\s+|\)+$", "", content, flags=re.IGNORECASE)) if len(content) < 12 else None
    if letter:
        return Extraction(letter.upper(), "label", 0.97)
    if not content or content[0] in ",.;" or len(content) > 120:
        return None
    return Extraction(_value_in(content), "label", 0.95)


def _value_in(content: str) -> str:
    """Cut what an answer line holds down to its maths, where it has some."""
    bold = _BOLD_PART.search(content)
    content = bold["answer"] if bold else content
    spans = maths_spans(content)
    if len(spans) == 1:
        parts = equations(spans[0].content)
        return parts[-1].right if len(parts) == 1 and parts[-1].relation == "=" else spans[0].content
    return content.rstrip(" .*")


def _from_option(body: str) -> Extraction | None:
    """An option letter: the whole text, the last line, or "the answer is C"."""
    letter = option_letter(body.strip("* \n"))
    if letter:
        return Extraction(letter.upper(), "option", 0.95)
    tail = body[-300:]
    for pattern in (_OPTION, _CHOICE_LAST):
        said = [letter for match in pattern.finditer(tail) for letter in match.groups() if letter]
        if said and said[-1].isupper():
            return Extraction(said[-1], "option", 0.9)
    line = _LAST_LINE_LETTER.search(tail)
    return Extraction(line["letter"].upper(), "option", 0.8) if line else None


def _from_bold(body: str) -> Extraction | None:
    bold = _BOLD.search(body[-200:])
    if not bold or not re.search(r"\d|\$", bold["answer"]):
        return None
    return Extraction(_value_in(bold["answer"]), "bold", 0.85)


def _mapped_choices(problem: str) -> dict[str, str]:
    """The options of a problem if a letter is to be replaced by its value: not where the letter or a text is asked."""
    if _ASKS_LETTER.search(problem):
        return {}
    return {letter: value for letter, value in read_choices(problem).items() if not _is_text(value)}


def _is_text(value: str) -> bool:
    words = _WORD.findall(_TEXT_COMMAND.sub(" ", _COMMAND.sub(" ", value)))
    return len(words) > 2 or bool(re.search(r"[=<>]|\\[lg]eq?", value)) or not re.search(r"\d|\$|\\|^.$", value)


def _finished(answer: str, method: str, choices: dict[str, str]) -> str:
    """An answer found by its mark, as it is handed out: letters as values, `x = 4` as `4`, `042` as `42`."""
    letter = option_letter(answer)
    if letter and (letter.isupper() or method != "box"):
        return choices.get(letter.upper(), letter.upper())
    answer = tidy(answer.strip().strip("$").replace(",\\!", ",")).rstrip(" .,;")
    if _ZEROS.fullmatch(answer):
        return answer.lstrip("0") or "0"
    parts = equations(answer) if "=" in answer and len(answer) < 200 else []
    if len(parts) == 1 and parts[0].relation == "=" and parts[0].length == 1 and _NAME.fullmatch(parts[0].left):
        return parts[0].right
    return answer


def _from_statements(body: str, question: Question, problem: str) -> Extraction:
    if _EMPTY_BOX.search(body):
        return Extraction(None, "empty box", 0.9)
    order = ranked(statements(body), question, solution=body)
    if not order:
        return Extraction(None, "nothing", 0.9)
    for answer, probability in order[:3]:
        total = asked_sum(problem, answer)
        if total:
            return Extraction(total, "asked sum", max(0.6, min(0.97, probability)))
    answer, probability = order[0]
    if question.kind == "closed" and not answers_closed(answer):
        return Extraction(None, "unsure", 0.9)
    if probability < LEAST_CONFIDENCE[min(proof_marks(body), 3)]:
        return Extraction(None, "unsure", 1.0 - probability)
    return Extraction(answer, "ranked", min(0.97, probability))
