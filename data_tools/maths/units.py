"""Units that answers carry: words to one spelling each, so that `cm` is `centimeters` and not `s`."""

from __future__ import annotations

import re

_SPELLINGS = """
m:meter,meters,metre,metres cm:centimeter,centimeters,centimetre,centimetres mm:millimeter,millimeters
km:kilometer,kilometers,kilometre,kilometres in:inch,inches ft:foot,feet yd:yard,yards mi:mile,miles
g:gram,grams gm kg:kilogram,kilograms mg:milligram,milligrams lb:lbs,pound,pounds oz:ounce,ounces t:ton,tons,tonnes
s:sec,secs,second,seconds min:mins,minute,minutes h:hr,hrs,hour,hours day:days week:weeks month:months
year:years,yr,yrs l:liter,liters,litre,litres,L ml:milliliter,milliliters,mL
usd:dollar,dollars,buck,bucks cent:cents euro:euros degree:degrees,deg unit:units N:newton,newtons J:joule,joules
W:watt,watts V:volt,volts Hz:hertz K:kelvin Pa:pascal,pascals mol:moles,mole
mph kph rpm percent people person apples students ways hectare acres acre square squared cubic sq per
"""
UNITS: dict[str, str] = {}
for _entry in _SPELLINGS.split():
    _name, _, _others = _entry.partition(":")
    for _spelling in (_name, *filter(None, _others.split(","))):
        UNITS[_spelling] = _name

UNIT_WORDS = frozenset(word for word in UNITS if len(word) > 1)
"""Spellings of two letters or more: behind a number they are units, not products of variables."""

UNIT_LETTERS = frozenset("mgshlLNJWVKCFA")
"""Letters that are units where they stand in text commands behind a number."""

_SPEEDS = {"mph": ("mi", "h"), "kph": ("km", "h")}
_POWER = re.compile(r"\^(\S+)")
_WORD = re.compile(r"[A-Za-z]+")
_FILLER = frozenset(("unit", "square", "squared", "cubic", "sq", "per", "of", "a", "an", "the"))


def canonical_units(texts: tuple[str, ...]) -> frozenset[str]:
    """Return the units that the texts name, without words that only shape them (square, per, units)."""
    words = (word for text in texts for word in _WORD.findall(text))
    names = [UNITS.get(word, UNITS.get(word.lower(), word.lower())) for word in words]
    return frozenset(name for whole in names for name in _SPEEDS.get(whole, (whole,))) - _FILLER


def units_agree(left: tuple[str, ...], right: tuple[str, ...]) -> bool:
    """Say whether units do not contradict each other: one side may leave them out or say what is counted."""
    powers = [{power for text in texts for power in _POWER.findall(text)} for texts in (left, right)]
    if powers[0] and powers[1] and powers[0] != powers[1]:
        return False
    first, second = canonical_units(left), canonical_units(right)
    known = frozenset(UNITS.values())
    first, second = first & known, second & known
    return first <= second or second <= first
