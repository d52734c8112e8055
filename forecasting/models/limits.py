"""The guard of last resort: no forecast far beyond what a store has ever sold.

Rare effects that coincide (a clearance, a promo, the turn of a month) can multiply to a value that
nothing in the data supports. A store with a year of sales is held to its own largest day. A store
with less has not seen its largest days yet, so it is held to what the chain's stores sell on their
largest day relative to their median day.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from forecasting.arrays import Array
from forecasting.features.panel import Panel

#: Factor on a store's largest day up to which forecasts may go.
LIMIT_FACTOR = 1.2
#: Relative error of features, which hold log sales as single-precision numbers. The limit is lower
#: by as much, so that rounding takes no forecast above it.
_ROUNDING = 1e-6
#: Days of sales from which on a store's own largest day is its limit: about a year of open days.
FULL_YEAR_SALES = 280
#: Share of stores whose largest day relative to their median day is below the chain's ratio.
_RATIO_LEVEL = 0.95
#: That ratio for a chain in which no store has a year of sales.
_DEFAULT_RATIO = 5.0


@dataclass(frozen=True)
class Peaks:
    """The largest days of a chain.

    Attributes:
        ratio: A store's largest day divided by its median day; few stores have a larger ratio.
        largest: Sales of the largest day of any store.
    """

    ratio: float = _DEFAULT_RATIO
    largest: float = float("inf")

    @classmethod
    def of(cls, panel: Panel) -> Peaks:
        """Measure the peaks of all stores of a panel with sales."""
        largest, median, n_days = own_peaks(panel)
        mature = n_days >= FULL_YEAR_SALES
        ratio = np.quantile(largest[mature] / median[mature], _RATIO_LEVEL) if mature.any() else 0.0
        return cls(float(ratio) or _DEFAULT_RATIO, float(np.nanmax(largest)))

    def to_dict(self) -> dict[str, Any]:
        """Return the peaks as values that JSON can hold."""
        return {"ratio": self.ratio, "largest": self.largest}


def own_peaks(panel: Panel) -> tuple[Array, Array, npt.NDArray[np.int64]]:
    """Return the largest day, the median day and the number of days with sales of each store.

    A store without sales has NaN, NaN and 0.
    """
    n = len(panel.stores)
    largest, median = np.full(n, np.nan), np.full(n, np.nan)
    n_days = np.zeros(n, np.int64)
    for s in range(n):
        y = panel.y[panel.bounds[s] : panel.bounds[s + 1]]
        y = y[~np.isnan(y)]
        if len(y):
            largest[s], median[s], n_days[s] = np.exp(y.max()), np.exp(np.median(y)), len(y)
    return largest, median, n_days


def store_limits(
    store_models: pd.DataFrame, peaks: Peaks | None, stores: npt.NDArray[np.int32]
) -> Array:
    """Return the largest value that a forecast of each store may have.

    Args:
        store_models: Result of `fit_stores`. A model that was stored before limits existed has no
            `largest_day`, and its store is held to the chain's largest day.
        peaks: The chain's peaks; None without a pooled model.
        stores: Store ids, increasing.

    Returns:
        Sales, shape (stores,); infinite where nothing is known.
    """
    chain = peaks or Peaks()
    known = store_models.drop_duplicates("store", keep="last").set_index("store").reindex(stores)
    largest = known["largest_day"].to_numpy(np.float64)
    median = known["median_day"].to_numpy(np.float64)
    young = known["n_days"].fillna(0).to_numpy() < FULL_YEAR_SALES
    limit = np.where(young, np.fmax(largest, chain.ratio * median), largest)
    limit = np.where(np.isnan(limit), chain.largest, limit)
    out: Array = LIMIT_FACTOR * (1 - _ROUNDING) * limit
    return out
