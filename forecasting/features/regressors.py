"""The design matrix of the linear models: regressors of log sales from day-level features.

Every regressor depends on one feature row alone, so a row has the same regressors as history and
as a planned day. To add a regressor, name it in `DESIGN_COLUMNS` and write it in a `_put_…`
function. The features themselves are computed in `features/daily.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Matrix = npt.NDArray[np.float32]

#: Function that writes the values of one regressor, by its name.
_Put = Callable[[str, npt.NDArray[Any] | float], None]
#: Feature columns as arrays, by name.
_Columns = dict[str, npt.NDArray[Any]]

#: Rows expanded at a time, so that the columns being written fit in the processor's cache.
_BLOCK_ROWS = 16_384

#: Origin of the trend, which is counted in years so that its coefficient is of the order of 0.1.
TREND_EPOCH = np.datetime64("2014-07-01", "D")

#: Bins of days to and since Christmas (25 December), first and last day included.
BEFORE_CHRISTMAS = (
    (1, 1), (2, 3), (4, 5), (6, 8), (9, 12), (13, 17), (18, 19), (20, 21), (22, 24), (25, 32),
)  # fmt: skip
AFTER_CHRISTMAS = (
    (2, 2), (3, 4), (5, 5), (6, 6), (8, 8), (9, 11), (12, 15), (16, 20), (21, 30),
)  # fmt: skip
#: Bins of days from Easter Sunday; 39 is Ascension Day, 50 Whit Monday, 60 Corpus Christi.
AROUND_EASTER = (
    (-53, -51), (-50, -48), (-16, -9), (-8, -5), (-4, -4), (-3, -3), (-1, -1), (2, 2), (3, 6),
    (7, 13), (36, 38), (40, 41), (46, 48), (51, 52), (59, 59), (61, 62),
)  # fmt: skip
#: Bins of days since a refurbishment ended.
AFTER_REFURBISHMENT = ((1, 2), (3, 7), (8, 21), (22, 45), (46, 90))
#: Number of sine and cosine pairs over a year and over a month.
YEARLY_HARMONICS = 4
MONTHLY_HARMONICS = 3
#: Days around the turn of a month with a regressor of their own, in calendar days and (Monday to
#: Friday) in working days. Salaries are paid on the last working day.
MONTH_TURN = (-3, -2, -1, 1, 2, 3)
WORKING_TURN = (-3, -2, -1, 1, 2, 3)

_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _bins(prefix: str, bins: Iterable[tuple[int, int]]) -> list[str]:
    return [f"{prefix}_{low}_{high}" for low, high in bins]


#: Names of the columns of `design_matrix`, in order.
DESIGN_COLUMNS: tuple[str, ...] = (
    "intercept",
    *(f"is_{day}" for day in _WEEKDAYS[1:]),
    "promo",
    *(f"promo_{day}" for day in _WEEKDAYS[1:5]),
    "promo_ends_soon",
    "after_promo_1_2",
    "after_promo_3_5",
    "promo_in_3_days",
    "promo_density_before",
    "promo_density_after",
    "promo_december",
    *(f"year_{part}_{k}" for k in range(1, YEARLY_HARMONICS + 1) for part in ("sin", "cos")),
    *(f"month_{part}_{k}" for k in range(1, MONTHLY_HARMONICS + 1) for part in ("sin", "cos")),
    *(f"month_turn_{k}" for k in MONTH_TURN),
    *(f"working_turn_{k}" for k in WORKING_TURN),
    "saturday_turn",
    "before_mothers_day",
    "before_valentine",
    "trend",
    "state_holiday",
    *(f"before_holiday_{k}" for k in (1, 2, 3)),
    *(f"after_holiday_{k}" for k in (1, 2, 3)),
    "week_closed_days",
    "closed_2_before",
    "closed_2_after",
    "sunday_open_before",
    "school",
    "school_promo",
    "school_starts",
    "school_ends",
    "before_school",
    "after_school",
    *_bins("after_refurbishment", AFTER_REFURBISHMENT),
    *_bins("before_christmas", BEFORE_CHRISTMAS),
    *_bins("after_christmas", AFTER_CHRISTMAS),
    *_bins("easter", AROUND_EASTER),
)


def design_matrix(features: pd.DataFrame) -> Matrix:
    """Expand feature rows into regressors of log sales.

    Args:
        features: Any rows of the result of `day_features`.

    Returns:
        Array (float32) of shape (rows, len(`DESIGN_COLUMNS`)).
    """
    out = np.zeros((len(features), len(DESIGN_COLUMNS)), np.float32)
    for low in range(0, len(features), _BLOCK_ROWS):
        rows = slice(low, low + _BLOCK_ROWS)
        _fill(out[rows], features.iloc[rows])
    return out


def _fill(out: Matrix, features: pd.DataFrame) -> None:
    """Write the regressors of some rows into `out`, which holds zeros."""
    place = {name: j for j, name in enumerate(DESIGN_COLUMNS)}

    def put(name: str, values: npt.NDArray[Any] | float) -> None:
        out[:, place[name]] = values

    column = {
        name: features[name].to_numpy()
        for name in features.columns
        if name not in ("store", "date", "log_sales", "log_customers", "plan_assumed")
    }
    calendar = _Calendar.of(features["date"].to_numpy("datetime64[D]"))
    put("intercept", 1.0)
    put("trend", (calendar.dates - TREND_EPOCH).astype(float) / 365.25)
    _put_weekdays_and_promos(put, column, calendar)
    _put_seasons(put, calendar)
    _put_month_turns(put, column, calendar)
    _put_holidays_and_closures(put, column)
    _put_school_holidays(put, column)
    _put_christmas(put, column, calendar)
    _put_bins(put, "after_refurbishment", AFTER_REFURBISHMENT, column["days_since_refurbishment"])
    _put_bins(put, "easter", AROUND_EASTER, column["days_from_easter"])


@dataclass(frozen=True)
class _Calendar:
    """Each row's date and its place in the month and in the year, counted in days."""

    dates: npt.NDArray[np.datetime64]
    month: npt.NDArray[np.int64]
    month_start: npt.NDArray[np.datetime64]
    month_length: npt.NDArray[np.int64]
    day_of_month: npt.NDArray[np.int64]
    year_start: npt.NDArray[np.datetime64]
    day_of_year: npt.NDArray[np.int64]

    @classmethod
    def of(cls, dates: npt.NDArray[np.datetime64]) -> _Calendar:
        months = dates.astype("datetime64[M]")
        month_start = months.astype("datetime64[D]")
        year_start = dates.astype("datetime64[Y]").astype("datetime64[D]")
        return cls(
            dates=dates,
            month=months.astype(int) % 12 + 1,
            month_start=month_start,
            month_length=((months + 1).astype("datetime64[D]") - month_start).astype(int),
            day_of_month=(dates - month_start).astype(int) + 1,
            year_start=year_start,
            day_of_year=(dates - year_start).astype(int),
        )


