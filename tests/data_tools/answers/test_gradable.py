"""One answer to whether a gold answer can be graded: that of the verifier."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_tools.answers.gradable import why_ungradable
from data_tools.answers.normalize import clean
from data_tools.answers.spoken import spoken
from data_tools.answers.verify import gold_answers, verify
from data_tools.rows.files import read_rows
from tests.shared import ROOT, shared_file

SETS = ("conventions", "core", "fresh", "mechanical", "public", "traps")


@pytest.mark.parametrize(
    "answer",
    ["4", 4, 4.5, "\\frac{1}{2}", "(1, 2)", ["1", "2"], "\\boxed{7}", "#### 12", "C", "none", "(A) 5", "2:30"],
)
def test_gradable_answers_have_no_fault(answer):
    assert why_ungradable(answer) is None


@pytest.mark.parametrize(
    ("answer", "reason", "sentence"),
    [
        (None, "no_answer", "is missing"),
        ("  ", "no_answer", "is empty"),
        ([], "no_answer", "is an empty list"),
        (["1", ""], "no_answer", "is empty"),
        (float("nan"), "no_answer", "is 'nan': a table's mark of a missing value"),
        ("\\boxed{None}", "no_answer", "is 'None': a table's mark of a missing value"),
        ("\\boxed{}", "no_answer", "'\\\\boxed{}' holds no answer"),
        ({"a": 1}, "unparsable", "is {'a': 1}, not a text"),
        (True, "unparsable", "is True, not a text"),
        ("\\frac{1}{2", "unparsable", "'\\\\frac{1}{2' has braces that do not balance"),
        ("25.12.2008", "unparsable", "'25.12.2008' cannot be graded: two numbers side by side"),
        ("9^{9^{9^{9}}}", "unbounded", "'9^{9^{9^{9}}}' cannot be graded: a power of too many digits"),
        ("the angles are always equal", "free_text", "'the angles are always equal' is free text"),
    ],
)
def test_a_fault_has_a_reason_and_a_sentence(answer, reason, sentence):
    fault = why_ungradable(answer)
    assert (fault.reason, fault.sentence) == (reason, sentence)


def test_a_word_will_do_where_texts_are_allowed_and_a_sentence_will_not():
    assert why_ungradable("Tuesday").reason == "free_text"
    for name in ("Tuesday", "\\text{Tuesday}", "March 14", "Olga Ivanova", "Élodie"):
        assert why_ungradable(name, allow_text=True) is None
    sentence = "it follows that both triangles are similar since they share two angles and one of their sides"
    assert why_ungradable(sentence, allow_text=True).reason == "free_text"


def test_a_letter_needs_its_option_where_the_problem_is_known():
    assert why_ungradable("C", "Which? (A) 1 (B) 2 (C) 3") is None
    assert why_ungradable("C", "Which?").reason == "letter"
    assert why_ungradable("c", "Which variable?") is None


def published_golds():
    for path in sorted((ROOT / "recipes" / "data").glob("*.jsonl*")):
        yield from (row["answer"] for row in read_rows(path) if isinstance(row.get("answer"), str))


@pytest.mark.parametrize("source", ["recipes", *SETS])
def test_an_answer_is_gradable_if_and_only_if_the_verifier_finds_it_right_by_more_than_its_text(source):
    """Any text is right that equals the gold, so the gold is predicted in braces and behind `=`: other texts.

    Two conventions are exempt: running text and numbers too large to compute are right only as they are written.
    """
    if source == "recipes":
        golds = set(published_golds())
    else:
        golds = {row["gold"] for row in read_rows(shared_file(f"cases/verify_{source}.jsonl"))}
    assert golds
    for gold in golds:
        fault = why_ungradable(gold)
        again = [verify(form % spoken(clean(bare)), bare) for bare in gold_answers(gold) for form in ("{%s}", "= %s")]
        if fault is None or fault.reason not in ("free_text", "unbounded"):
            read = any(verdict.correct and verdict.reason != "same text" for verdict in again)
            assert (fault is None) == read, (gold, fault, again)
        assert fault is not None or verify(gold, gold).correct, gold


@settings(max_examples=2_000, deadline=None)
@given(st.text(st.sampled_from(r"\frac{}^_()[],.12ab$ =<>!%"), max_size=40))
def test_no_answer_makes_it_fail(answer):
    why_ungradable(answer)


def test_fifty_answers_take_milliseconds():
    golds = [f"\\frac{{{n}}}{{7}}+\\sqrt{{{n}}}" for n in range(50)]
    start = time.perf_counter()
    assert not any(why_ungradable(gold) for gold in golds)
    assert time.perf_counter() - start < 0.5


def test_nothing_heavy_is_imported():
    code = "import sys, data_tools.answers.gradable; assert not {'torch', 'numpy', 'sympy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
