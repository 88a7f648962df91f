r"""Strip a problem of what its publisher put around it: figures, links, credits, numbering.

Cross-source copies of one problem differ in figures (`[asy]`), links to a wiki, credits, numbering, points and
instructions on how to answer. Left in, they push the cosine of true copies from .97 down to .84.
"""

from __future__ import annotations

import re

_FIGURE = re.compile(r"\[asy\].*?(?:\[/asy\]|\Z)|```asy.*?(?:```|\Z)", re.DOTALL | re.IGNORECASE)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_IMAGE = re.compile(r"!?\[[^\[\]]*\.(?:png|gif|jpe?g|svg)\s*\]\([^()\s]*\)|!\[[^\[\]]*\]\([^()\s]*\)", re.IGNORECASE)
_IMAGE_COMMAND = re.compile(r"\\includegraphics(?:\[[^\]]*\])?\{[^{}]*\}|<img\b[^>]*>", re.IGNORECASE)
_LINK = re.compile(r"\[([^\[\]]*)\]\(https?://(?:[^()\s]|\([^()\s]*\))*\)")
_URL = re.compile(r"https?://\S+")
_TAG = re.compile(r"</?(?:br|p|b|i|center|div|span|sub|sup|u|em|strong)\b[^<>]*>", re.IGNORECASE)
_CREDIT = re.compile(
    r"(?:\n|^)\s*(?:~\s*[\w.@*-]{2,40}(?:\s+[\w.@*-]{2,40}){0,3}|(?:diagram|solution|problem|edited|video) by .{2,60}"
    r"|[*_]*proposed by .{2,60})\s*(?=\n|$)",
    re.IGNORECASE,
)
_NUMBERING = re.compile(
    r"^\s*(?:\*{0,2}(?:problem|question|exercise|example|task|q)\s*\.?\s*#?\d+(?:\.\d+)*\s*(?:\([^()]{1,30}\))?"
    r"\s*[.:)\]]\*{0,2}|\(?\d{1,3}\s*[.)](?=\s+[A-Z\\$])"
    r"|\(?(?:(?:19|20)\d\d\s+)?(?:AIME|AMC|AHSME|HMMT)\b[^.\n]{0,30}(?:problem|#)\s*\d+\s*[.:)]*)\s*",
    re.IGNORECASE,
)
_POINTS = re.compile(r"[(\[]\s*(?:worth\s+)?\d+\s*(?:points?|marks?|pts?)\.?\s*[)\]]", re.IGNORECASE)
_ANSWER_FORM = (
    r"(?:an?|the)?\s*(?:single\s+|positive\s+|exact\s+)?(?:integer|whole number|number only|number|common fraction"
    r"|fraction|decimal|mixed number|exact form|simplest form|simplified form|lowest terms|interval notation"
    r"|radical form|simplest radical form)"
)
_INSTRUCTION = re.compile(
    r"(?:(?<=[.!?\n:)\]$])|^|(?-i:(?=\s[A-Z])))\s*(?:"
    r"(?:please\s+)?(?:solve|answer|consider)(?: carefully)? the following(?: maths?| mathematics?)? "
    r"(?:problem|question)\b(?: carefully| step by step| efficiently and clearly)?\s*[.:]"
    r"|(?:please\s+)?(?:solve|answer|consider) the (?:problem|question|exercise) below\s*[.:]"
    r"|(?:please\s+)?show (?:all )?(?:of )?your (?:work|working|steps)[^.\n]{0,40}\."
    r"|(?:please\s+|let'?s\s+)?(?:reason|think) step[- ]by[- ]step(?:[^.\n]|\.(?=\w))*?(?:\.|$)"
    r"|(?:please\s+)?(?:put|place|write|give|return|output|present|box|enclose)\b[^.\n]{0,60}?(?:within|in|inside)\s*"
    r"\$?\\boxed\s*\{[^{}]*\}\$?[^.\n]{0,30}(?:\.|$)"
    r"|(?:please\s+)?(?:express|give|write|enter|provide|state|leave)\s+(?:your|the)\s+(?:final\s+|numerical\s+)*answers?\s+"
    rf"(?:as|in)\s+{_ANSWER_FORM}(?:\s+in\s+(?:simplest|lowest|simplified)\s+(?:form|terms))?\s*(?:\.|$)"
    r"|(?:justify|explain) your (?:answer|reasoning)\."
    r"|(?:remember to )?(?:put|box) your (?:final )?answer[^.\n]{0,60}(?:\.|$)"
    r"|good luck[.!]"
    r"|[(\[]\s*note:? the answer[^()\n]{0,80}[)\]]"
    r")",
    re.IGNORECASE,
)
_LEAD = re.compile(r"^\s*(?:\*{0,2}(?:problem|question|exercise|task)\*{0,2}\s*:\s*\*{0,2})", re.IGNORECASE)
_BLANK = re.compile(r"\s+")


def clean_text(text: str) -> str:
    r"""Return a problem without figures, links, credits, numbering, points and instructions on the answer's form.

    LaTeX stays as it is written; whitespace becomes single spaces. A text that is nothing but such matter comes
    back whole, so that two figures are not taken for the same empty problem.

    Args:
        text: A problem, e.g. `Problem 12. Find $x$. [asy] ... [/asy] ~ joe`.
    """
    cleaned = _FIGURE.sub(" ", text)
    if "](" in cleaned:
        cleaned = _LINK.sub(r"\1", _IMAGE.sub(" ", cleaned))
    if "://" in cleaned:
        cleaned = _URL.sub(" ", cleaned)
    cleaned = _TAG.sub(" ", _IMAGE_COMMAND.sub(" ", cleaned))
    cleaned = _CREDIT.sub("\n", cleaned)
    cleaned = _POINTS.sub(" ", _NUMBERING.sub("", _LEAD.sub("", cleaned)))
    cleaned = _BLANK.sub(" ", cleaned)
    before = None
    while before != cleaned:
        before, cleaned = cleaned, _INSTRUCTION.sub(" ", cleaned)
    cleaned = _POINTS.sub(" ", _NUMBERING.sub("", cleaned))
    return _BLANK.sub(" ", cleaned).strip() or _BLANK.sub(" ", text).strip()


def has_figure(text: str) -> bool:
    """Whether a problem comes with a drawing in Asymptote."""
    return _FIGURE.search(text) is not None


def figure_numbers(text: str) -> tuple[str, ...]:
    r"""Return the numbers in the figures, sorted: `label("$45^{\circ}$", (0,1))` gives 0, 1, 45."""
    return tuple(sorted(number for figure in _FIGURE.findall(text) for number in _NUMBER.findall(figure)))
