"""Day-level features of a store, from the calendar and the plan.

The features describe a day's position in promo blocks, holidays, closures and refurbishments, and
its distance from Christmas and Easter. Only `log_sales` and `log_customers`, the day's own targets,
come from sales.
Inputs that summarize sales up to an origin live in `models/at_origin.py`; `features/regressors.py`
expands these columns into the regressors.

Every counter is capped, so a day's features depend on at most `CONTEXT_DAYS` before it and
`LOOKAHEAD_DAYS` after it. A day without a row is unknown. It counts as neither promo nor holiday
nor closed day, and it ends any run of such days.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import pandas as pd
from dateutil.easter import easter

#: Closed days in a row that count as a refurbishment. Christmas with a Sunday and a bridge day is
#: shorter.
REFURBISHMENT_MIN_DAYS = 6
#: Caps of the days since a refurbishment and of its length, in days.
REFURBISHMENT_SINCE_CAP = 90
REFURBISHMENT_LENGTH_CAP = 60
#: Cap of all other counters that look back, in days.
SINCE_CAP = 30
#: Days of the plan after a day that its features depend on.
LOOKAHEAD_DAYS = 14
#: Days ahead at which a future closure is noticed: once `REFURBISHMENT_MIN_DAYS` of it lie inside
#: the look-ahead.
CLOSURE_NOTICE_DAYS = LOOKAHEAD_DAYS - REFURBISHMENT_MIN_DAYS + 1
#: Days before a day that its features depend on.
CONTEXT_DAYS = REFURBISHMENT_SINCE_CAP + REFURBISHMENT_LENGTH_CAP

#: Columns of a feature row after its key (store, date), with PostgreSQL's type names.
FEATURE_COLUMNS: dict[str, str] = {
    "day_of_week": "int2",
    "open": "int2",
    "promo": "int2",
    "state_holiday": "int2",
    "school_holiday": "int2",
    "log_sales": "float4",
    "log_customers": "float4",
    "promo_day": "int2",
    "promo_days_left": "int2",
    "days_since_promo": "int2",
    "days_to_promo": "int2",
    "promo_days_last_14": "int2",
    "promo_days_next_14": "int2",
    "days_since_holiday": "int2",
    "days_to_holiday": "int2",
    "school_day": "int2",
    "school_days_left": "int2",
    "days_since_school": "int2",
    "days_to_school": "int2",
    "closed_days_before": "int2",
    "closed_days_after": "int2",
    "open_days_week": "int2",
    "days_since_refurbishment": "int2",
    "days_to_refurbishment": "int2",
    "refurbishment_days": "int2",
    "days_to_christmas": "int2",
    "days_from_easter": "int2",
    "plan_assumed": "bool",
}

#: Numbers of the codes of `state_holiday`: none, public holiday, Easter, Christmas.
STATE_HOLIDAY_CODES = {"0": 0, "a": 1, "b": 2, "c": 3}

_NUMPY_TYPES = {"int2": np.int16, "int4": np.int32, "float4": np.float32, "bool": np.bool_}

Grid = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int16]


def easter_sunday(years: npt.NDArray[np.integer]) -> npt.NDArray[np.datetime64]:
    """Return the date (`datetime64[D]`) of Easter Sunday of each year."""
    distinct, index = np.unique(years, return_inverse=True)
    sundays = np.array([easter(int(year)) for year in distinct], "datetime64[D]")
    return sundays[index].reshape(years.shape)


def _run_before(flag: Grid) -> Counts:
    """Count the consecutive days of `flag` up to and including each day (stores × days)."""
    out = np.zeros(flag.shape, np.int16)
    run = np.zeros(flag.shape[0], np.int16)
    for j in range(flag.shape[1]):
        run = np.where(flag[:, j], run + 1, 0).astype(np.int16)
        out[:, j] = run
    return out


def _since(flag: Grid, cap: int) -> Counts:
    """Count the days since the last day of `flag` (0 on such a day), at most `cap` + 1."""
    out = np.empty(flag.shape, np.int16)
    since = np.full(flag.shape[0], cap + 1, np.int16)
    for j in range(flag.shape[1]):
        since = np.where(flag[:, j], 0, np.minimum(since + 1, cap + 1)).astype(np.int16)
        out[:, j] = since
    return out


def _backwards(function: Callable[..., Counts], flag: Grid, *args: int) -> Counts:
    """Apply a counter from the last day to the first."""
    return function(flag[:, ::-1], *args)[:, ::-1]


def _shifted(values: npt.NDArray[np.generic], days: int) -> npt.NDArray[np.generic]:
    """Shift values to later (`days` = 1) or earlier (-1) days; fill the edge with 0."""
    out = np.zeros_like(values)
    if days > 0:
        out[:, days:] = values[:, :-days]
    else:
        out[:, :days] = values[:, -days:]
    return out


def _windowed(flag: Grid, days: int) -> Counts:
    """Count the days of `flag` among the `days` days before each day, without the day itself."""
    total = np.zeros((flag.shape[0], flag.shape[1] + 1), np.int32)
    np.cumsum(flag, axis=1, out=total[:, 1:])
    start = np.maximum(np.arange(flag.shape[1]) - days, 0)
    return (total[:, :-1] - total[:, start]).astype(np.int16)


def _refurbishments(closed: Grid) -> tuple[Counts, Counts, Counts]:
    """Return days since the last refurbishment, days to the next, and length of the last."""
    n_days = closed.shape[1]
    run = _run_before(closed)
    ends = (run >= REFURBISHMENT_MIN_DAYS) & ~_shifted(closed, -1).astype(bool)
    length = np.zeros(closed.shape, np.int16)
    last = np.zeros(closed.shape[0], np.int16)
    since = _since(ends, REFURBISHMENT_SINCE_CAP)
    for j in range(n_days):
        last = np.where(ends[:, j], np.minimum(run[:, j], REFURBISHMENT_LENGTH_CAP), last)
        last = np.where(since[:, j] > REFURBISHMENT_SINCE_CAP, 0, last).astype(np.int16)
        length[:, j] = last
    ahead = _backwards(_run_before, closed)
    starts = (ahead >= REFURBISHMENT_MIN_DAYS) & ~_shifted(closed, 1).astype(bool)
    return since, _backwards(_since, starts, CLOSURE_NOTICE_DAYS), length


def before_closure(features: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Mark the rows of the last days before a planned closure of `REFURBISHMENT_MIN_DAYS` days.

    Before a long closure, some stores sell their stock at any price and others run empty. Neither
    says anything about the store's other days.
    """
    days = features["days_to_refurbishment"].to_numpy()
    out: npt.NDArray[np.bool_] = (days >= 1) & (days <= CLOSURE_NOTICE_DAYS)
    return out


