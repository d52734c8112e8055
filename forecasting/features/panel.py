"""A feature frame as arrays: design matrix, target and the position of each store's rows.

Weighted sums of these arrays, which the closed-form models need, live in `models/moments.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from forecasting.arrays import Array, Dates
from forecasting.features.daily import before_closure
from forecasting.features.regressors import design_matrix

#: Days before a long closure in which a store may clear its stock. Clearances began 10 to 18 days
#: before the closures in Kaggle's data, so some had begun before the days that `before_closure`
#: marks; rounded up to whole weeks.
CLEARANCE_DAYS = 21


@dataclass(frozen=True)
class Panel:
    """Feature rows as arrays, sorted by store and date.

    Attributes:
        frame: The feature rows, sorted, with a fresh index.
        stores: Store ids, increasing, shape (stores,).
        store: Position of each row's store, shape (rows,).
        day: Each row's date (datetime64[D]).
        x: Design matrix, float32, shape (rows, p).
        y: Log sales, NaN where closed or unknown.
        before_closure: Marks the last days before a long closure, shape (rows,).
        clearance: Marks the last `CLEARANCE_DAYS` days before one, shape (rows,).
        bounds: Rows `bounds[s]` to `bounds[s + 1]` are store s's.
    """

    frame: pd.DataFrame
    stores: npt.NDArray[np.int32]
    store: npt.NDArray[np.int64]
    day: Dates
    x: npt.NDArray[np.float32]
    y: Array
    before_closure: npt.NDArray[np.bool_]
    clearance: npt.NDArray[np.bool_]
    bounds: npt.NDArray[np.int64]

    @classmethod
    def of(cls, features: pd.DataFrame) -> Panel:
        """Build the arrays from feature rows in any order."""
        frame = features.sort_values(["store", "date"], kind="stable", ignore_index=True)
        stores, index = np.unique(frame["store"].to_numpy(np.int32), return_inverse=True)
        store, day = index.astype(np.int64), frame["date"].to_numpy("datetime64[D]")
        return cls(
            frame,
            stores,
            store,
            day,
            design_matrix(frame),
            frame["log_sales"].to_numpy(np.float64),
            before_closure(frame),
            _clearance(frame, store, day),
            np.searchsorted(store, np.arange(len(stores) + 1)).astype(np.int64),
        )

    def days_between(self, after: Dates, until: Dates) -> npt.NDArray[np.bool_]:
        """Mark the ordinary rows with sales after one date and up to another.

        The last days before a long closure are left out, because they say nothing about other days.

        Args:
            after: A date for each store.
            until: A date for each store.
        """
        between = (self.day > after[self.store]) & (self.day <= until[self.store])
        return self.is_ordinary & between

    @property
    def is_ordinary(self) -> npt.NDArray[np.bool_]:
        """Mark the rows with sales that are not the last days before a long closure."""
        return ~np.isnan(self.y) & ~self.before_closure


def _clearance(
    frame: pd.DataFrame, store: npt.NDArray[np.int64], day: Dates
) -> npt.NDArray[np.bool_]:
    """Mark the rows of the last `CLEARANCE_DAYS` days before a planned long closure."""
    position = day.astype(np.int64)
    closure = np.where(
        before_closure(frame),
        position + frame["days_to_refurbishment"].to_numpy(np.int64),
        np.iinfo(np.int64).max // 2,
    )
    # Rows are sorted, so the next closure of a store is the smallest one from its row on; those of
    # the stores that follow are far away.
    far = np.int64(10**7)
    following = np.minimum.accumulate((closure + store * far)[::-1])[::-1] - store * far
    out: npt.NDArray[np.bool_] = following - position <= CLEARANCE_DAYS
    return out
