"""A window of an evaluation, and the scores of its daily forecasts.

The command is in `evaluate.py`, the scores of weekly totals are in `weekly_totals.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from forecasting import scoring
from forecasting.columns import QUANTILE_COLUMNS, QUANTILES
from forecasting.features.daily import before_closure, day_features
from forecasting.models.naive import seasonal_naive

#: The season length for MASE and SQL, and the quantiles for WQL and SQL, are those of fev-bench's
#: task rossmann_1D.
SCALE_SEASON = 7
SCORED_QUANTILES = tuple(level for level in QUANTILES if 0.1 <= level <= 0.9)
SCORED_COLUMNS = [
    name for name, level in zip(QUANTILE_COLUMNS, QUANTILES, strict=True) if 0.1 <= level <= 0.9
]
NAIVE_SEASON = 14


@dataclass(frozen=True)
class Window:
    """One origin and the days forecast from it."""

    origin: pd.Timestamp
    horizon: int


def windows_until(end: pd.Timestamp, horizon: int, step: int, count: int) -> list[Window]:
    """List evaluation windows, oldest first; the newest one's last forecast day is `end`."""
    last = end - pd.Timedelta(days=horizon)
    return [Window(last - pd.Timedelta(days=step * k), horizon) for k in reversed(range(count))]


def add_naive(out: pd.DataFrame, days: pd.DataFrame, window: Window) -> pd.DataFrame:
    """Add the seasonal naive forecast as the column `naive`; closed days are 0."""
    origins = pd.Series(window.origin, index=np.unique(out["store"]))
    naive = seasonal_naive(days, origins, window.horizon, NAIVE_SEASON)
    both = out.merge(
        naive[["store", "date", "point"]].rename(columns={"point": "naive"}),
        on=["store", "date"],
        how="left",
    )
    both["naive"] = both["naive"].fillna(0.0) * both["open"]
    return both


def score_window(out: pd.DataFrame, days: pd.DataFrame, window: Window) -> dict[str, float]:
    """Score a window's forecasts on the days with known sales.

    RMSPE scores `point`; MAPE, WAPE and MASE score the median; bias scores `mean`. RMSPE, MAPE and
    coverage use days with sales. The others use all days, including closed ones, as fev-bench does.
    The last days before a planned long closure are scored apart, too.

    Args:
        out: Result of `forecast_window` with a column `naive`.
        days: Day panel, for the scale of MASE and SQL. Days after the origin are not read.
        window: The window.

    Returns:
        Name -> measure; NaN if no actual sales are known.
    """
    actual = out["actual"].to_numpy(np.float64)
    median = out["q0_5"].to_numpy()
    quantiles = out[SCORED_COLUMNS].to_numpy()
    levels = np.array(SCORED_QUANTILES)
    known = days[days["sales"].notna()]
    scale = out["store"].map(scoring.seasonal_scale(known, window.origin, SCALE_SEASON)).to_numpy()
    sold = out[out["actual"] > 0]
    sales = sold["actual"].to_numpy()
    naive = out["naive"].to_numpy()
    before = _before_closures(sold, days, window)
    return {
        "rmspe": scoring.rmspe(actual, out["point"].to_numpy()),
        "mape": scoring.mape(actual, median),
        "wape": scoring.wape(actual, median),
        "mase": scoring.mase(actual, median, scale),
        "wql": scoring.wql(actual, quantiles, levels),
        "sql": scoring.sql(actual, quantiles, levels, scale),
        "coverage_80": scoring.coverage(sales, sold["q0_1"].to_numpy(), sold["q0_9"].to_numpy()),
        "coverage_95": scoring.coverage(
            sales, sold["q0_025"].to_numpy(), sold["q0_975"].to_numpy()
        ),
        "bias": scoring.bias(actual, out["mean"].to_numpy()),
        "closure_days": float(len(before)),
        "closure_rmspe": scoring.rmspe(before["actual"].to_numpy(), before["point"].to_numpy()),
        "closure_coverage_80": scoring.coverage(
            before["actual"].to_numpy(), before["q0_1"].to_numpy(), before["q0_9"].to_numpy()
        ),
        "naive_rmspe": scoring.rmspe(actual, naive),
        "naive_wape": scoring.wape(actual, naive),
        "naive_mase": scoring.mase(actual, naive, scale),
        "naive_wql": scoring.wql(actual, np.repeat(naive[:, None], len(levels), axis=1), levels),
    }


def _before_closures(sold: pd.DataFrame, days: pd.DataFrame, window: Window) -> pd.DataFrame:
    """Select the forecasts of the last days before a long closure within a window."""
    last = window.origin + pd.Timedelta(days=window.horizon)
    plan = days[(days["date"] > window.origin) & (days["date"] <= last)]
    features = day_features(plan.assign(sales=np.nan, customers=np.nan))
    marked = features.loc[before_closure(features), ["store", "date"]]
    return sold.merge(marked, on=["store", "date"])


def output_columns(out: pd.DataFrame) -> pd.DataFrame:
    """Select and rename the columns for the output file: `q0.1` for `q0_1`."""
    names = {name: f"q{level:g}" for name, level in zip(QUANTILE_COLUMNS, QUANTILES, strict=True)}
    columns = ["store", "origin", "date", "point", "mean", *QUANTILE_COLUMNS, "actual"]
    return out[columns].rename(columns=names)
