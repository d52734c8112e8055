"""What a text in a field means: numbers, flags, days, codes; never rounded, never guessed."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from typing import Any

from rossmann import fields

#: Reads a text, or raises a ValueError that says what is expected.
Parse = Callable[[str], Any]

#: PostgreSQL's `integer`, and the largest store: nine digits.
MAX_INTEGER = 2**31 - 1
MAX_STORE = 999_999_999
#: How programs write that there is no value.
MISSING = frozenset({"", "NA", "N/A", "#N/A", "NaN", "nan", "NULL", "null", "None", "<NA>"})
#: First day that can be meant.
FIRST_DAY = date(1970, 1, 1)

#: A program that knows no integers writes 1 as 1.0.
_WHOLE = re.compile(r"([+-]?[0-9]{1,18})(?:\.0*)?")
#: Twelve thousand to some, twelve to others.
DOUBTFUL = re.compile(r"[+-]?[1-9][0-9]{0,2}\.[0-9]{3}")
_FRACTION = re.compile(r"[+-]?[0-9]+\.[0-9]+")
_MEASURE = re.compile(r"[0-9]{1,15}(?:\.[0-9]{0,15})?")
#: A program that knows no dates adds midnight.
DAY = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[ T]00:00(?::00(?:\.0+)?)?)?")
_LONGEST_WORD = 100


def whole(first: int, last: int) -> Parse:
    """Return a reader of integers between two bounds."""

    def parse(text: str) -> int:
        match = _WHOLE.fullmatch(text)
        if DOUBTFUL.fullmatch(text):
            raise ValueError("a whole number without separators is expected")
        if match is None:
            if _FRACTION.fullmatch(text):
                raise ValueError("a whole number is expected; round it")
            raise ValueError("a whole number is expected")
        value = int(match.group(1))
        if not first <= value <= last:
            raise ValueError(f"{first} to {last} is expected")
        return value

    return parse


flag = whole(0, 1)


def measure(text: str) -> float:
    """Read a length or the like: digits with a point, not negative."""
    if _MEASURE.fullmatch(text) is None or DOUBTFUL.fullmatch(text):
        raise ValueError("a number such as 1270 or 1270.5 is expected")
    return float(text)


def day(text: str) -> date:
    """Read a day in ISO format."""
    match = DAY.fullmatch(text)
    try:
        value = date.fromisoformat(match.group(1)) if match else None
    except ValueError:
        value = None
    if value is None:
        raise ValueError("a day such as 2015-06-19 is expected")
    if not value >= FIRST_DAY:
        raise ValueError(f"a day from {FIRST_DAY} on is expected")
    if value.year > 2200:
        raise ValueError("a day before 2200 is expected")
    return value


def holiday(text: str) -> str:
    """Read a code of `StateHoliday`."""
    code = "0" if text in ("0.0", "0.") else text
    if code not in fields.STATE_HOLIDAY_CODES:
        raise ValueError(f"one of {', '.join(fields.STATE_HOLIDAY_CODES)} is expected")
    return code


def word(text: str) -> str:
    """Read a short text."""
    if len(text) > _LONGEST_WORD or not text.isprintable():
        raise ValueError(f"at most {_LONGEST_WORD} printable letters are expected")
    return text
