"""The totals that planners ask for: weeks of stores, days and weeks of the chain and its groups.

Any other total can be summed from the same paths with `forecasting.models.paths.totals`.
"""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd

from forecasting.columns import QUANTILE_COLUMNS
from forecasting.models.dependence import Dependence
from forecasting.models.joint import GROUP_DAY, GROUP_WEEK, STORE_WEEK, week_ends
from forecasting.models.paths import totals

#: Attributes of stores whose values form groups.
GROUPS = ("store_type", "assortment")
#: The level and the only member of the chain's totals.
CHAIN = "chain"
#: Columns of the result, as in the table `sales.forecast_totals`.
TOTAL_COLUMNS = (
    "level",
    "member",
    "grain",
    "origin",
    "first_day",
    "last_day",
    "days",
    "mean",
    *QUANTILE_COLUMNS,
)


def chain_totals(
    forecasts: pd.DataFrame,
    stores: pd.DataFrame,
    dependence: Dependence,
    of_stores: Collection[int] | None = None,
) -> pd.DataFrame:
    """Sum the forecasts of a chain, with the quantiles of the sums.

    Weeks run from Monday to Sunday. The first and the last one may hold fewer forecast days; their
    `first_day` and `last_day` say which. The chain's and the groups' totals hold only days for
    which every store with the newest origin has a forecast, and days after that origin.

    Args:
        forecasts: Forecast frame, one row per store and date.
        stores: Frame with store and `GROUPS`.
        dependence: How days and stores err together.
        of_stores: Stores whose weeks are wanted, by default all.

    Returns:
        Rows with `TOTAL_COLUMNS`. `days` counts the forecasts in a sum.
    """
    frame = forecasts.reset_index(drop=True)
    week = week_ends(frame["date"])
    origin, last = frame["origin"].max(), frame.groupby("store")["date"].max()
    newest = frame.loc[frame["origin"] == origin, "store"].unique()
    whole = (frame["date"] > origin) & (frame["date"] <= last[newest].min())
    attributes = stores.set_index("store").reindex(frame["store"])[list(GROUPS)]
    members = {CHAIN: pd.Series(CHAIN, frame.index)} | {
        name: attributes[name].reset_index(drop=True) for name in GROUPS
    }
    wanted = frame["store"] if of_stores is None else frame["store"].where(
        frame["store"].isin(list(of_stores))
    )  # fmt: skip
    keys = {f"{STORE_WEEK}/store": pd.DataFrame({"member": wanted, "period": week})}
    for name, member in members.items():
        in_sum = member.where(whole)
        keys[f"{GROUP_DAY}/{name}"] = pd.DataFrame({"member": in_sum, "period": frame["date"]})
        keys[f"{GROUP_WEEK}/{name}"] = pd.DataFrame({"member": in_sum, "period": week})
    sums = totals(frame, dependence, keys)
    return pd.concat(
        [_rows(frame, keys[name], total, name) for name, total in sums.items() if len(total)],
        ignore_index=True,
    )


def _rows(frame: pd.DataFrame, key: pd.DataFrame, total: pd.DataFrame, name: str) -> pd.DataFrame:
    """Name the totals of one kind, and add the days that they span."""
    kind, level = name.split("/")
    span = (
        frame[["origin", "date"]]
        .groupby([key["member"], key["period"]], sort=True)
        .agg(origin=("origin", "max"), first_day=("date", "min"), last_day=("date", "max"))
        .reset_index()
    )
    out = total.merge(span, on=["member", "period"])
    member = out["member"].astype(int) if level == "store" else out["member"]
    grain = "day" if kind == GROUP_DAY else "week"
    out = out.assign(level=level, member=member.astype(str), grain=grain)
    return out[list(TOTAL_COLUMNS)]