def _put_weekdays_and_promos(put: _Put, column: _Columns, calendar: _Calendar) -> None:
    weekday, promo = column["day_of_week"], column["promo"]
    for k, day in enumerate(_WEEKDAYS[1:], start=2):
        put(f"is_{day}", weekday == k)
        if k <= 5:
            put(f"promo_{day}", (weekday == k) & (promo == 1))
    put("promo", promo)
    put("promo_ends_soon", (promo == 1) & (column["promo_days_left"] == 1))
    no_promo = promo == 0
    since = column["days_since_promo"]
    put("after_promo_1_2", no_promo & (since <= 2))
    put("after_promo_3_5", no_promo & (since >= 3) & (since <= 5))
    put("promo_in_3_days", no_promo & (column["days_to_promo"] <= 3))
    put("promo_density_before", (column["promo_days_last_14"] - 5.0) / 5.0)
    put("promo_density_after", (column["promo_days_next_14"] - 5.0) / 5.0)
    put("promo_december", (promo == 1) & (calendar.month == 12))


def _put_seasons(put: _Put, calendar: _Calendar) -> None:
    for k in range(1, YEARLY_HARMONICS + 1):
        angle = 2.0 * np.pi * k * calendar.day_of_year / 365.25
        put(f"year_sin_{k}", np.sin(angle))
        put(f"year_cos_{k}", np.cos(angle))
    for k in range(1, MONTHLY_HARMONICS + 1):
        angle = 2.0 * np.pi * k * (calendar.day_of_month - 0.5) / calendar.month_length
        put(f"month_sin_{k}", np.sin(angle))
        put(f"month_cos_{k}", np.cos(angle))


