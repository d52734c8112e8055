"""Validation of one event in plain Python: the rules of `reason_codes`, in their order.

Slow and exact. `transform` sends the events here that its regular expression does not match.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from typing import Any

from rossmann import event_times, fields
from streaming_job import reason_codes
from streaming_job.reason_codes import Reason

_DATE_PATTERN = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")
_FIRST_DAY = date(1970, 1, 1)
_UNPRINTABLE = re.compile("[^ -~]")
#: Characters of a detail to keep.
_MAX_DETAIL = 40
_RANGES = dict.fromkeys(
    fields.INTEGER_FIELDS, (reason_codes.MIN_INTEGER, reason_codes.MAX_INTEGER)
) | {
    fields.DAY_OF_WEEK: (1, 7),
    **dict.fromkeys(fields.FLAGS, (0, 1)),
}
# Exact types: True is an int to Python, and 1.0 is not written as an integer.
_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(fields.INTEGER_FIELDS, (int,)),
    fields.DATE: (str,),
    fields.STATE_HOLIDAY: (str, int),
}


class InvalidEventError(ValueError):
    """The event cannot be used.

    Attributes:
        reason: Why.
        detail: The field or value at fault, printable; empty if the reason says it all.
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        """Shorten the detail and replace what is not printable ASCII."""
        self.reason = reason
        # PostgreSQL's text takes no NUL, and no terminal should receive control characters.
        self.detail = _UNPRINTABLE.sub("?", detail[:_MAX_DETAIL])
        super().__init__(f"{reason}: {self.detail}")


@dataclass(frozen=True)
class Bounds:
    """The days that events may carry, both ends included, and the times that they may have."""

    first: date
    last: date
    times: event_times.TimeRange


def parse_event(value: bytes | None, sent_micros: int, bounds: Bounds) -> dict[str, Any]:
    """Parse and validate an event, except for the existence of its store.

    Args:
        value: The event's bytes.
        sent_micros: The event's time, in microseconds since 1970.
        bounds: The days that it may carry and the times that it may have.

    Returns:
        The columns of `fields.COLUMNS`; None where a plan leaves a field out.

    Raises:
        InvalidEventError: The event is invalid, for the first reason in the order of `Reason`.
    """
    row = parse_row(value)
    _check_meaning(row, bounds)
    _check_times(row, sent_micros, bounds)
    return row


def parse_row(value: bytes | None) -> dict[str, Any]:
    """Parse an event's columns; check their syntax, types and ranges, but not their meaning.

    Args:
        value: The event's bytes.

    Returns:
        As `parse_event`.

    Raises:
        InvalidEventError: The bytes do not hold a row.
    """
    event = _select_fields(_parse_json(value))
    for check in (_check_complete, _check_types, _check_ranges):
        check(event)
    row = {column: event.get(name) for name, column in fields.COLUMNS.items()}
    day = _parse_date(event[fields.DATE])
    return row | {"date": day, "state_holiday": str(event[fields.STATE_HOLIDAY])}


def _parse_json(value: bytes | None) -> Any:
    """Return the JSON value if the bytes are exactly one."""
    if value is None:
        raise InvalidEventError(Reason.NULL_VALUE, "no value")
    if len(value) > reason_codes.MAX_VALUE_BYTES:
        raise InvalidEventError(Reason.OVERSIZED, f"{len(value)} bytes")
    try:
        text = value.decode("utf-8", errors="strict")
    except UnicodeDecodeError as error:
        raise InvalidEventError(Reason.NOT_UTF8) from error
    constants: list[str] = []
    try:
        document = json.loads(
            text, object_pairs_hook=_unique_names, parse_constant=constants.append
        )
        # Half a surrogate pair cannot be written as UTF-8, so it is not text.
        json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise InvalidEventError(Reason.NOT_JSON) from error
    if _is_nested_deeper(document, reason_codes.MAX_NESTING):
        raise InvalidEventError(Reason.NOT_JSON, f"nested over {reason_codes.MAX_NESTING} levels")
    if constants:
        raise InvalidEventError(Reason.NAN)
    return document


