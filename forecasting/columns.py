"""Column names of the frames that the library exchanges: day panel, plan and forecasts.

The features' columns live in `features/daily.py`, the regressors' in `features/regressors.py`. The
descriptions that the UI shows live in `schemas/columns.py`.
"""

from __future__ import annotations

#: Columns of the day panel: one row per store and date.
DAY_COLUMNS = (
    "store",
    "date",
    "day_of_week",
    "sales",
    "customers",
    "open",
    "promo",
    "state_holiday",
    "school_holiday",
)

#: Columns of a plan besides store and date.
PLAN_COLUMNS = ("open", "promo", "state_holiday", "school_holiday")

#: Probability levels of every forecast; the two outer pairs bound the 95 % and the 80 % interval.
QUANTILES = (0.025, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.975)


def quantile_column(level: float) -> str:
    """Return the column of a probability level: `q0_025` for 0.025."""
    return f"q{level:g}".replace(".", "_")


#: Columns of the forecast quantiles, one per level of `QUANTILES`.
QUANTILE_COLUMNS = tuple(quantile_column(level) for level in QUANTILES)

#: Columns of the forecast frame: one row per store, origin and target date.
FORECAST_COLUMNS = (
    "store",
    "origin",
    "date",
    "horizon",
    "open",
    "point",
    "mean",
    *QUANTILE_COLUMNS,
    "plan_assumed",
    "limited",
)
