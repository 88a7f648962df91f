"""Final answers are found by their mark, by majority or by what a solution concludes; or not at all."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data_tools.answers.verify import verify
from data_tools.rows.files import read_rows
from data_tools.rows.row import Dropped
from data_tools.solutions.final_answer import Extraction, extract_answer
from data_tools.tools.extract import extract
from tests.shared import shared_file

CHOICES = r"How many? $\textbf{(A)}\ 7 \qquad \textbf{(B)}\ \frac{1}{2} \qquad \textbf{(C)}\ 195$"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"First \boxed{3}. Then $x=\boxed{4}$.", "4"),
        (r"so \fbox{12} or \framebox{13}", "13"),
        (r"Nested: $\boxed{\frac{1}{\sqrt{2}}}$ done", r"\frac{1}{\sqrt{2}}"),
        (r"$\boxed{\textbf{(C) }195}$", "195"),
        (r"$\boxed{\textbf{(051) }}$", "51"),
        (r"$\boxed{2\pi\Rightarrow\textbf{(C)}}$", r"2\pi"),
        (r"$\boxed{x = 4}$", "4"),
        ("Adds up to 7.\n#### 7", "7"),
        ("It is 1,234 in total.\nA: 1,234", "1,234"),
        ("We add.\n**Answer:** $x = \\frac12$", r"\frac12"),
        ("Sums.\n**Answer:** John is **45 miles** away.", "45 miles"),
        ('{\n "reasoning": "long",\n "answer": "\\\\frac{1}{2}"\n}\n```', r"\frac{1}{2}"),
        ('{"answer": 192}', "192"),
        ("Long sums.\nThe total is **42**", "42"),
        ("<think>is it \\boxed{1}?</think> No: \\boxed{2}", "2"),
        ("I think it's (D).", "D"),
        ("**C**", "C"),
        ("Hence option B is correct", "B"),
        ("The area is 12.\nAnswer : Option A", "A"),
    ],
)
def test_an_explicit_mark_is_the_answer(text, answer):
    assert extract_answer(text).answer == answer


def test_values_in_joined_boxes_are_one_answer_only_where_all_are_asked():
    text = r"the values are $\boxed{1}$ and $\boxed{9}$."
    assert extract_answer(text, "Find all possible values of $k$.").answer == "1, 9"
    assert extract_answer(text, "Find the larger of the two numbers.").answer == "9"
    assert extract_answer(text, "Find the foci. (Enter only one of the foci, not both.)").answer == "9"
    assert extract_answer(text, "Find the coordinates of either of the vertices.").answer == "9"
    assert extract_answer(r"is \boxed{x+1} or \boxed{1+x}", "Find all values.").answer == "1+x"


def test_several_solutions_vote_and_a_correction_counts():
    pages = r"so $\boxed{080}$ ~A" + "\n\n" + r"thus \boxed{80} ~B" + "\n\n" + r"oops $\boxed{081}$"
    found = extract_answer(pages)
    assert (found.answer, found.method) == ("80", "majority of boxes")
    assert found.confidence < extract_answer(r"\boxed{80}").confidence
    assert extract_answer(r"At first \boxed{5}. No, it is \boxed{6}.").answer == "6"


def test_a_letter_becomes_its_value_unless_the_letter_is_asked_or_the_value_is_text():
    assert extract_answer(r"\boxed{\textbf{(B)}}", CHOICES).answer == r"\frac{1}{2}"
    assert extract_answer(r"\boxed{B}", CHOICES + " Enter the letter of the correct option.").answer == "B"
    curves = "What curve is it? (A) a straight line here (B) a circle of radius two (C) none of these at all"
    assert extract_answer(r"\boxed{\text{(B)}}", curves).answer == "B"


@pytest.mark.parametrize(
    ("solution", "problem", "answer"),
    [
        ("Both are odd. Therefore the smallest such number is $n=5^2+1=26$.", "Find the smallest number $n$.", "26"),
        ("Add them. So there are 26 gold balls in the bag.", "How many gold balls are in the bag?", "26"),
        ("We get $x^2=4$. Hence the answer is $\\frac{7}{3}$.", "Compute the ratio.", r"\frac{7}{3}"),
    ],
)
def test_an_unmarked_solution_gives_its_conclusion(solution, problem, answer):
    found = extract_answer(solution, problem)
    assert (found.answer, found.method) == (answer, "ranked")


def test_the_whole_number_asked_for_is_made_from_the_fraction_found():
    problem = r"The probability is $\frac{m}{n}$ in lowest terms. Find $m+n$."
    assert extract_answer(r"Thus the probability is $\frac{17}{18}$.", problem).answer == "35"


@pytest.mark.parametrize(
    ("solution", "problem", "reason"),
    [
        ("", None, "empty"),
        ("By induction $a_n=2$ always.", "Prove that $a_n=2$ for all $n$.", "proof"),
        (r"We find \boxed{77}.", "Determine, with proof, the least perimeter.", "proof"),
        ("This was shown before, as desired.", "What is the radius of the circle?", "nothing"),
        (r"Therefore there are $\boxed{}$ primes.", "How many primes?", "empty box"),
        ("Suppose $a=1$ and $b=2$. If $c=3$ then $d=4$; but if $e=5$, then $f=6$ or $g=7$, a contradiction.",
         "Which point is the centre?", "unsure"),
    ],
)  # fmt: skip
def test_it_abstains_with_a_reason_instead_of_guessing(solution, problem, reason):
    found = extract_answer(solution, problem)
    assert (found.answer, found.method) == (None, reason)


@settings(max_examples=10_000, deadline=None)
@example("A:*", False)
@given(st.text(st.sampled_from(" \n$\\{}[]()abA1234567890.,=#*/^_:boxed\x01"), max_size=60), st.booleans())
def test_no_text_makes_it_fail(text, with_problem):
    start = time.thread_time()
    found = extract_answer(text, text if with_problem else None)
    assert time.thread_time() - start < 1
    assert isinstance(found, Extraction) and 0 <= found.confidence <= 1
    assert found.answer is None or found.answer.strip()


@pytest.mark.parametrize(
    "hostile",
    ["\\boxed{" * 20_000, "$" * 100_001, "\\frac{" * 20_000, "(" * 100_000, "answer is " * 10_000, "1" * 100_000,
     "a=b " * 30_000, "Wait. " * 20_000, "\\boxed{1} " * 15_000, "**" * 50_000, " " * 200_000, "A: " * 40_000],
)  # fmt: skip
def test_a_hostile_text_is_answered_soon(hostile):
    start = time.thread_time()
    extract_answer(hostile, hostile[:20_000])
    assert time.thread_time() - start < 5


def test_the_tool_writes_answers_and_drops_the_rest():
    rows = [
        {"problem": "p", "solution": r"\boxed{4}"},
        {"problem": "Prove it.", "solution": "Clear."},
        {"problem": "p", "solution": r"\boxed{4}", "answer": "5"},
    ]
    found, dropped, kept = extract(rows)
    assert found == {**rows[0], "answer": "4", "answer_method": "box", "answer_confidence": 0.99}
    assert dropped == Dropped(rows[1], "no_answer", "proof")
    assert kept == rows[2]
    assert next(extract(rows[2:], overwrite=True))["answer"] == "4"
    assert next(extract(rows[:1], min_confidence=1.0)).reason == "low_confidence"


@pytest.mark.parametrize(
    ("source", "most", "right", "precision"),
    [
        ("aime_1983_2023", 1000, 0.998, 0.998),
        ("aimo_validation_aime_90", 1000, 0.97, 0.97),
        ("olympiadbench_675", 1000, 0.72, 0.88),
        ("omni_math_rule_2819", 500, 0.78, 0.88),
        ("math_test", 500, 0.99, 0.99),
        ("gsm8k_test", 300, 1.0, 1.0),
    ],
)
def test_official_solutions(source, most, right, precision):
    rows = list(read_rows(shared_file(f"data/worked_solutions/{source}.jsonl.gz")))
    rows = rows[:: max(1, len(rows) // most)]
    found = [(extract_answer(row["solution"], row["problem"]).answer, row["answer"]) for row in rows]
    rights = sum(answer is not None and verify(answer, gold).correct for answer, gold in found)
    assert rights / len(rows) >= right
    assert rights / sum(answer is not None for answer, _ in found) >= precision


def test_confidence_orders_answers():
    rows = list(read_rows(shared_file("data/worked_solutions/olympiadbench_675.jsonl.gz")))
    judged = []
    for row in rows:
        found = extract_answer(row["solution"], row["problem"])
        if found.answer is not None:
            judged.append((found.confidence, verify(found.answer, row["answer"]).correct))
    judged.sort(key=lambda pair: pair[0])
    half = len(judged) // 2
    unsure, sure = (sum(right for _, right in part) / len(part) for part in (judged[:half], judged[half:]))
    assert sure > unsure + 0.05


def test_model_outputs():
    rows = list(read_rows(shared_file("cases/extract_model_outputs.jsonl")))
    rights = 0
    for row in rows:
        answer = extract_answer(row["text"]).answer
        rights += answer is not None and verify(answer, row["expected_answer"]).correct
    assert rights / len(rows) >= 0.98