def _is_nested_deeper(document: Any, levels: int) -> bool:
    """Return whether arrays and objects are nested in more levels than these."""
    level = [document]
    for _ in range(levels):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def _unique_names(members: list[tuple[str, Any]]) -> dict[str, Any]:
    members_by_name = dict(members)
    if len(members_by_name) < len(members):
        raise ValueError("a name occurs twice")
    return members_by_name


def _select_fields(document: Any) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise InvalidEventError(Reason.NOT_OBJECT)
    return {name: document[name] for name in fields.FIELDS if name in document}


def _reject_first(reason: Reason, names: Mapping[str, Any], test: Callable[[str], bool]) -> None:
    """Raise for the first field, in the data set's order, for which the test holds."""
    for name in names:
        if test(name):
            raise InvalidEventError(reason, name)


def _check_complete(event: Mapping[str, Any]) -> None:
    _reject_first(Reason.NULL_VALUE, event, lambda name: event[name] is None)
    is_plan = not any(name in event for name in fields.OUTCOME_FIELDS)
    optional = fields.OPTIONAL_ON_PLAN if is_plan else ()
    required = dict.fromkeys(name for name in fields.FIELDS if name not in optional)
    _reject_first(Reason.MISSING_FIELD, required, lambda name: name not in event)


def _check_types(event: Mapping[str, Any]) -> None:
    _reject_first(Reason.WRONG_TYPE, event, lambda name: type(event[name]) not in _TYPES[name])


def _check_ranges(event: Mapping[str, Any]) -> None:
    numbers = {name: event[name] for name in fields.INTEGER_FIELDS if name in event}

    def is_outside(name: str) -> bool:
        low, high = _RANGES[name]
        return not low <= numbers[name] <= high

    _reject_first(Reason.OUT_OF_RANGE, numbers, is_outside)
    outcome = {name: event[name] for name in fields.OUTCOME_FIELDS if name in event}
    _reject_first(Reason.NEGATIVE_SALES, outcome, lambda name: outcome[name] < 0)


def _parse_date(text: str) -> date:
    # `fromisoformat` alone accepts other notations too.
    if _DATE_PATTERN.fullmatch(text):
        with suppress(ValueError):
            return date.fromisoformat(text)
    raise InvalidEventError(Reason.IMPOSSIBLE_DATE, text)


def _check_meaning(row: Mapping[str, Any], bounds: Bounds) -> None:
    day = row["date"]
    if not bounds.first <= day <= bounds.last:
        raise InvalidEventError(Reason.OUTSIDE_CALENDAR, str(day))
    if row["day_of_week"] != day.isoweekday():
        raise InvalidEventError(Reason.WEEKDAY_MISMATCH, f"Date is a day {day.isoweekday()}")
    if row["state_holiday"] not in fields.STATE_HOLIDAY_CODES:
        raise InvalidEventError(Reason.UNKNOWN_HOLIDAY, row["state_holiday"])
    if row["open"] == 0 and (row["sales"] or 0) > 0:
        raise InvalidEventError(Reason.SALES_WHILE_CLOSED, f"Sales {row['sales']}")


def _check_times(row: Mapping[str, Any], sent_micros: int, bounds: Bounds) -> None:
    sent = event_times.as_text(sent_micros)
    if not bounds.times.first <= sent_micros <= bounds.times.last:
        raise InvalidEventError(Reason.IMPOSSIBLE_TIME, sent)
    latest = sent_micros + event_times.SALES_AHEAD_DAYS * event_times.DAY_MICROS
    midnight = (row["date"] - _FIRST_DAY).days * event_times.DAY_MICROS
    if row["sales"] is not None and midnight > latest:
        raise InvalidEventError(Reason.FUTURE_SALES, f"{row['date']} sent {sent}")