def _week_total(flag: Grid, weekday: npt.NDArray[np.int64]) -> Counts:
    """Count the days of `flag` in the Monday-to-Sunday week of each day."""
    week = np.cumsum(weekday == 0)
    total = np.zeros((flag.shape[0], int(week.max(initial=0)) + 1), np.int16)
    for j, k in enumerate(week):
        total[:, k] += flag[:, j]
    return total[:, week]


@dataclass(frozen=True)
class _Layout:
    """Where the rows of a day panel lie in a grid of stores × consecutive days.

    Attributes:
        store: Position of each row's store in the grid.
        day: Days from the first day of the grid to each row's date.
        stores: Stores of the grid.
        weekday: Weekday of each day of the grid, shape (days,); Monday is 0.
    """

    store: npt.NDArray[np.int64]
    day: npt.NDArray[np.int64]
    stores: int
    weekday: npt.NDArray[np.int64]

    @classmethod
    def of(cls, days: pd.DataFrame) -> _Layout:
        dates = days["date"].to_numpy("datetime64[D]")
        first = dates.min()
        store, stores = pd.factorize(days["store"].to_numpy())
        calendar = first + np.arange(int((dates.max() - first).astype(int)) + 1)
        weekday = (calendar.astype("datetime64[D]").astype(int) + 3) % 7
        return cls(store, (dates - first).astype(int), len(stores), weekday)

    def grid(self, mask: npt.NDArray[np.bool_]) -> Grid:
        cells = np.zeros((self.stores, len(self.weekday)), bool)
        cells[self.store, self.day] = mask
        return cells

    def at_rows(self, cells: Counts) -> Counts:
        return cells[self.store, self.day]


