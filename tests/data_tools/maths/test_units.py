"""Units have one spelling and contradict each other only where both are known."""

from __future__ import annotations

import pytest

from data_tools.maths.units import canonical_units, units_agree


def test_spellings_are_one_unit():
    assert canonical_units(("centimeters",)) == canonical_units(("cm",)) == {"cm"}
    assert canonical_units(("square units",)) == frozenset()


@pytest.mark.parametrize(
    ("left", "right", "agree"),
    [
        (("cm",), ("centimeters",), True),
        (("cm",), (), True),
        (("cm",), ("m",), False),
        (("hours",), ("minutes",), False),
        (("apples",), ("green apples",), True),
        (("marbles",), ("balls",), True),  # what is counted is not a unit
        (("square inches",), ("inches",), True),
        (("m^2",), ("m^3",), False),
        (("m^2",), ("square m",), True),
    ],
)
def test_agreement(left, right, agree):
    assert units_agree(left, right) is agree
    assert units_agree(right, left) is agree
