"""Names that frames of this package share: day panel, quantiles, forecasts."""

from __future__ import annotations

#: Columns of the day panel: one row a store and date.
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

#: Probability levels of every forecast; the outer pairs are the 95 % and the 80 % interval.
QUANTILES = (0.025, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.975)


def quantile_column(level: float) -> str:
    """Name the column of a probability level: 0.025 becomes ``q0_025``."""
    return f"q{level:g}".replace(".", "_")


QUANTILE_COLUMNS = tuple(quantile_column(level) for level in QUANTILES)

#: Columns of a forecast frame: one row a store, origin and target date.
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
)
