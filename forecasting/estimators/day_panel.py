"""Steps that both estimators share: conversion to a day panel, and quantiles at any level."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import norm

from forecasting.arrays import Array
from forecasting.columns import QUANTILE_COLUMNS, QUANTILES


def to_dates(index: pd.Index) -> pd.DatetimeIndex:
    """Return an index of days or daily periods as dates at midnight."""
    dates = index.to_timestamp() if isinstance(index, pd.PeriodIndex) else pd.DatetimeIndex(index)
    return dates.normalize()


def to_day_panel(
    stores: npt.NDArray[np.int32], dates: pd.DatetimeIndex, sales: pd.Series, plan: pd.DataFrame
) -> pd.DataFrame:
    """Return rows of the day panel, in the order given.

    Args:
        stores: Store of each row.
        dates: Date of each row.
        sales: Sales of each row, NaN where unknown.
        plan: Columns `PLAN_COLUMNS` of each row.
    """
    return pd.DataFrame(
        {
            "store": stores,
            "date": dates,
            "day_of_week": (dates.dayofweek + 1).astype(np.int16),
            "sales": sales.to_numpy(np.float64),
            "customers": np.nan,
            "open": plan["open"].to_numpy(np.int16),
            "promo": plan["promo"].to_numpy(np.int16),
            "state_holiday": plan["state_holiday"].astype(str).to_numpy(),
            "school_holiday": plan["school_holiday"].to_numpy(np.int16),
        }
    )


def quantiles_at(rows: pd.DataFrame, levels: Sequence[float]) -> Array:
    """Interpolate a forecast frame's quantiles on the scale of normal scores.

    Args:
        rows: Forecast frame with `QUANTILE_COLUMNS`.
        levels: Probability levels between the outermost calibrated ones.

    Returns:
        Shape (rows, levels).
    """
    table, known = rows[list(QUANTILE_COLUMNS)].to_numpy(), norm.ppf(QUANTILES)
    values: Array = np.stack(
        [[np.interp(norm.ppf(level), known, row) for row in table] for level in levels], axis=1
    )
    return values