def day_features(
    days: pd.DataFrame, *, start: date | None = None, end: date | None = None
) -> pd.DataFrame:
    """Compute the day-level features of a day panel.

    Training and forecasting share this function. A future day is a row whose `sales` is NaN. The
    last past days look ahead into the plan, so pass past and planned days together, as
    `features_with_plan` does.

    Args:
        days: Day panel, optionally with `plan_assumed`. It should begin `CONTEXT_DAYS` before
            the first requested day and, where a plan exists, end `LOOKAHEAD_DAYS` after the last.
        start: First date of the result; earlier days serve as context only.
        end: Last date of the result; later days serve as look-ahead only.

    Returns:
        One row per row of `days` between `start` and `end`, sorted by store and date: store
        (int32), date, and `FEATURE_COLUMNS`. `log_sales` is NaN where the store is closed or the
        sales are unknown or zero.

    Raises:
        ValueError: A store has two rows for one date, or a state holiday has an unknown code.
    """
    days = days.sort_values(["store", "date"], kind="stable")
    _refuse_duplicates(days)
    holiday = _holiday_codes(days)
    if days.empty:
        return _no_features(days)
    layout = _Layout.of(days)
    values = _own_values(days, holiday, layout)
    for name, counter in _counters(days, holiday, layout).items():
        values[name] = layout.at_rows(counter)

    dates = days["date"].to_numpy("datetime64[D]")
    requested = np.ones(len(days), bool)
    if start is not None:
        requested &= dates >= np.datetime64(start, "D")
    if end is not None:
        requested &= dates <= np.datetime64(end, "D")
    frame = {
        "store": days["store"].to_numpy(np.int32)[requested],
        "date": days["date"].to_numpy("datetime64[ns]")[requested],
    }
    for name, kind in FEATURE_COLUMNS.items():
        frame[name] = values[name][requested].astype(_NUMPY_TYPES[kind])
    return pd.DataFrame(frame)


def _refuse_duplicates(days: pd.DataFrame) -> None:
    duplicate = days.duplicated(["store", "date"])
    if duplicate.any():
        first = days.loc[duplicate, ["store", "date"]].iloc[0]
        raise ValueError(f"store {first['store']} has two rows for {first['date']:%Y-%m-%d}")


def _holiday_codes(days: pd.DataFrame) -> npt.NDArray[np.int64]:
    codes = days["state_holiday"].astype(str).map(STATE_HOLIDAY_CODES)
    if codes.isna().any():
        unknown = days.loc[codes.isna(), "state_holiday"].iloc[0]
        raise ValueError(
            f"unknown state holiday {unknown!r}; use one of {', '.join(STATE_HOLIDAY_CODES)}"
        )
    out: npt.NDArray[np.int64] = np.asarray(codes, np.int64)
    return out


def _no_features(days: pd.DataFrame) -> pd.DataFrame:
    """Return a feature frame without rows, with every column in its type."""
    out = pd.DataFrame({"store": pd.Series(dtype=np.int32), "date": days["date"]})
    return out.assign(
        **{name: pd.Series(dtype=_NUMPY_TYPES[kind]) for name, kind in FEATURE_COLUMNS.items()}
    )


