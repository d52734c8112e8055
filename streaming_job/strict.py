"""One event, judged in plain Python: the rules of `events`, in the order of its reasons.

Slow and exact: `transform` sends here what it does not recognise at a glance.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from typing import Any

from streaming_job import events
from streaming_job.events import Reason

_DATE_SHAPE = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")
_UNPRINTABLE = re.compile("[^ -~]")
_SHOWN_CHARACTERS = 40
_RANGES = {
    name: (0, 1)
    if name in events.FLAGS
    else (1, 7)
    if name == events.DAY_OF_WEEK
    else (events.MIN_INTEGER, events.MAX_INTEGER)
    for name in events.INTEGER_FIELDS
}


class InvalidEventError(ValueError):
    """The event cannot be used.

    Attributes:
        reason: Why.
        detail: What exactly, printable; empty where the reason says it all.
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        """Keeps what of the detail can be shown anywhere."""
        self.reason = reason
        # PostgreSQL's text takes no NUL, and nobody's terminal should take control characters.
        self.detail = _UNPRINTABLE.sub("?", detail[:_SHOWN_CHARACTERS])
        super().__init__(f"{reason}: {self.detail}")


@dataclass(frozen=True)
class DateRange:
    """The days that events may carry, both ends inside."""

    first: date
    last: date


def parse_event(value: bytes | None, days: DateRange) -> dict[str, Any]:
    """The event as a row.

    Args:
        value: The event's bytes.
        days: The calendar.

    Returns:
        The columns of `events.COLUMNS`; None where a plan leaves a field out.

    Raises:
        InvalidEventError: The first reason, in the order of `Reason`, for which it cannot be used.
            Whether its store is known is not judged here.
    """
    given = _fields(_document(value))
    for check in (_complete, _typed, _in_range):
        check(given)
    day = _day(given[events.DATE])
    holiday = str(given[events.STATE_HOLIDAY])
    _meaningful(given, day, holiday, days)
    row = {column: given.get(name) for name, column in events.COLUMNS.items()}
    return row | {"date": day, "state_holiday": holiday}


def _document(value: bytes | None) -> Any:
    """The JSON value, if the bytes are exactly one."""
    if value is None:
        raise InvalidEventError(Reason.NULL_VALUE, "no value")
    if len(value) > events.MAX_VALUE_BYTES:
        raise InvalidEventError(Reason.OVERSIZED, f"{len(value)} bytes")
    try:
        text = value.decode("utf-8", errors="strict")
    except UnicodeDecodeError as error:
        raise InvalidEventError(Reason.NOT_UTF8) from error
    constants: list[str] = []
    try:
        document = json.loads(text, object_pairs_hook=_names_once, parse_constant=constants.append)
        # Half a surrogate pair is no text: it cannot be written as UTF-8.
        json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise InvalidEventError(Reason.NOT_JSON) from error
    if constants:
        raise InvalidEventError(Reason.NAN)
    return document


def _names_once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) < len(members):
        raise ValueError("a name occurs twice")
    return found


def _fields(document: Any) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise InvalidEventError(Reason.NOT_OBJECT)
    return {name: document[name] for name in events.FIELDS if name in document}


def _refuse(reason: Reason, given: Mapping[str, Any], test: Callable[[str], bool]) -> None:
    """Raises for the first field, in the dataset's order, for which the test holds."""
    for name in given:
        if test(name):
            raise InvalidEventError(reason, name)


def _complete(given: Mapping[str, Any]) -> None:
    _refuse(Reason.NULL_VALUE, given, lambda name: given[name] is None)
    is_plan = not any(name in given for name in events.ABSENT_ON_PLAN)
    optional = events.OPTIONAL_ON_PLAN if is_plan else ()
    needed = dict.fromkeys(name for name in events.FIELDS if name not in optional)
    _refuse(Reason.MISSING_FIELD, needed, lambda name: name not in given)


def _typed(given: Mapping[str, Any]) -> None:
    # Exact types: True is an int to Python, and 1.0 is no integer as it is written.
    allowed: dict[str, tuple[type, ...]] = {
        events.DATE: (str,),
        events.STATE_HOLIDAY: (str, int),
    }
    _refuse(
        Reason.WRONG_TYPE,
        given,
        lambda name: type(given[name]) not in allowed.get(name, (int,)),
    )


def _in_range(given: Mapping[str, Any]) -> None:
    numbers = {name: given[name] for name in events.INTEGER_FIELDS if name in given}

    def is_outside(name: str) -> bool:
        low, high = _RANGES[name]
        return not low <= numbers[name] <= high

    _refuse(Reason.OUT_OF_RANGE, numbers, is_outside)
    sold = {name: given[name] for name in events.ABSENT_ON_PLAN if name in given}
    _refuse(Reason.NEGATIVE_SALES, sold, lambda name: sold[name] < 0)


def _day(written: str) -> date:
    # `fromisoformat` alone takes other ways to write a day too.
    if _DATE_SHAPE.fullmatch(written):
        with suppress(ValueError):
            return date.fromisoformat(written)
    raise InvalidEventError(Reason.IMPOSSIBLE_DATE, written)


def _meaningful(given: Mapping[str, Any], day: date, holiday: str, days: DateRange) -> None:
    if not days.first <= day <= days.last:
        raise InvalidEventError(Reason.OUTSIDE_CALENDAR, str(day))
    if given[events.DAY_OF_WEEK] != day.isoweekday():
        raise InvalidEventError(Reason.WEEKDAY_MISMATCH, f"Date is a day {day.isoweekday()}")
    if holiday not in events.HOLIDAY_CODES:
        raise InvalidEventError(Reason.UNKNOWN_HOLIDAY, holiday)
    sold = given.get(events.SALES, 0)
    if given.get(events.OPEN) == 0 and sold > 0:
        raise InvalidEventError(Reason.SALES_WHILE_CLOSED, f"Sales {sold}")
