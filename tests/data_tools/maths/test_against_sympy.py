"""Values and equalities are those of sympy, an independent reference that the package itself never imports."""

from __future__ import annotations

import operator
import subprocess
import sys

import sympy
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from data_tools.answers.normalize import clean
from data_tools.maths.agreement import agree
from data_tools.maths.budget import renew_budget
from data_tools.maths.functions import TooLarge, Undefined
from data_tools.maths.grammar import parse
from data_tools.maths.values import number
from tests.shared import ROOT

X, Y = sympy.symbols("x y")
TRANSFORMS = (sympy.expand, sympy.factor, sympy.together, sympy.trigsimp)


OPERATIONS = {
    "(%s)+(%s)": operator.add,
    "(%s)-(%s)": operator.sub,
    "(%s)\\cdot(%s)": operator.mul,
    "\\frac{%s}{%s}": operator.truediv,
}


def applied(operation, *values):
    """Apply an operation; what divides by zero has no value, whatever is done with it."""
    return sympy.nan if any(value.has(sympy.zoo, sympy.nan) for value in values) else operation(*values)


def combined(parts, powers):
    """Build larger expressions: pairs of LaTeX and what sympy makes of it."""
    return st.one_of(
        st.tuples(st.sampled_from(sorted(OPERATIONS)), parts, parts).map(
            lambda e: (e[0] % (e[1][0], e[2][0]), applied(OPERATIONS[e[0]], e[1][1], e[2][1]))
        ),
        st.tuples(parts, powers).map(
            lambda e: (f"\\left({e[0][0]}\\right)^{{{e[1]}}}", applied(operator.pow, e[0][1], sympy.Integer(e[1])))
        ),
    )


def term(latex, function):
    return lambda values: (latex % values, sympy.sympify(function(*values)))


SMALL = st.integers(0, 9)
INTEGERS = st.integers(-30, 30).map(lambda n: (str(n), sympy.Integer(n)))
EXACT_TERMS = st.one_of(
    INTEGERS,
    st.tuples(st.integers(-20, 20), st.integers(1, 20)).map(term("\\frac{%d}{%d}", sympy.Rational)),
    st.tuples(SMALL).map(term("%d!", sympy.factorial)),
    st.tuples(SMALL, SMALL).map(term("\\binom{%d}{%d}", sympy.binomial)),
    st.tuples(st.integers(1, 99), st.integers(1, 99)).map(term("\\gcd(%d,%d)", sympy.igcd)),
    st.tuples(st.integers(-99, 99), st.integers(1, 9)).map(
        term("\\lfloor\\frac{%d}{%d}\\rfloor", lambda a, b: sympy.floor(sympy.Rational(a, b)))
    ),
    st.tuples(st.integers(-9, 9), st.integers(0, 3)).map(
        term("\\sum_{k=1}^{5}(k+%d)^{%d}", lambda a, n: sum((sympy.Integer(k) + a) ** n for k in range(1, 6)))
    ),
)
EXACT = st.recursive(EXACT_TERMS, lambda parts: combined(parts, st.integers(-3, 3)), max_leaves=8)
ANGLES = st.tuples(st.integers(-12, 12), st.integers(1, 12))
REAL_TERMS = st.one_of(
    INTEGERS,
    *(
        ANGLES.map(term(f"\\{name}\\frac{{%d\\pi}}{{%d}}", lambda a, b, f=name: getattr(sympy, f)(a * sympy.pi / b)))
        for name in ("sin", "cos", "tan")
    ),
    st.tuples(st.integers(1, 50)).map(term("\\ln %d", sympy.log)),
    st.tuples(st.integers(0, 99)).map(term("\\sqrt{%d}", sympy.sqrt)),
    st.tuples(st.integers(-5, 5)).map(term("e^{%d}", sympy.exp)),
    st.tuples(st.integers(-99, 99)).map(term("\\sqrt[3]{%d}", lambda n: sympy.real_root(n, 3))),
)
REAL = combined(REAL_TERMS, st.integers(-2, 3))
IN_NAMES = st.recursive(
    st.one_of(
        INTEGERS, st.sampled_from([("x", X), ("y", Y), ("\\sin x", sympy.sin(X)), ("\\sqrt{y}", sympy.sqrt(Y))])
    ),
    lambda parts: combined(parts, st.integers(0, 3)),
    max_leaves=6,
)


def tree(latex):
    return parse(clean(latex)).node


def value_of(latex):
    """Return our value, or None where there is none within the guards."""
    renew_budget()
    try:
        return number(tree(latex))
    except (Undefined, TooLarge):
        return None


@settings(max_examples=500, deadline=None)
@given(EXACT)
def test_exact_values_are_those_of_sympy(expression):
    latex, reference = expression
    value = value_of(latex)
    if reference.is_Rational:
        assert value is not None and sympy.Rational(str(value)) == reference
    else:  # a division by zero
        assert value is None


@settings(max_examples=300, deadline=None)
@given(REAL)
def test_real_values_are_those_of_sympy(expression):
    latex, reference = expression
    value = value_of(latex)
    if reference.has(sympy.zoo, sympy.nan):  # we may only find a pole that is a rounding error away
        return
    assume(abs(reference.evalf(30)) > 1e-6)  # what cancels is noise in double precision
    assert value is not None and abs(complex(value) - complex(reference.evalf(30))) <= 1e-9 * abs(complex(value))


@settings(max_examples=300, deadline=None)
@given(IN_NAMES, st.sampled_from(TRANSFORMS), st.integers(1, 5))
def test_what_sympy_rewrites_is_the_same_and_what_it_adds_to_is_not(expression, rewrite, more):
    latex, reference = expression
    assume(reference.is_finite is not False and not reference.has(sympy.zoo, sympy.nan, sympy.I))
    renew_budget()
    assert agree(tree(sympy.latex(rewrite(reference))), tree(latex))
    renew_budget()
    assert not agree(tree(sympy.latex(rewrite(reference + more))), tree(latex))


def test_the_package_itself_never_imports_it():
    code = "import sys, data_tools.answers.verifier_pool, data_tools.tools.verify; assert 'sympy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
