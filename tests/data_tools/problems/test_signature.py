import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_tools.problems.signature import signature


def words(problem):
    return [token.text for token in signature(problem).tokens]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (r"Find $x^{2}\leq\dfrac12$.", r"Find \(x^2 \le \frac{1}{2}\)"),
        ("Find $x$ if $2x=6$.", "Determine $y$ if $2y=6$."),
        ("What is $n$?", "Compute $n$."),
        ("Let $k$ be a positive integer.", "Assume $k$ is a natural number.".replace("is", "be")),
        ("How many primes are below 1,000?", "Find the number of primes are below $1{,}000$."),
        ("The fourth of twenty-five cards", "the 4th of 25 cards"),
        ("two hundred and five", "205"),
        ("What percent of 5 is 3?", "What % of 5 is 3?"),
        (r"20\% of it", "20% of it"),
        (r"$\frac{1}{2}$ of it", r"$1/2$ of it"),
        ("an angle of 30°", r"an angle of $30^{\circ}$"),
        ("Find the least possible value of $a$.", "Find the smallest value of $a$."),
        ("Evaluate the number of zeros.", "How many zeros."),
        ("Find $x$ on the x-axis.", "Find $t$ on the x-axis."),
        (r"$\alpha+\beta=3$", "$a+b=3$"),
        ("She pays $5 for each of 3 pens.", "She pays 5 for each of 3 pens."),
    ],
)
def test_spellings_of_one_problem_have_one_key(one, other):
    assert signature(one).key == signature(other).key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Find $x+y$.", "Find $x-y$."),
        ("Find $x+y$.", "Find $x+x$."),
        ("Find the maximum of 3.", "Find the minimum of 3."),
        (r"$\tan C$ in triangle $ABC$", r"$\tan A$ in triangle $ABC$"),
        ("$x^{10}$", "$x^10 0$"),
        ("second of 3", "third of 3"),
        ("on the x-axis", "on the y-axis"),
    ],
)
def test_other_problems_have_other_keys(one, other):
    assert signature(one).key != signature(other).key
    assert signature(one).run_key != signature(other).run_key


def test_run_key_renames_letters_side_by_side():
    one, other = signature("$by+c=0$, find $b$"), signature("$qz+r=0$, find $q$")
    assert one.run_key == other.run_key
    assert one.key != other.key


def test_points_of_a_figure_keep_their_names():
    figure = "[asy] draw((0,0)--(1,1)); [/asy]"
    assert signature(f"Find $AB$. {figure}").key != signature(f"Find $BC$. {figure}").key
    assert signature("Find $AB$.").key == signature("Find $BC$.").key


def test_money_opens_no_maths():
    assert "pens" in words("She pays $5 for each of 3 pens and gets a $10 bill back.")
    found = signature("Tom has $5 and Ann has \\$6 more than Tom").tokens
    assert [token.kind for token in found if token.text == "tom"] == ["word", "word"]


def test_frame_has_numbers_and_operators_in_order():
    found = signature(r"Find three roots of $2x^2 + \sqrt{5}=0$.")
    assert found.frame == (
        "3",
        "2",
        "^",
        "2",
        "+",
        "sqrt",
        "5",
        "=",
        "0",
    )


@given(st.text(alphabet=st.sampled_from("ab$\\{}[]()1,. 2xfrac\n^_%é~*")))
def test_any_text_has_a_signature_that_ignores_outer_blanks(text):
    assert signature(text).key == signature(f"  {text}\n").key
