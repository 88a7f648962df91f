import pytest

from data_tools.problems.clean import clean_text, figure_numbers


@pytest.mark.parametrize(
    "dirty",
    [
        "Problem 12. Find $x$ if $x+1=2$.",
        "**Question 3:** Find $x$ if $x+1=2$.",
        "(2 points) Find $x$ if $x+1=2$.",
        "Find $x$ if $x+1=2$. [asy] draw((0,0)--(1,1)); [/asy]",
        "Find $x$ if $x+1=2$.\n ~ pi_is_3.14",
        "Find $x$ if $x+1=2$. Express your answer as a common fraction.",
        "Find $x$ if $x+1=2$. Please reason step by step, and put your final answer within \\boxed{}.",
        "Find $x$ if $x+1=2$. Let's think step by step and output the final answer within \\boxed{}.",
        "Solve the following problem. Find $x$ if $x+1=2$. Show your work.",
        "[Find](https://artofproblemsolving.com/wiki/index.php/Square_(geometry)) $x$ if $x+1=2$.",
        "Find $x$ if  $x+1=2$. ![AIME 1992 Problem 12.png](https://example.org/File:AIME_1992.png)",
    ],
)
def test_what_a_publisher_adds_goes(dirty):
    assert clean_text(dirty) == "Find $x$ if $x+1=2$."


@pytest.mark.parametrize(
    "whole",
    [
        "What is 12. 5 times 2?",
        "Problem solving takes 3 hours. How long do 5 problems take?",
        "How many points (2 points of which lie on a line) are there?",
        "Show that the answer is 4 and give the answer to the nearest tenth.",
    ],
)
def test_what_belongs_to_the_problem_stays(whole):
    assert clean_text(whole) == whole


def test_a_text_that_is_only_a_figure_stays():
    assert clean_text("[asy] dot((1,2)); [/asy]") == "[asy] dot((1,2)); [/asy]"


def test_figure_numbers():
    assert figure_numbers('Find it. [asy] label("$45^{\\circ}$", (-1,0.5)); [/asy] 7') == ("-1", "0.5", "45")
    assert figure_numbers("Find 7.") == ()


@pytest.mark.parametrize(
    "text",
    [
        "Find $x$. (Give it in metres.) Show your work.",
        "If $a=b$ then $a$ equals Please reason step by step, and put your final answer within \\boxed{}.",
        "The sum of all roots is: Express your answer as an integer.",
        "Answer the question below. Find $x$.",
    ],
)
def test_instructions_go_wherever_a_sentence_may_begin(text):
    cleaned = clean_text(text)
    assert not any(word in cleaned for word in ("Show", "reason", "Express", "Answer", "boxed"))
    assert any(word in cleaned for word in ("Find", "equals", "roots"))
