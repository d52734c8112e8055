"""Error measures of forecasts.

Every function compares an array of forecasts with actual sales and returns one number, NaN if
there is nothing to score. WAPE, MASE, WQL and SQL follow the definitions of fev-bench (repository
autogluon/fev, `fev/metrics.py`), which skip unknown actual values. Measures from sums that
PostgreSQL keeps live in `evaluation/accuracy.py`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from forecasting.arrays import Array


def _mean(values: Array) -> float:
    kept = values[~np.isnan(values)]
    return float(kept.mean()) if kept.size else float("nan")


def rmspe(actual: Array, forecast: Array) -> float:
    """Return the root mean square percentage error over rows with sales (Kaggle's measure)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.where(actual > 0, (actual - forecast) / actual, np.nan)
    return float(np.sqrt(_mean(error**2)))


def mape(actual: Array, forecast: Array) -> float:
    """Return the mean absolute percentage error over rows with sales."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return _mean(np.where(actual > 0, np.abs(actual - forecast) / actual, np.nan))


def wape(actual: Array, forecast: Array) -> float:
    """Return the mean absolute error divided by the mean absolute actual value."""
    known = ~np.isnan(actual)
    scale = np.abs(actual[known]).sum()
    return float(np.abs(actual - forecast)[known].sum() / scale) if scale > 0 else float("nan")


def bias(actual: Array, forecast: Array) -> float:
    """Return the sum of forecasts over the sum of actual values, minus 1; positive is too high."""
    known = ~np.isnan(actual)
    total = actual[known].sum()
    return float(forecast[known].sum() / total - 1.0) if total > 0 else float("nan")


def coverage(actual: Array, low: Array, high: Array) -> float:
    """Return the share of known actual values from `low` to `high`, both included."""
    known = ~np.isnan(actual)
    inside = (actual >= low) & (actual <= high)
    return float(inside[known].mean()) if known.any() else float("nan")


def seasonal_scale(days: pd.DataFrame, origin: pd.Timestamp, season: int) -> pd.Series:
    """Compute each store's scale for MASE and SQL.

    The scale is the mean absolute difference between the sales of days one season apart, where
    both days are known.

    Args:
        days: Day panel; a day without a row is unknown, a closed day has sales 0.
        origin: Last day of the past.
        season: Days in a season.

    Returns:
        Scale in sales by store (float64), NaN where no pair of days is known.
    """
    past = days[days["date"] <= origin]
    wide = past.pivot(index="date", columns="store", values="sales").asfreq("D")
    return (wide - wide.shift(season)).abs().mean()


def mase(actual: Array, forecast: Array, scale: Array) -> float:
    """Return the mean absolute error in units of each row's seasonal scale."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.abs(actual - forecast) / scale
    return _mean(np.where(np.isfinite(ratio), ratio, np.nan))


def quantile_loss(actual: Array, quantiles: Array, levels: Array) -> Array:
    """Compute twice the pinball loss.

    Args:
        actual: Shape (rows,).
        quantiles: Forecast quantiles, shape (rows, levels).
        levels: Probability levels, shape (levels,).

    Returns:
        Loss of each row and level, shape (rows, levels); NaN where the truth is unknown.
    """
    error = actual[:, None] - quantiles
    return 2.0 * np.abs(error * ((error <= 0).astype(float) - levels))


def wql(actual: Array, quantiles: Array, levels: Array) -> float:
    """Return the weighted quantile loss: its mean over the mean absolute actual value."""
    known = ~np.isnan(actual)
    scale = np.abs(actual[known]).mean() if known.any() else 0.0
    loss = quantile_loss(actual, quantiles, levels)[known]
    return float(loss.mean() / scale) if scale > 0 else float("nan")


def sql(actual: Array, quantiles: Array, levels: Array, scale: Array) -> float:
    """Return the scaled quantile loss: its mean in units of each row's seasonal scale."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = quantile_loss(actual, quantiles, levels) / scale[:, None]
    return _mean(np.where(np.isfinite(ratio), ratio, np.nan))
