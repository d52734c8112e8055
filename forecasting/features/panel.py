"""A feature frame as arrays: design matrix, target and where each store's rows are.

Here belongs the step from frames to the arrays that the closed form works on: weighted sums up
to an origin, kept rolling over several origins without reading a row twice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from forecasting.features.design import design_matrix
from forecasting.models.linear import Array, Moments

#: Half-lives, in days, of the weights of past days; a forecast averages the models of all.
HALF_LIVES = (150.0, 400.0, 1000.0)
#: How much each counts in the average.
HALF_LIFE_WEIGHTS = (0.5, 0.3, 0.2)

Days = npt.NDArray[np.datetime64]


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
        bounds: Rows ``bounds[s]`` to ``bounds[s + 1]`` are store s's.
    """

    frame: pd.DataFrame
    stores: npt.NDArray[np.int32]
    store: npt.NDArray[np.int64]
    day: Days
    x: npt.NDArray[np.float32]
    y: Array
    bounds: npt.NDArray[np.int64]

    @classmethod
    def of(cls, features: pd.DataFrame) -> Panel:
        """Make the arrays from feature rows in any order."""
        frame = features.sort_values(["store", "date"], kind="stable", ignore_index=True)
        stores, store = np.unique(frame["store"].to_numpy(np.int32), return_inverse=True)
        return cls(
            frame,
            stores,
            store.astype(np.int64),
            frame["date"].to_numpy("datetime64[D]"),
            design_matrix(frame),
            frame["log_sales"].to_numpy(np.float64),
            np.searchsorted(store, np.arange(len(stores) + 1)).astype(np.int64),
        )

    def days_between(self, after: Days, until: Days) -> npt.NDArray[np.bool_]:
        """Mark rows with known sales after one date and up to another, both given by store."""
        return ~np.isnan(self.y) & (self.day > after[self.store]) & (self.day <= until[self.store])


class RollingMoments:
    """Weighted sums of a panel's rows up to an origin that moves forward.

    A row's weight halves with every half-life that its day lies before the origin, so moving
    the origin only decays the sums and adds the new rows.
    """

    def __init__(self, panel: Panel, half_lives: tuple[float, ...] = HALF_LIVES) -> None:
        """Start without rows."""
        self._panel = panel
        self._half_lives = half_lives
        p = panel.x.shape[1]
        self.moments = [Moments.zeros(len(panel.stores), p) for _ in half_lives]
        self.n_days = np.zeros(len(panel.stores), np.int64)
        self._origin: np.datetime64 | None = None

    def advance(self, origin: np.datetime64) -> list[Moments]:
        """Move every store's origin forward.

        Args:
            origin: The new origin, not before the last one.

        Returns:
            The sums for each half-life; the same objects at every call.

        Raises:
            ValueError: The origin moves back.
        """
        n = len(self._panel.stores)
        if self._origin is not None and origin < self._origin:
            raise ValueError(f"the origin cannot move back from {self._origin} to {origin}")
        if self._origin is None:
            after = np.full(n, np.datetime64("0001-01-01", "D"))
        else:
            after = np.full(n, self._origin)
            gap = float((origin - self._origin).astype(int))
            for moments, half_life in zip(self.moments, self._half_lives, strict=True):
                moments.decay(0.5 ** (gap / half_life))
        self._origin = origin
        self._add(after, np.full(n, origin))
        return self.moments

    def add_until(self, origins: Days) -> list[Moments]:
        """Add all rows up to each store's own origin, once, to sums that are still empty."""
        self._add(np.full(len(origins), np.datetime64("0001-01-01", "D")), origins)
        return self.moments

    def _add(self, after: Days, until: Days) -> None:
        panel = self._panel
        for s in range(len(panel.stores)):
            low, high = panel.bounds[s], panel.bounds[s + 1]
            day = panel.day[low:high]
            low, high = low + np.searchsorted(day, [after[s], until[s]], side="right")
            rows = low + np.flatnonzero(~np.isnan(panel.y[low:high]))
            if len(rows) == 0:
                continue
            x, y = panel.x[rows].astype(np.float64), panel.y[rows]
            age = (until[s] - panel.day[rows]).astype(np.float64)
            self.n_days[s] += len(rows)
            for moments, half_life in zip(self.moments, self._half_lives, strict=True):
                moments.add(s, x, y, 0.5 ** (age / half_life))