def _put_month_turns(put: _Put, column: _Columns, calendar: _Calendar) -> None:
    """Write the regressors around the turn of a month and the days that sell gifts."""
    weekday, day = column["day_of_week"], calendar.day_of_month
    length, month = calendar.month_length, calendar.month
    for k in MONTH_TURN:
        put(f"month_turn_{k}", day == (k if k > 0 else length + k + 1))
    working = weekday <= 5
    working_days_left = np.busday_count(calendar.dates, calendar.month_start + length)
    working_day = np.busday_count(calendar.month_start, calendar.dates) + 1
    for k in WORKING_TURN:
        on_day = working_day == k if k > 0 else working_days_left == -k
        put(f"working_turn_{k}", working & on_day)
    put("saturday_turn", (weekday == 6) & ((length - day <= 1) | (day <= 2)))
    # Mothers' Day, the second Sunday of May, lies between the 8th and the 14th.
    sunday = day + (7 - weekday)
    mothers_day_week = (month == 5) & (sunday >= 8) & (sunday <= 14)
    put("before_mothers_day", mothers_day_week & (weekday >= 5))
    put("before_valentine", (month == 2) & ((day == 13) | (day == 14)))


def _put_holidays_and_closures(put: _Put, column: _Columns) -> None:
    put("state_holiday", column["state_holiday"] > 0)
    for k in (1, 2, 3):
        put(f"before_holiday_{k}", column["days_to_holiday"] == k)
        put(f"after_holiday_{k}", column["days_since_holiday"] == k)
    put("week_closed_days", np.maximum(6 - column["open_days_week"].astype(float), 0.0))
    put("closed_2_before", column["closed_days_before"] >= 2)
    put("closed_2_after", column["closed_days_after"] >= 2)
    monday = column["day_of_week"] == 1
    put("sunday_open_before", monday & (column["closed_days_before"] == 0))


def _put_school_holidays(put: _Put, column: _Columns) -> None:
    school = column["school_holiday"]
    put("school", school)
    put("school_promo", school * column["promo"])
    put("school_starts", (school == 1) & (column["school_day"] <= 3))
    put("school_ends", (school == 1) & (column["school_days_left"] <= 3))
    put("before_school", (school == 0) & (column["days_to_school"] <= 4))
    put("after_school", (school == 0) & (column["days_since_school"] <= 4))


def _put_christmas(put: _Put, column: _Columns, calendar: _Calendar) -> None:
    before = column["days_to_christmas"]
    _put_bins(put, "before_christmas", BEFORE_CHRISTMAS, before)
    last_christmas = np.where(before == 0, calendar.dates, calendar.year_start - 7)
    late = (calendar.month == 12) & (calendar.day_of_month > 25)
    last_christmas = np.where(late, calendar.month_start + 24, last_christmas)
    after = (calendar.dates - last_christmas).astype(int)
    _put_bins(put, "after_christmas", AFTER_CHRISTMAS, after)


def _put_bins(
    put: _Put, prefix: str, bins: Iterable[tuple[int, int]], days: npt.NDArray[Any]
) -> None:
    """Write one regressor per bin: 1 where `days` lies in the bin, both ends included."""
    for low, high in bins:
        put(f"{prefix}_{low}_{high}", (days >= low) & (days <= high))
