"""The one partition scheme: a bounded calendar by the settings' grain, and the known stores."""

from datetime import date, datetime, timedelta

import dagster as dg

from forecast_assets.planning.calendar import count_periods, next_period, period_start
from forecast_assets.planning.partition_cells import Cells
from forecast_assets.settings import MAX_PARTITIONS, Settings, settings

DATE_DIMENSION = "date"
STORE_DIMENSION = "store"


class TooManyPartitionsError(Exception):
    """The calendar times the stores is more than Dagster should be asked to track."""


def date_partitions(chosen: Settings) -> dg.TimeWindowPartitionsDefinition:
    """The date partitions; the running period is the last one, or the calendar's end."""
    grain = chosen.date_grain
    start = period_start(chosen.calendar_start, grain)
    end = None
    if chosen.calendar_end is not None:
        end = datetime.combine(
            next_period(period_start(chosen.calendar_end, grain), grain), datetime.min.time()
        )
    # end_offset=1: without it the running, unfinished period would have no partition.
    if grain == "monthly":
        return dg.MonthlyPartitionsDefinition(str(start), end_date=end, end_offset=1)
    if grain == "weekly":
        return dg.WeeklyPartitionsDefinition(str(start), end_date=end, end_offset=1, day_offset=1)
    return dg.DailyPartitionsDefinition(str(start), end_date=end, end_offset=1)


dates = date_partitions(settings())
stores = dg.DynamicPartitionsDefinition(name=STORE_DIMENSION)
sales_partitions = dg.MultiPartitionsDefinition({DATE_DIMENSION: dates, STORE_DIMENSION: stores})


def last_day() -> date:
    """The last day that the calendar's partitions cover at the moment."""
    key = dates.get_last_partition_key()
    if key is None:
        return settings().calendar_start
    start = date.fromisoformat(key)
    return next_period(start, settings().date_grain) - timedelta(days=1)


def refuse_too_many(store_count: int, chosen: Settings, today: date) -> None:
    """Refuses settings that would make more partitions than Dagster recommends.

    Raises:
        TooManyPartitionsError: The message gives the numbers and what to change.
    """
    last = min(chosen.calendar_end, today) if chosen.calendar_end else today
    periods = count_periods(
        chosen.calendar_start, max(last, chosen.calendar_start), chosen.date_grain
    )
    if periods * store_count > MAX_PARTITIONS:
        raise TooManyPartitionsError(
            f"{periods} {chosen.date_grain} periods from {chosen.calendar_start} to {last} x "
            f"{store_count} stores = {periods * store_count:,} partitions an asset; the limit is "
            f"{MAX_PARTITIONS:,}: begin the calendar later (SALES_CALENDAR_START), bound it "
            "(SALES_CALENDAR_END) or choose a coarser FORECAST_DATE_GRAIN"
        )


def partition_key(period: date, store: int) -> str:
    """The key of a cell."""
    return f"{period}|{store}"


def cells_of(keys: list[str]) -> Cells:
    """The cells behind partition keys."""
    cells: Cells = {}
    for key in keys:
        period, store = key.split("|")
        cells.setdefault(date.fromisoformat(period), []).append(int(store))
    return {period: sorted(cells[period]) for period in sorted(cells)}
