"""The calendar's periods: how a day belongs to a date partition, for each grain."""

from collections.abc import Iterator
from datetime import date, timedelta

GRAINS = ("monthly", "weekly", "daily")


def period_start(day: date, grain: str) -> date:
    """The first day of the period that holds a day; weeks begin on Monday.

    Raises:
        ValueError: The grain is unknown.
    """
    if grain == "monthly":
        return day.replace(day=1)
    if grain == "weekly":
        return day - timedelta(days=day.weekday())
    if grain == "daily":
        return day
    raise ValueError(f"grain {grain!r} is none of {', '.join(GRAINS)}")


def period_end(start: date, grain: str) -> date:
    """The last day of the period that begins on `start`."""
    return next_period(start, grain) - timedelta(days=1)


def next_period(start: date, grain: str) -> date:
    """The first day of the period after the one that begins on `start`."""
    if grain == "monthly":
        return (start.replace(day=1) + timedelta(days=31)).replace(day=1)
    return start + timedelta(days=7 if grain == "weekly" else 1)


def periods_between(first: date, last: date, grain: str) -> Iterator[date]:
    """The starts of the periods from the one that holds `first` to the one that holds `last`."""
    start = period_start(first, grain)
    while start <= last:
        yield start
        start = next_period(start, grain)


def count_periods(first: date, last: date, grain: str) -> int:
    """How many periods cover two days and what lies between them."""
    return sum(1 for _ in periods_between(first, last, grain))
