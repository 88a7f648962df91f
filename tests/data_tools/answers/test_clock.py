from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_tools.answers.clock import clocks_agree, read_clock, same_time


def written(minutes, form):
    hour, minute = divmod(minutes, 60)
    half, twelve = "ap"[hour >= 12], hour % 12 or 12
    return {
        "24 hours": f"{hour}:{minute:02d}",
        "12 hours": f"{twelve}:{minute:02d} {half.upper()}M",
        "points": f"{twelve:02d}:{minute:02d} {half}.m.",
        "latex": rf"{twelve}{{:}}{minute:02d}\text{{ {half}m}}",
    }[form]


FORMS = st.sampled_from(["24 hours", "12 hours", "points", "latex"])


@given(st.integers(0, 1439), st.integers(0, 1439), FORMS, FORMS)
def test_two_times_agree_if_they_are_one_minute_of_the_day(first, second, one, other):
    left, right = read_clock(written(first, one)), read_clock(written(second, other))
    morning = [hour for hour, form in ((first // 60, one), (second // 60, other)) if form == "24 hours" and hour < 13]
    if morning and one != other:  # 3:30 of 24 hours can be a 3:30 that does not say which half of the day it is in
        assert clocks_agree(left, right) >= (first == second)
    else:
        assert clocks_agree(left, right) == (first == second)
    assert clocks_agree(left, right) == clocks_agree(right, left)


@pytest.mark.parametrize(
    "text", ["", "25:00", "13 PM", "3:75", "3:5", "5 m", "pm", "3:30 PM on Tuesday", "1/2", "5 nights"]
)
def test_what_is_no_time(text):
    assert read_clock(text) is None


@pytest.mark.parametrize(
    ("text", "hour"),
    [("noon", 12), ("midnight", 0), ("12 noon", 12), ("12:00 at night", 0), ("2 in the night", 2), ("11 at night", 23),
     ("6 in the evening", 18), ("6 in the morning", 6)],
)  # fmt: skip
def test_halves_of_the_day_in_words(text, hour):
    assert read_clock(text).of_day == hour


def test_a_time_that_does_not_say_its_half_fits_both():
    assert clocks_agree(read_clock("3:30"), read_clock("3:30 PM"))
    assert clocks_agree(read_clock("3:30"), read_clock("3:30 AM"))
    assert clocks_agree(read_clock("3"), read_clock("3 PM"))


@pytest.mark.parametrize(
    ("left", "right", "reason"),
    [
        ("4:15", "4:15", None),
        ("5", "5", None),
        ("4:05", "4:05", "same time"),
        ("4:05", "4:15", ""),
        ("5", "5 pm", "same time"),
    ],
)
def test_a_ratio_or_a_number_is_no_time_unless_one_side_says_so(left, right, reason):
    assert same_time(read_clock(left), read_clock(right)) == reason