def _own_values(
    days: pd.DataFrame, holiday: npt.NDArray[np.int64], layout: _Layout
) -> dict[str, npt.NDArray[np.generic]]:
    """Return the features that depend on a row's own date, plan and sales."""
    dates = days["date"].to_numpy("datetime64[D]")
    is_open = days["open"].to_numpy() == 1
    assumed = "plan_assumed" in days
    with np.errstate(divide="ignore", invalid="ignore"):
        sales = days["sales"].to_numpy(np.float64)
        customers = days["customers"].to_numpy(np.float64)
        return {
            "day_of_week": layout.weekday[layout.day] + 1,
            "open": is_open,
            "promo": days["promo"].to_numpy() == 1,
            "state_holiday": holiday,
            "school_holiday": days["school_holiday"].to_numpy() == 1,
            "log_sales": np.where(is_open & (sales > 0), np.log(sales), np.nan),
            "log_customers": np.where(is_open & (customers > 0), np.log(customers), np.nan),
            "days_to_christmas": _days_to_christmas(dates),
            "days_from_easter": _days_from_easter(dates),
            "plan_assumed": (
                days["plan_assumed"].to_numpy(bool) if assumed else np.zeros(len(days), bool)
            ),
        }


def _counters(
    days: pd.DataFrame, holiday: npt.NDArray[np.int64], layout: _Layout
) -> dict[str, Counts]:
    """Return the features that count days before and after, as grids of stores × days."""
    is_open = days["open"].to_numpy() == 1
    promo = layout.grid(days["promo"].to_numpy() == 1)
    school = layout.grid(days["school_holiday"].to_numpy() == 1)
    holidays, opened, closed = (layout.grid(flag) for flag in (holiday > 0, is_open, ~is_open))
    since_refurbishment, to_refurbishment, refurbishment_days = _refurbishments(closed)
    return {
        "promo_day": np.minimum(_run_before(promo), SINCE_CAP),
        "promo_days_left": np.minimum(_backwards(_run_before, promo), LOOKAHEAD_DAYS),
        "days_since_promo": _since(promo, SINCE_CAP),
        "days_to_promo": _backwards(_since, promo, LOOKAHEAD_DAYS),
        "promo_days_last_14": _windowed(promo, 14),
        "promo_days_next_14": _backwards(_windowed, promo, 14),
        "days_since_holiday": _since(holidays, SINCE_CAP),
        "days_to_holiday": _backwards(_since, holidays, LOOKAHEAD_DAYS),
        "school_day": np.minimum(_run_before(school), SINCE_CAP),
        "school_days_left": np.minimum(_backwards(_run_before, school), LOOKAHEAD_DAYS),
        "days_since_school": _since(school, SINCE_CAP),
        "days_to_school": _backwards(_since, school, LOOKAHEAD_DAYS),
        "closed_days_before": np.minimum(_shifted(_run_before(closed), 1), SINCE_CAP),
        "closed_days_after": np.minimum(
            _shifted(_backwards(_run_before, closed), -1), LOOKAHEAD_DAYS
        ),
        "open_days_week": _week_total(opened, layout.weekday),
        "days_since_refurbishment": since_refurbishment,
        "days_to_refurbishment": to_refurbishment,
        "refurbishment_days": refurbishment_days,
    }


def _days_to_christmas(dates: npt.NDArray[np.datetime64]) -> npt.NDArray[np.int64]:
    """Count the days to the next 25 December (0 on that day)."""
    year = dates.astype("datetime64[Y]")
    this_year = _christmas_day(year)
    next_year = _christmas_day(year + 1)
    christmas = np.where(dates <= this_year, this_year, next_year)
    out: npt.NDArray[np.int64] = (christmas - dates).astype(int)
    return out


def _christmas_day(year: npt.NDArray[np.datetime64]) -> npt.NDArray[np.datetime64]:
    return (year.astype("datetime64[M]") + 11).astype("datetime64[D]") + 24


def _days_from_easter(dates: npt.NDArray[np.datetime64]) -> npt.NDArray[np.int64]:
    """Count the days from the nearest Easter Sunday; negative before it."""
    years = dates.astype("datetime64[Y]").astype(int) + 1970
    distances = np.stack(
        [(dates - easter_sunday(years + k)).astype(int) for k in (-1, 0, 1)], axis=1
    )
    nearest = np.abs(distances).argmin(axis=1)
    out: npt.NDArray[np.int64] = distances[np.arange(len(dates)), nearest]
    return out
