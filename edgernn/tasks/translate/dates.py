"""Dates in words and many styles, to be translated to the form of ISO 8601: a data set that needs no download.

The dates of the splits are disjoint: no date of "dev" or "test" is seen in training, in any style.
"""

from __future__ import annotations

import datetime
from functools import cache

import numpy as np

from edgernn.data.pairs import DEV, TEST, TRAIN, Pairs
from edgernn.errors import CorpusError

__all__ = ["dates"]

_FIRST, _LAST = datetime.date(1800, 1, 1), datetime.date(2099, 12, 31)
_COUNT = {TRAIN: 50_000, DEV: 500, TEST: 1000}
_UNITS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_ORDINALS = [
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
    "twelfth",
    "thirteenth",
    "fourteenth",
    "fifteenth",
    "sixteenth",
    "seventeenth",
    "eighteenth",
    "nineteenth",
    "twentieth",
]
_MONTHS = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
_DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]


@cache
def dates(split: str) -> Pairs:
    """Return the dates of a split: train, dev or test. Raises CorpusError for another one."""
    if split not in _COUNT:
        raise CorpusError(f"there is no split {split!r} of the dates; there is {', '.join(_COUNT)}")
    order = np.random.default_rng(0).permutation((_LAST - _FIRST).days + 1)
    begin = sum(count for name, count in _COUNT.items() if list(_COUNT).index(name) < list(_COUNT).index(split))
    chosen = order[begin : begin + _COUNT[split]].tolist()
    random = np.random.default_rng(1 + list(_COUNT).index(split))
    days = [_FIRST + datetime.timedelta(days=day) for day in chosen]
    return Pairs([_written(day, random) for day in days], [day.isoformat() for day in days])


def _written(day: datetime.date, random: np.random.Generator) -> str:
    """Return a date in a random style."""
    month, weekday = _MONTHS[day.month - 1], _DAYS[day.weekday()]
    number = _one_of(random, str(day.day), f"{day.day}{_suffix(day.day)}", _ordinal(day.day))
    year = _one_of(random, str(day.year), _year(day.year, random))
    month = _one_of(random, month, month, month[:3])
    ahead = _one_of(random, "", "", f"{weekday}, ", f"{weekday[:3]} ", f"on {weekday} ")
    return _one_of(
        random,
        f"{ahead}{number} {month} {year}",
        f"{ahead}{month} {number}, {year}",
        f"{ahead}the {_ordinal(day.day)} of {month} {year}",
        f"{ahead}the {_ordinal(day.day)} day of {month} in the year {year}",
        f"{ahead}{month} the {_ordinal(day.day)}, {year}",
        f"{day.day}.{day.month}.{day.year}",
        f"{day.month}/{day.day}/{day.year}",
        f"{day.year}, {month} {number}",
    )


def _one_of(random: np.random.Generator, *choices: str) -> str:
    return choices[int(random.integers(len(choices)))]


def _suffix(number: int) -> str:
    return "th" if number in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")


def _ordinal(number: int) -> str:
    """Return "twenty-first" for 21, for numbers up to 31."""
    if number <= len(_ORDINALS):
        return _ORDINALS[number - 1]
    return "thirtieth" if number == 30 else f"{_TENS[number // 10 - 2]}-{_ORDINALS[number % 10 - 1]}"


def _cardinal(number: int) -> str:
    """Return "ninety-eight" for 98, for numbers below 100."""
    if number < len(_UNITS):
        return _UNITS[number]
    tens, unit = _TENS[number // 10 - 2], number % 10
    return f"{tens}-{_UNITS[unit]}" if unit else tens


def _year(year: int, random: np.random.Generator) -> str:
    """Return a year in words, in one of the ways in which it is said."""
    century, rest = divmod(year, 100)
    if century == 20 and rest < 10:
        said = f" {_one_of(random, '', 'and ')}{_cardinal(rest)}" if rest else ""
        return f"two thousand{said}"
    if not rest:
        return f"{_cardinal(century)} hundred"
    ways = [f"{_cardinal(century)} {'oh ' if rest < 10 else ''}{_cardinal(rest)}"]
    if century == 20:
        ways.append(f"two thousand {_one_of(random, '', 'and ')}{_cardinal(rest)}")
    else:
        ways.append(f"{_cardinal(century)} hundred and {_cardinal(rest)}")
    return _one_of(random, *ways)
