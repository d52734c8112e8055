"""Cells: exactly which stores of which periods a run has to compute, and in which pieces."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date

from forecast_assets.planning.calendar import next_period, period_end, periods_between

Cells = dict[date, list[int]]
"""The start of a period -> the stores of it, ascending."""

CHUNK_PERIODS = 12
CHUNK_STORES = 1_500
"""A chunk's bounds: memory follows these, not the size of the chain or of its history."""

Days = tuple[date, date]
"""The first and the last day of a span."""

ALL_DAYS: Days = (date.min, date.max)


@dataclass(frozen=True)
class Chunk:
    """A rectangle of cells that is read, computed and replaced in one transaction."""

    periods: tuple[date, ...]
    stores: tuple[int, ...]
    first_day: date
    last_day: date


def cells_since(first_days: Mapping[int, date], last_days: Mapping[int, date], grain: str) -> Cells:
    """The cells from each store's first day to its last.

    A first day after the last (a plan for a coming day) gives the last day's own period.

    Args:
        first_days: Store -> the earliest day that changed.
        last_days: Store -> the newest day that the store has; other stores give no cell.
        grain: monthly, weekly or daily.
    """
    cells: Cells = {}
    for store in sorted(first_days):
        if store in last_days:
            last = last_days[store]
            for period in periods_between(min(first_days[store], last), last, grain):
                cells.setdefault(period, []).append(store)
    return dict(sorted(cells.items()))


def merge(*parts: Cells) -> Cells:
    """The union of cells."""
    union: dict[date, set[int]] = {}
    for part in parts:
        for period, stores in part.items():
            union.setdefault(period, set()).update(stores)
    return {period: sorted(union[period]) for period in sorted(union)}


def within(cells: Cells, grain: str, days: Days) -> Cells:
    """The cells whose periods hold a day of a span."""
    first, last = days
    return {p: cells[p] for p in cells if p <= last and period_end(p, grain) >= first}


def chunks(cells: Cells, grain: str, days: Days = ALL_DAYS) -> Iterator[Chunk]:
    """Cuts cells into rectangles: neighbouring periods with the same stores go together.

    Args:
        cells: What to compute; each period holds a day of the span.
        grain: monthly, weekly or daily.
        days: The span that first and last days are kept to.

    Yields:
        Rectangles of at most `CHUNK_PERIODS` periods and `CHUNK_STORES` stores, which together
        cover every cell once.
    """
    group: list[date] = []
    for period in sorted(cells):
        joins = (
            group
            and len(group) < CHUNK_PERIODS
            and next_period(group[-1], grain) == period
            and cells[group[-1]] == cells[period]
        )
        if group and not joins:
            yield from _by_stores(group, cells[group[-1]], grain, days)
            group = []
        group.append(period)
    if group:
        yield from _by_stores(group, cells[group[-1]], grain, days)


def rectangle(cells: Cells, ordered_stores: Iterable[int]) -> tuple[date, date, int, int] | None:
    """The corners of the smallest rectangle that holds all cells.

    Args:
        cells: What to compute.
        ordered_stores: All stores in the order of their partitions' definition: a range of
            partition keys runs in this order, whatever the keys' own order.

    Returns:
        First and last period, first and last store; None without a cell.
    """
    wanted = {store for stores in cells.values() for store in stores}
    listed = [store for store in ordered_stores if store in wanted]
    if not listed:
        return None
    return min(cells), max(cells), listed[0], listed[-1]


def _by_stores(periods: list[date], stores: list[int], grain: str, days: Days) -> Iterator[Chunk]:
    for begin in range(0, len(stores), CHUNK_STORES):
        yield Chunk(
            periods=tuple(periods),
            stores=tuple(stores[begin : begin + CHUNK_STORES]),
            first_day=max(periods[0], days[0]),
            last_day=min(period_end(periods[-1], grain), days[1]),
        )
