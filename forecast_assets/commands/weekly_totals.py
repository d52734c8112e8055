"""Weekly totals for the command `evaluate`: their forecasts from joint paths, and their scores.

A week runs from Monday to Sunday. As in fev-bench's task rossmann_1W, only complete weeks count,
and a day without a row is a closed day.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from forecasting import scoring
from forecasting.columns import QUANTILE_COLUMNS, QUANTILES
from forecasting.models.dependence import Dependence
from forecasting.models.joint import GROUP_WEEK, STORE_WEEK, week_ends
from forecasting.models.paths import totals

_SCORED = tuple(level for level in QUANTILES if 0.1 <= level <= 0.9)
_SCORED_COLUMNS = [
    name for name, level in zip(QUANTILE_COLUMNS, QUANTILES, strict=True) if level in _SCORED
]


def close_missing_days(days: pd.DataFrame, origin: pd.Timestamp, horizon: int) -> pd.DataFrame:
    """Add closed days without sales where a store has no row in a window.

    Args:
        days: Day panel.
        origin: Last known day.
        horizon: Days of the window.
    """
    dates = pd.date_range(origin + pd.Timedelta(days=1), periods=horizon)
    stores = np.unique(days.loc[days["date"] <= origin, "store"])
    grid = pd.MultiIndex.from_product([stores, dates], names=["store", "date"])
    missing = grid.difference(pd.MultiIndex.from_frame(days[["store", "date"]]))
    closed = missing.to_frame(index=False).assign(
        sales=0.0, customers=0.0, open=0, promo=0, state_holiday="0", school_holiday=0
    )
    closed["day_of_week"] = closed["date"].dt.dayofweek + 1
    added = closed[list(days.columns)].astype(days.dtypes.to_dict())
    return pd.concat([days, added], ignore_index=True)


def week_totals(
    forecasts: pd.DataFrame, dependence: Dependence, origin: pd.Timestamp
) -> pd.DataFrame:
    """Sum daily forecasts to complete weeks of each store and of the chain.

    Args:
        forecasts: Forecasts of a window, with `actual`.
        dependence: How days and stores err together.
        origin: The window's origin.

    Returns:
        One row per store and week with store (missing for the chain's total), origin, week (its
        last day), mean, quantiles and actual. A week with an unknown day has no `actual`.
    """
    week = week_ends(forecasts["date"]).rename("week")
    days = forecasts["date"].groupby(week).nunique()
    kept = week.isin(days.index[days == 7])
    out = forecasts[kept].reset_index(drop=True)
    week = week[kept].reset_index(drop=True)
    by_store = pd.DataFrame({"store": out["store"], "week": week})
    sums = totals(out, dependence, {STORE_WEEK: by_store, GROUP_WEEK: week.to_frame()})
    actual = out["actual"].groupby([out["store"], week]).sum(min_count=7).rename("actual")
    stores = sums[STORE_WEEK].merge(actual.reset_index(), on=["store", "week"])
    chain = out["actual"].groupby(week).apply(lambda values: values.sum(skipna=False))
    whole = sums[GROUP_WEEK].merge(chain.rename("actual").reset_index(), on="week")
    both = pd.concat([stores.astype({"store": "Int32"}), whole], ignore_index=True)
    return both.assign(origin=origin)


def weekly_scale(days: pd.DataFrame, origin: pd.Timestamp) -> pd.Series:
    """Return each store's mean absolute difference of successive complete weeks up to an origin."""
    past = days[(days["date"] <= origin) & days["sales"].notna()]
    first, week = past["date"].min(), week_ends(past["date"])
    complete = (week <= origin) & (week - pd.Timedelta(days=6) >= first)
    total = past[complete].groupby([week[complete].rename("week"), "store"])["sales"].sum()
    wide = total.unstack(fill_value=0.0).asfreq("7D", fill_value=0.0)
    return wide.diff().abs().mean()


def score_weeks(weeks: pd.DataFrame, days: pd.DataFrame, origin: pd.Timestamp) -> dict[str, float]:
    """Score weekly totals as fev-bench does, on the median and the deciles.

    Args:
        weeks: Result of `week_totals`.
        days: Day panel, for the scale of MASE and SQL. Days after the origin are not read.
        origin: The window's origin.
    """
    is_store = weeks["store"].notna()
    mine, chain = weeks[is_store], weeks[~is_store]
    actual, median = mine["actual"].to_numpy(np.float64), mine["q0_5"].to_numpy()
    quantiles, levels = mine[_SCORED_COLUMNS].to_numpy(), np.array(_SCORED)
    scale = mine["store"].map(weekly_scale(days, origin)).to_numpy(np.float64)
    sold = mine[mine["actual"] > 0]
    return {
        "wape": scoring.wape(actual, median),
        "wql": scoring.wql(actual, quantiles, levels),
        "mase": scoring.mase(actual, median, scale),
        "sql": scoring.sql(actual, quantiles, levels, scale),
        "coverage_80": _coverage(sold, "q0_1", "q0_9"),
        "coverage_95": _coverage(sold, "q0_025", "q0_975"),
        "bias": scoring.bias(actual, mine["mean"].to_numpy()),
        "chain_coverage_80": _coverage(chain, "q0_1", "q0_9"),
        "chain_coverage_95": _coverage(chain, "q0_025", "q0_975"),
    }


def output_columns(weeks: pd.DataFrame) -> pd.DataFrame:
    """Select and rename the columns for the output file; `point` is the median."""
    out = weeks[weeks["store"].notna()].astype({"store": np.int32})
    out = out.assign(point=out["q0_5"])
    names = {
        column: f"q{level:g}" for column, level in zip(QUANTILE_COLUMNS, QUANTILES, strict=True)
    }
    columns = ["store", "origin", "week", "point", *_SCORED_COLUMNS, "actual"]
    return out[columns].rename(columns=names)


def _coverage(rows: pd.DataFrame, low: str, high: str) -> float:
    return scoring.coverage(
        rows["actual"].to_numpy(np.float64), rows[low].to_numpy(), rows[high].to_numpy()
    )
