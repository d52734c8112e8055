"""When an event can have been sent, and which sales it can know.

The stream and the loader of files share these limits and the two reason codes. How the stream
applies them to an event is in `streaming_job/strict.py` and `streaming_job/transform.py`. Spark's
Python workers import this module: it imports only the standard library.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

#: The reason code of an event whose time cannot be right.
IMPOSSIBLE_TIME: Final = "impossible_time"
#: The reason code of sales of a day that had not come when the event was sent.
FUTURE_SALES: Final = "future_sales"

#: Days by which sales may be dated after their event's time: clocks and time zones differ.
SALES_AHEAD_DAYS: Final = 1
#: Days by which an event's time may be ahead of the clock of whoever takes the event.
CLOCK_AHEAD_DAYS: Final = 1
#: Days before the calendar's first day at which a plan for that day may have been sent.
PLAN_AHEAD_DAYS: Final = 366

#: Microseconds in a day and in a millisecond, Kafka's unit.
DAY_MICROS: Final = 86_400_000_000
MILLI_MICROS: Final = 1_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(moment: datetime) -> int:
    """Return a moment as microseconds since 1970."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


#: The times that are stored, in microseconds. Earlier and later ones cannot be right, and pandas
#: (1677 to 2262) or Python (up to 9999) could not read them: they are stored as the bound.
FIRST_STORED: Final = micros(datetime(1678, 1, 1, tzinfo=UTC))
LAST_STORED: Final = micros(datetime(2262, 1, 1, tzinfo=UTC))


@dataclass(frozen=True)
class TimeRange:
    """The possible times of events, both ends included, in microseconds since 1970."""

    first: int
    last: int


def possible_times(calendar_start: date, now: datetime) -> TimeRange:
    """Return the times that events may have.

    Seconds, microseconds or nanoseconds in the place of milliseconds lie outside.

    Args:
        calendar_start: The first day that events may carry.
        now: The clock of whoever takes the events.
    """
    first = datetime(calendar_start.year, calendar_start.month, calendar_start.day, tzinfo=UTC)
    return TimeRange(
        first=max(micros(first) - PLAN_AHEAD_DAYS * DAY_MICROS, FIRST_STORED + 1),
        last=min(micros(now) + CLOCK_AHEAD_DAYS * DAY_MICROS, LAST_STORED - 1),
    )


def last_sales_day(sent: datetime) -> date:
    """Return the last day whose sales an event sent at this moment can know."""
    return (sent.astimezone(UTC) + timedelta(days=SALES_AHEAD_DAYS)).date()


def as_stored(time_micros: int) -> int:
    """Return the time that is stored for an event's time."""
    return min(max(time_micros, FIRST_STORED), LAST_STORED)


def as_text(time_micros: int) -> str:
    """Return a time in ISO 8601, or on which side of what can be stored it lies."""
    if time_micros <= FIRST_STORED:
        return "before 1678"
    if time_micros >= LAST_STORED:
        return "after 2261"
    return (_EPOCH + timedelta(microseconds=time_micros)).isoformat(timespec="seconds")
