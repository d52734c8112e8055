"""Partition cells: which stores of which periods a run computes, and in which chunks.

A partition cell is one store in one period, that is one partition of a store-level asset. Contains
set arithmetic only; `defs/scope.py` decides which cells a run computes.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from forecast_assets.planning.calendar import Calendar

#: Period -> its stores, ascending.
StorePeriods = dict[date, list[int]]

#: The first and the last day of a span.
Span = tuple[date, date]

ALL_DAYS: Span = (date.min, date.max)

#: Bounds of a chunk. Memory use depends on these, not on the number of stores or the length of
#: their history.
CHUNK_PERIODS = 12
CHUNK_STORES = 1_500


@dataclass(frozen=True)
class Chunk:
    """A rectangle of partition cells that one transaction reads, computes and replaces."""

    periods: tuple[date, ...]
    stores: tuple[int, ...]
    first_day: date
    last_day: date


def cells_since(
    first_days: Mapping[int, date],
    last_days: Mapping[int, date],
    calendar: Calendar,
    covered: Span = ALL_DAYS,
) -> StorePeriods:
    """Return the cells from each store's first day to its last.

    If the first day is after the last (a plan for a future day), the store has one cell: the
    period of its last day.

    Args:
        first_days: Store -> the earliest day that changed.
        last_days: Store -> its newest day. A store without one has no cell.
        calendar: The periods.
        covered: The days that the date partitions cover. Days outside have no cell.
    """
    cells: StorePeriods = {}
    for store in sorted(first_days):
        if store in last_days and last_days[store] >= covered[0]:
            last = min(last_days[store], covered[1])
            first = max(min(first_days[store], last), covered[0])
            for period in calendar.periods_between(first, last):
                cells.setdefault(period, []).append(store)
    return dict(sorted(cells.items()))


def shift(days: Mapping[int, date], by: timedelta) -> dict[int, date]:
    """Shift each store's day; a day that would leave Python's calendar stays at its edge."""
    return {store: date.min if day - date.min < -by else day + by for store, day in days.items()}


def merge(*parts: StorePeriods) -> StorePeriods:
    """Return the union of several sets of cells."""
    union: dict[date, set[int]] = {}
    for part in parts:
        for period, stores in part.items():
            union.setdefault(period, set()).update(stores)
    return {period: sorted(union[period]) for period in sorted(union)}


def within(cells: StorePeriods, calendar: Calendar, days: Span) -> StorePeriods:
    """Return the cells whose periods overlap a span of days."""
    first, last = days
    return {p: cells[p] for p in cells if p <= last and calendar.end_of(p) >= first}


def count(cells: StorePeriods) -> int:
    """Return the number of cells."""
    return sum(len(stores) for stores in cells.values())


def chunks(cells: StorePeriods, calendar: Calendar, days: Span = ALL_DAYS) -> Iterator[Chunk]:
    """Cut cells into rectangles; adjacent periods with the same stores share one.

    Args:
        cells: The cells to cut. Each period overlaps the span.
        calendar: The periods.
        days: The span that first and last days are clipped to.

    Yields:
        Rectangles of at most `CHUNK_PERIODS` periods and `CHUNK_STORES` stores, which together
        cover every cell once.
    """
    group: list[date] = []
    for period in sorted(cells):
        joins = (
            group
            and len(group) < CHUNK_PERIODS
            and calendar.next(group[-1]) == period
            and cells[group[-1]] == cells[period]
        )
        if group and not joins:
            yield from _split_stores(group, cells[group[-1]], calendar, days)
            group = []
        group.append(period)
    if group:
        yield from _split_stores(group, cells[group[-1]], calendar, days)


def rectangle(
    cells: StorePeriods, ordered_stores: Iterable[int]
) -> tuple[date, date, int, int] | None:
    """Return the corners of the smallest rectangle that contains all cells.

    Args:
        cells: The cells to cover.
        ordered_stores: All stores, in the order of the partitions definition. A range of partition
            keys follows this order, not the order of the store numbers.

    Returns:
        First and last period, first and last store; None if no store has a partition.
    """
    wanted = {store for stores in cells.values() for store in stores}
    listed = [store for store in ordered_stores if store in wanted]
    if not listed:
        return None
    return min(cells), max(cells), listed[0], listed[-1]


def _split_stores(
    periods: list[date], stores: list[int], calendar: Calendar, days: Span
) -> Iterator[Chunk]:
    for begin in range(0, len(stores), CHUNK_STORES):
        yield Chunk(
            periods=tuple(periods),
            stores=tuple(stores[begin : begin + CHUNK_STORES]),
            first_day=max(periods[0], days[0]),
            last_day=min(calendar.end_of(periods[-1]), days[1]),
        )
