"""The partitions: date periods of the calendar, and stores.

The calendar's arithmetic is in `planning/calendar.py`.
"""

from collections.abc import Iterable
from datetime import date, datetime, timedelta

import dagster as dg

from forecast_assets.planning.partition_cells import Span, StorePeriods
from forecast_assets.settings import MAX_PARTITIONS, Settings, SettingsError, settings
from rossmann.parsing import MAX_STORE

DATE_DIMENSION = "date"
STORE_DIMENSION = "store"
#: How long before there are too many partitions a warning is given.
WARN_AHEAD = timedelta(days=183)


def date_partitions(config: Settings) -> dg.TimeWindowPartitionsDefinition:
    """Return the date partitions; the last one is the current period or the calendar's end."""
    calendar = config.calendar
    start = str(calendar.start_of(config.calendar_start))
    end = None
    if config.calendar_end is not None:
        after = calendar.next(calendar.start_of(config.calendar_end))
        end = datetime.combine(after, datetime.min.time())
    # end_offset=1: without it, the current, unfinished period would have no partition.
    if calendar.grain == "monthly":
        return dg.MonthlyPartitionsDefinition(start, end_date=end, end_offset=1)
    if calendar.grain == "weekly":
        return dg.WeeklyPartitionsDefinition(start, end_date=end, end_offset=1, day_offset=1)
    return dg.DailyPartitionsDefinition(start, end_date=end, end_offset=1)


dates = date_partitions(settings())
stores = dg.DynamicPartitionsDefinition(name=STORE_DIMENSION)
sales_partitions = dg.MultiPartitionsDefinition({DATE_DIMENSION: dates, STORE_DIMENSION: stores})


def partitions_warning(store_count: int, config: Settings, today: date) -> str | None:
    """Return a warning if there are too many partitions, or will be within `WARN_AHEAD`."""
    problem = too_many(store_count, config, today + WARN_AHEAD)
    return f"{problem}. Refreshes go on, but Dagster's pages get slower" if problem else None


def too_many(store_count: int, config: Settings, day: date) -> str | None:
    """Return what is wrong with the number of partitions that there are on a day, if anything.

    What starts a stack refuses more than Dagster recommends. A running one is warned and goes on.
    """
    last = min(config.calendar_end, day) if config.calendar_end else day
    last = max(last, config.calendar_start)
    periods = sum(1 for _ in config.calendar.periods_between(config.calendar_start, last))
    if periods * store_count <= MAX_PARTITIONS:
        return None
    return (
        f"{periods} {config.date_grain} periods from {config.calendar_start} to {last} x "
        f"{store_count} stores = {periods * store_count:,} partitions per asset, but the "
        f"limit is {MAX_PARTITIONS:,}. Start the calendar later (SALES_CALENDAR_START), end "
        "it earlier (SALES_CALENDAR_END) or set a coarser FORECAST_DATE_GRAIN"
    )


def partition_key(period: date, store: int) -> str:
    """Return the key of a partition cell."""
    return f"{period}|{store}"


def store_of(key: str) -> int | None:
    """Return the store of a key of the store dimension; None for a key that names no store.

    Anybody can add a key in the UI. `007` is not a store's key either: `partition_key` would write
    another one.
    """
    try:
        store = int(key)
    except ValueError:
        return None
    return store if str(store) == key and 0 < store <= MAX_STORE else None


def parse_partition_keys(keys: Iterable[str]) -> tuple[StorePeriods, list[str]]:
    """Return the partition cells of partition keys, sorted, and the keys that name no store."""
    cells: StorePeriods = {}
    foreign = set()
    for key in keys:
        period, name = key.split("|", 1)
        store = store_of(name)
        if store is None:
            foreign.add(name)
        else:
            cells.setdefault(date.fromisoformat(period), []).append(store)
    return {period: sorted(cells[period]) for period in sorted(cells)}, sorted(foreign)


def covered_days() -> Span:
    """Return the first day and the last day that the date partitions cover.

    Raises:
        SettingsError: The calendar begins in the future, so there is no partition.
    """
    calendar = settings().calendar
    first, last = dates.get_first_partition_key(), dates.get_last_partition_key()
    if first is None or last is None:
        raise SettingsError(
            f"SALES_CALENDAR_START is {settings().calendar_start}, which has not come yet, so "
            "there is no date partition. Set it to the first day with sales and restart"
        )
    return date.fromisoformat(first), calendar.end_of(date.fromisoformat(last))
