"""Times of day: `3:30 PM`, `15:30`, `5 p.m.`, `noon`."""

from __future__ import annotations

import re
from typing import NamedTuple

_TIME = re.compile(
    r"(?P<hour>\d{1,2})(?:\s*:\s*(?P<minute>\d\d))?(?::(?P<second>\d\d))?"
    r"\s*(?:(?P<half>[ap])\.?\s?m\b\.?|(?P<word>noon|midnight|(?:in the |at )?(?:morning|afternoon|evening|night)))?",
    re.IGNORECASE,
)
_FONT = re.compile(r"\\(?:text|mathrm|textsc|textrm|rm)(?![a-zA-Z])\s*|[{}]|\\[ ,;:!]")
_NAMED = {"noon": "12 noon", "midday": "12 noon", "midnight": "12 midnight"}
_BEFORE_NOON = ("morning", "midnight")


class Clock(NamedTuple):
    """A time as it is written.

    Args:
        hour: 0 to 24.
        rest: Minutes and seconds.
        half: "a" before noon, "p" after it, empty where it is not said.
        parts: Minutes and seconds as written.
    """

    hour: int
    rest: tuple[int, int]
    half: str
    parts: tuple[str, ...]

    @property
    def of_day(self) -> int:
        """The hour from 0 to 23."""
        return self.hour % 12 + 12 * (self.half == "p") if self.half else self.hour % 24


def read_clock(text: str) -> Clock | None:
    """Read a time of day; also a bare number of hours, which is one only beside a time."""
    if not 0 < len(text) < 60:
        return None
    low = " ".join(_FONT.sub(" ", text).lower().split())
    match = _TIME.fullmatch(_NAMED.get(low, low))
    if not match:
        return None
    hour, minute, second = (int(match[name] or 0) for name in ("hour", "minute", "second"))
    word = (match["word"] or "").split()[-1:]
    half = match["half"] or ("" if not word else "a" if word[0] in _BEFORE_NOON else "p")
    if hour > (12 if half else 24) or minute > 59 or second > 59:
        return None
    if word == ["night"] and (hour == 12 or hour < 5):  # two at night
        half = "a"
    return Clock(hour, (minute, second), half, tuple(part for part in (match["minute"], match["second"]) if part))


def clocks_agree(left: Clock, right: Clock) -> bool:
    """Say whether two times are one: where one does not say which half of the day, either will do."""
    if left.rest != right.rest:
        return False
    if left.half and right.half:
        return left.of_day == right.of_day
    if left.half or right.half:
        said, other = (left, right) if left.half else (right, left)
        return other.hour in (said.hour, said.of_day)
    return left.hour == right.hour


def same_time(left: Clock, right: Clock) -> str | None:
    """Return the reason why two times agree, an empty text if they differ, None where neither is sure to be a time.

    `4:15` may be a ratio and `5` a number; a ratio has no zero in front, as `4:05` has.
    """
    padded = left.parts and right.parts and any(part[0] == "0" for part in left.parts + right.parts)
    if not (left.half or right.half or padded):
        return None
    return "same time" if clocks_agree(left, right) else ""
