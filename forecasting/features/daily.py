"""Day-level features of a store: what the calendar and the plan say about one day.

Here belongs everything that depends on a day and its neighbourhood but on no later sales:
positions in promo blocks and holidays, closures, refurbishments, Christmas and Easter. The only
values that come from sales are the day's own ``log_sales`` and ``log_customers``, the targets.
Features that summarise sales up to an origin belong in :mod:`forecasting.features.at_origin`; wide
design matrices are expanded from these columns in :mod:`forecasting.features.design`.

Every counter is capped so that a day's features depend on no more than :data:`CONTEXT_DAYS`
before it and :data:`LOOKAHEAD_DAYS` after it. A day without a row counts as unknown: it is
neither promo nor holiday nor closed, and it ends every run that it interrupts.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import numpy as np
import numpy.typing as npt
import pandas as pd

#: Runs of closed days of at least this length are refurbishments; Christmas with a Sunday and a
#: bridge day stays below it.
REFURBISHMENT_MIN_DAYS = 6
REFURBISHMENT_SINCE_CAP = 90
REFURBISHMENT_LENGTH_CAP = 60
SINCE_CAP = 30
LOOKAHEAD_DAYS = 14
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

#: The codes of ``state_holiday``: none, public holiday, Easter, Christmas.
STATE_HOLIDAY_CODES = {"0": 0, "a": 1, "b": 2, "c": 3}

_NUMPY_TYPES = {"int2": np.int16, "int4": np.int32, "float4": np.float32, "bool": np.bool_}

Grid = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int16]


def easter_sunday(years: npt.NDArray[np.int64]) -> npt.NDArray[np.datetime64]:
    """Give the date of Easter Sunday of each year.

    Source: the anonymous Gregorian computus (Meeus, Astronomical Algorithms, chapter 8).

    Args:
        years: Gregorian years, any shape.

    Returns:
        Dates (``datetime64[D]``) of the same shape.
    """
    a, b, c = years % 19, years // 100, years % 100
    d, e = b // 4, b % 4
    g = (b - (b + 8) // 25 + 1) // 3
    h = (19 * a + b - d - g + 15) % 30
    i, k = c // 4, c % 4
    m = (32 + 2 * e + 2 * i - h - k) % 7
    n = (a + 11 * h + 22 * m) // 451
    month, day = np.divmod(h + m - 7 * n + 114, 31)
    months = (years - 1970) * 12 + (month - 1)
    return months.astype("datetime64[M]").astype("datetime64[D]") + day.astype("timedelta64[D]")


def _run_before(flag: Grid) -> Counts:
    """Count the days of ``flag`` in a row up to and including each day (stores × days)."""
    out = np.zeros(flag.shape, np.int16)
    run = np.zeros(flag.shape[0], np.int16)
    for j in range(flag.shape[1]):
        run = np.where(flag[:, j], run + 1, 0).astype(np.int16)
        out[:, j] = run
    return out


def _since(flag: Grid, cap: int) -> Counts:
    """Count the days since the last day of ``flag`` (0 on it), at most ``cap`` + 1."""
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
    """Give each day the value of the day before it (``days`` = 1) or after it (-1), else 0."""
    out = np.zeros_like(values)
    if days > 0:
        out[:, days:] = values[:, :-days]
    else:
        out[:, :days] = values[:, -days:]
    return out


def _windowed(flag: Grid, days: int) -> Counts:
    """Count the days of ``flag`` among the ``days`` days before each day, itself excluded."""
    total = np.zeros((flag.shape[0], flag.shape[1] + 1), np.int32)
    np.cumsum(flag, axis=1, out=total[:, 1:])
    start = np.maximum(np.arange(flag.shape[1]) - days, 0)
    return (total[:, :-1] - total[:, start]).astype(np.int16)


def _refurbishments(closed: Grid) -> tuple[Counts, Counts, Counts]:
    """Find long closures: days since the last, days to the next, length of the last."""
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
    # A closure is only seen once enough of it lies inside the look-ahead to be called long.
    visible = LOOKAHEAD_DAYS - REFURBISHMENT_MIN_DAYS + 1
    return since, _backwards(_since, starts, visible), length


def _week_total(flag: Grid, weekday: npt.NDArray[np.int64]) -> Counts:
    """Count the days of ``flag`` in the Monday-to-Sunday week of each day."""
    week = np.cumsum(weekday == 0)
    total = np.zeros((flag.shape[0], int(week.max(initial=0)) + 1), np.int16)
    for j, k in enumerate(week):
        total[:, k] += flag[:, j]
    return total[:, week]


def day_features(
    days: pd.DataFrame, *, start: date | None = None, end: date | None = None
) -> pd.DataFrame:
    """Compute the day-level features of a panel of days.

    The same call serves training and forecasting: a future day is a row with ``sales`` NaN. The
    last known days look ahead too, so the plan that follows them belongs into the same call
    (:func:`forecasting.features.plans.features_with_plan` sees to it).

    Args:
        days: One row a store and date, with the columns of the day panel (store, date, open,
            promo, state_holiday, school_holiday, sales, customers; optionally plan_assumed).
            Should reach :data:`CONTEXT_DAYS` before the first and, where the plan is known,
            :data:`LOOKAHEAD_DAYS` after the last day that is wanted.
        start: First date of the result; the days before it serve as context only.
        end: Last date of the result; the days after it serve as look-ahead only.

    Returns:
        One row for each row of ``days`` between ``start`` and ``end``, sorted by store and date:
        store (int32), date, and :data:`FEATURE_COLUMNS`. ``log_sales`` is NaN where the store is
        closed or the sales are unknown or zero.

    Raises:
        ValueError: A store has two rows for one date, or a state holiday has an unknown code.
    """
    days = days.sort_values(["store", "date"], kind="stable")
    if days.duplicated(["store", "date"]).any():
        twice = days.loc[days.duplicated(["store", "date"]), ["store", "date"]].iloc[0]
        raise ValueError(f"store {twice['store']} has two rows for {twice['date']:%Y-%m-%d}")
    holiday_code = days["state_holiday"].astype(str).map(STATE_HOLIDAY_CODES)
    if holiday_code.isna().any():
        odd = days.loc[holiday_code.isna(), "state_holiday"].iloc[0]
        raise ValueError(f"unknown state holiday {odd!r}; known: {', '.join(STATE_HOLIDAY_CODES)}")

    dates = days["date"].to_numpy("datetime64[D]")
    if len(days) == 0:
        out = pd.DataFrame({"store": pd.Series(dtype=np.int32), "date": days["date"]})
        return out.assign(
            **{name: pd.Series(dtype=_NUMPY_TYPES[kind]) for name, kind in FEATURE_COLUMNS.items()}
        )
    first = dates.min()
    n_days = int((dates.max() - first).astype(int)) + 1
    row, stores = pd.factorize(days["store"].to_numpy())
    col = (dates - first).astype(int)
    calendar = first + np.arange(n_days)
    weekday = (calendar.astype("datetime64[D]").astype(int) + 3) % 7

    def grid(mask: npt.NDArray[np.bool_]) -> Grid:
        cells = np.zeros((len(stores), n_days), bool)
        cells[row, col] = mask
        return cells

    is_open = days["open"].to_numpy() == 1
    promo, school = (
        grid(days["promo"].to_numpy() == 1),
        grid(days["school_holiday"].to_numpy() == 1),
    )
    holiday, opened, closed = grid(holiday_code.to_numpy() > 0), grid(is_open), grid(~is_open)
    since_refurbishment, to_refurbishment, refurbishment_days = _refurbishments(closed)
    counters = {
        "promo_day": np.minimum(_run_before(promo), SINCE_CAP),
        "promo_days_left": np.minimum(_backwards(_run_before, promo), LOOKAHEAD_DAYS),
        "days_since_promo": _since(promo, SINCE_CAP),
        "days_to_promo": _backwards(_since, promo, LOOKAHEAD_DAYS),
        "promo_days_last_14": _windowed(promo, 14),
        "promo_days_next_14": _backwards(_windowed, promo, 14),
        "days_since_holiday": _since(holiday, SINCE_CAP),
        "days_to_holiday": _backwards(_since, holiday, LOOKAHEAD_DAYS),
        "school_day": np.minimum(_run_before(school), SINCE_CAP),
        "school_days_left": np.minimum(_backwards(_run_before, school), LOOKAHEAD_DAYS),
        "days_since_school": _since(school, SINCE_CAP),
        "days_to_school": _backwards(_since, school, LOOKAHEAD_DAYS),
        "closed_days_before": np.minimum(_shifted(_run_before(closed), 1), SINCE_CAP),
        "closed_days_after": np.minimum(
            _shifted(_backwards(_run_before, closed), -1), LOOKAHEAD_DAYS
        ),
        "open_days_week": _week_total(opened, weekday),
        "days_since_refurbishment": since_refurbishment,
        "days_to_refurbishment": to_refurbishment,
        "refurbishment_days": refurbishment_days,
    }

    years = dates.astype("datetime64[Y]").astype(int) + 1970
    christmas = (years - 1970).astype("datetime64[Y]").astype("datetime64[M]") + 11
    christmas_day = christmas.astype("datetime64[D]") + 24
    next_christmas = (years - 1969).astype("datetime64[Y]").astype("datetime64[M]") + 11
    to_christmas = np.where(
        dates <= christmas_day,
        (christmas_day - dates).astype(int),
        (next_christmas.astype("datetime64[D]") + 24 - dates).astype(int),
    )
    from_easter = np.stack(
        [(dates - easter_sunday(years + k)).astype(int) for k in (-1, 0, 1)], axis=1
    )
    nearest = np.abs(from_easter).argmin(axis=1)

    with np.errstate(divide="ignore", invalid="ignore"):
        sales = days["sales"].to_numpy(np.float64)
        customers = days["customers"].to_numpy(np.float64)
        values: dict[str, npt.NDArray[np.generic]] = {
            "day_of_week": weekday[col] + 1,
            "open": is_open,
            "promo": days["promo"].to_numpy() == 1,
            "state_holiday": holiday_code.to_numpy(),
            "school_holiday": days["school_holiday"].to_numpy() == 1,
            "log_sales": np.where(is_open & (sales > 0), np.log(sales), np.nan),
            "log_customers": np.where(is_open & (customers > 0), np.log(customers), np.nan),
            "days_to_christmas": to_christmas,
            "days_from_easter": from_easter[np.arange(len(dates)), nearest],
            "plan_assumed": (
                days["plan_assumed"].to_numpy(bool)
                if "plan_assumed" in days
                else np.zeros(len(days), bool)
            ),
        }
    for name, counter in counters.items():
        values[name] = counter[row, col]

    wanted = np.ones(len(days), bool)
    if start is not None:
        wanted &= dates >= np.datetime64(start, "D")
    if end is not None:
        wanted &= dates <= np.datetime64(end, "D")
    frame = {
        "store": days["store"].to_numpy(np.int32)[wanted],
        "date": days["date"].to_numpy("datetime64[ns]")[wanted],
    }
    for name, kind in FEATURE_COLUMNS.items():
        frame[name] = values[name][wanted].astype(_NUMPY_TYPES[kind])
    return pd.DataFrame(frame)
