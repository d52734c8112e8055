"""The seasonal naive forecast, the baseline: the sales of one or more promo cycles ago."""

from __future__ import annotations

import numpy as np
import pandas as pd


def seasonal_naive(
    days: pd.DataFrame, origins: pd.Series, horizon: int, season: int = 14
) -> pd.DataFrame:
    """Repeat each store's last `season` days.

    Args:
        days: Day panel; only days up to each store's origin are read.
        origins: Origin (last day whose sales are known) by store.
        horizon: Days to forecast.
        season: Days that are repeated; 14 is the promo cycle.

    Returns:
        One row per store and day: store, origin, date, horizon, point. If the same day of the last
        season had no sales, for instance on a holiday, up to three earlier seasons are tried. The
        point is NaN if none has sales. This baseline is stronger than plain repetition.
    """
    stores = origins.index.to_numpy()
    origin = pd.to_datetime(origins).to_numpy("datetime64[D]")
    steps = np.arange(1, horizon + 1)
    frame = pd.DataFrame(
        {
            "store": np.repeat(stores, horizon),
            "origin": np.repeat(origin, horizon).astype("datetime64[ns]"),
            "horizon": np.tile(steps, len(stores)).astype(np.int16),
        }
    )
    target = frame["origin"].to_numpy("datetime64[D]") + frame["horizon"].to_numpy()
    frame["date"] = target.astype("datetime64[ns]")
    known = days[days["date"] <= days["store"].map(pd.to_datetime(origins))]
    known = known[known["sales"] > 0]
    sales = known.set_index(["store", "date"])["sales"]
    back = -(-frame["horizon"].to_numpy().astype(int) // season) * season
    point = np.full(len(frame), np.nan)
    for extra in range(4):
        earlier_day = (target - (back + extra * season)).astype("datetime64[ns]")
        key = pd.MultiIndex.from_arrays([frame["store"], earlier_day], names=["store", "date"])
        point = np.where(np.isnan(point), sales.reindex(key).to_numpy(np.float64), point)
    frame["point"] = point
    return frame[["store", "origin", "date", "horizon", "point"]]
