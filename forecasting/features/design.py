"""The linear model's design matrix, expanded from the compact day-level features.

Here belongs the translation of stored features into regressors of log sales. Every column is a
function of one feature row alone, so the same row gives the same regressors whether it is
history or a planned day.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pandas as pd

Matrix = npt.NDArray[np.float32]

#: Rows that are expanded at a time, so that the columns being written stay in the cache.
_BLOCK_ROWS = 16_384

#: The trend is counted in years from here, so that its coefficient is of the order of 0.1.
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
YEARLY_HARMONICS = 4
MONTHLY_HARMONICS = 3
#: Days around the turn of a month that get a regressor of their own, counted in days of the
#: calendar and, from Monday to Friday, in working days: salaries are paid on the last of these.
MONTH_TURN = (-3, -2, -1, 1, 2, 3)
WORKING_TURN = (-3, -2, -1, 1, 2, 3)

_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _bins(prefix: str, bins: Iterable[tuple[int, int]]) -> list[str]:
    return [f"{prefix}_{low}_{high}" for low, high in bins]


#: Names of the columns of :func:`design_matrix`, in order.
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
    "before_refurbishment",
    *_bins("after_refurbishment", AFTER_REFURBISHMENT),
    *_bins("before_christmas", BEFORE_CHRISTMAS),
    *_bins("after_christmas", AFTER_CHRISTMAS),
    *_bins("easter", AROUND_EASTER),
)


def design_matrix(features: pd.DataFrame) -> Matrix:
    """Expand feature rows into regressors of log sales.

    Args:
        features: Rows of :func:`forecasting.features.daily.day_features`.

    Returns:
        Array (float32) of shape (rows, len(:data:`DESIGN_COLUMNS`)).
    """
    out = np.zeros((len(features), len(DESIGN_COLUMNS)), np.float32)
    for low in range(0, len(features), _BLOCK_ROWS):
        rows = slice(low, low + _BLOCK_ROWS)
        _fill(out[rows], features.iloc[rows])
    return out


def _fill(out: Matrix, features: pd.DataFrame) -> None:  # noqa: PLR0915
    """Write the regressors of some rows into ``out``, which holds zeros."""
    place = {name: j for j, name in enumerate(DESIGN_COLUMNS)}

    def put(name: str, values: npt.NDArray[np.generic] | float) -> None:
        out[:, place[name]] = values

    column = {
        name: features[name].to_numpy()
        for name in features.columns
        if name not in ("store", "date", "log_sales", "log_customers", "plan_assumed")
    }
    dates = features["date"].to_numpy("datetime64[D]")
    month_start = dates.astype("datetime64[M]").astype("datetime64[D]")
    month_length = (
        (dates.astype("datetime64[M]") + 1).astype("datetime64[D]") - month_start
    ).astype(int)
    day_of_month = (dates - month_start).astype(int) + 1
    year_start = dates.astype("datetime64[Y]").astype("datetime64[D]")
    day_of_year = (dates - year_start).astype(int)
    month = dates.astype("datetime64[M]").astype(int) % 12 + 1

    put("intercept", 1.0)
    weekday, promo, school = column["day_of_week"], column["promo"], column["school_holiday"]
    for k, day in enumerate(_WEEKDAYS[1:], start=2):
        put(f"is_{day}", weekday == k)
        if k <= 5:
            put(f"promo_{day}", (weekday == k) & (promo == 1))
    put("promo", promo)
    put("promo_ends_soon", (promo == 1) & (column["promo_days_left"] == 1))
    no_promo = promo == 0
    put("after_promo_1_2", no_promo & (column["days_since_promo"] <= 2))
    put(
        "after_promo_3_5",
        no_promo & (column["days_since_promo"] >= 3) & (column["days_since_promo"] <= 5),
    )
    put("promo_in_3_days", no_promo & (column["days_to_promo"] <= 3))
    put("promo_density_before", (column["promo_days_last_14"] - 5.0) / 5.0)
    put("promo_density_after", (column["promo_days_next_14"] - 5.0) / 5.0)
    put("promo_december", (promo == 1) & (month == 12))
    for k in range(1, YEARLY_HARMONICS + 1):
        angle = 2.0 * np.pi * k * day_of_year / 365.25
        put(f"year_sin_{k}", np.sin(angle))
        put(f"year_cos_{k}", np.cos(angle))
    for k in range(1, MONTHLY_HARMONICS + 1):
        angle = 2.0 * np.pi * k * (day_of_month - 0.5) / month_length
        put(f"month_sin_{k}", np.sin(angle))
        put(f"month_cos_{k}", np.cos(angle))
    for k in MONTH_TURN:
        put(f"month_turn_{k}", day_of_month == (k if k > 0 else month_length + k + 1))
    working = weekday <= 5
    month_end = month_start + month_length
    left = np.busday_count(dates, month_end)
    gone = np.busday_count(month_start, dates) + 1
    for k in WORKING_TURN:
        put(f"working_turn_{k}", working & ((gone == k) if k > 0 else (left == -k)))
    near_turn = (month_length - day_of_month <= 1) | (day_of_month <= 2)
    put("saturday_turn", (weekday == 6) & near_turn)
    # The second Sunday of May lies between the 8th and the 14th.
    mothers_day = (month == 5) & (day_of_month + (7 - weekday) >= 8)
    mothers_day &= day_of_month + (7 - weekday) <= 14
    put("before_mothers_day", mothers_day & (weekday >= 5))
    put("before_valentine", (month == 2) & ((day_of_month == 13) | (day_of_month == 14)))
    put("trend", (dates - TREND_EPOCH).astype(float) / 365.25)
    put("state_holiday", column["state_holiday"] > 0)
    for k in (1, 2, 3):
        put(f"before_holiday_{k}", column["days_to_holiday"] == k)
        put(f"after_holiday_{k}", column["days_since_holiday"] == k)
    put("week_closed_days", np.maximum(6 - column["open_days_week"].astype(float), 0.0))
    put("closed_2_before", (column["closed_days_before"] >= 2))
    put("closed_2_after", (column["closed_days_after"] >= 2))
    put("sunday_open_before", (weekday == 1) & (column["closed_days_before"] == 0))
    put("school", school)
    put("school_promo", school * promo)
    put("school_starts", (school == 1) & (column["school_day"] <= 3))
    put("school_ends", (school == 1) & (column["school_days_left"] <= 3))
    put("before_school", (school == 0) & (column["days_to_school"] <= 4))
    put("after_school", (school == 0) & (column["days_since_school"] <= 4))
    put("before_refurbishment", np.maximum(10.0 - column["days_to_refurbishment"], 0.0) / 9.0)
    since = column["days_since_refurbishment"]
    for low, high in AFTER_REFURBISHMENT:
        put(f"after_refurbishment_{low}_{high}", (since >= low) & (since <= high))
    before = column["days_to_christmas"]
    for low, high in BEFORE_CHRISTMAS:
        put(f"before_christmas_{low}_{high}", (before >= low) & (before <= high))
    last_christmas = np.where(
        before == 0, dates, (year_start.astype("datetime64[Y]").astype("datetime64[D]")) - 7
    )
    late = (month == 12) & (day_of_month > 25)
    last_christmas = np.where(late, month_start + 24, last_christmas)
    after = (dates - last_christmas.astype("datetime64[D]")).astype(int)
    for low, high in AFTER_CHRISTMAS:
        put(f"after_christmas_{low}_{high}", (after >= low) & (after <= high))
    easter = column["days_from_easter"]
    for low, high in AROUND_EASTER:
        put(f"easter_{low}_{high}", (easter >= low) & (easter <= high))
