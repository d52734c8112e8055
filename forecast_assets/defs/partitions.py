"""The partitions: date periods of the calendar, and stores.

The calendar's arithmetic is in `planning/calendar.py`.
"""

from datetime import date, datetime

import dagster as dg

from forecast_assets.planning.partition_cells import StorePeriods
from forecast_assets.settings import MAX_PARTITIONS, Settings, settings

DATE_DIMENSION = "date"
STORE_DIMENSION = "store"


class TooManyPartitionsError(Exception):
    """More periods times stores than Dagster can track well."""


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


def refuse_too_many(store_count: int, config: Settings, today: date) -> None:
    """Refuse settings that make more partitions per asset than Dagster recommends.

    Raises:
        TooManyPartitionsError: The message contains the numbers and the settings to change.
    """
    last = min(config.calendar_end, today) if config.calendar_end else today
    last = max(last, config.calendar_start)
    periods = sum(1 for _ in config.calendar.periods_between(config.calendar_start, last))
    if periods * store_count > MAX_PARTITIONS:
        raise TooManyPartitionsError(
            f"{periods} {config.date_grain} periods from {config.calendar_start} to {last} x "
            f"{store_count} stores = {periods * store_count:,} partitions per asset, but the "
            f"limit is {MAX_PARTITIONS:,}. Start the calendar later (SALES_CALENDAR_START), end "
            "it earlier (SALES_CALENDAR_END) or set a coarser FORECAST_DATE_GRAIN"
        )


def partition_key(period: date, store: int) -> str:
    """Return the key of a partition cell."""
    return f"{period}|{store}"


def parse_partition_keys(keys: list[str]) -> StorePeriods:
    """Return the partition cells of partition keys, sorted."""
    cells: StorePeriods = {}
    for key in keys:
        period, store = key.split("|")
        cells.setdefault(date.fromisoformat(period), []).append(int(store))
    return {period: sorted(cells[period]) for period in sorted(cells)}
