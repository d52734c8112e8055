"""Weighted sums of a panel's rows for the closed-form models, rolled forward over origins.

Each row is read once, for any number of origins. The algebra on these sums lives in `linear.py`.
"""

from __future__ import annotations

import numpy as np

from forecasting.arrays import Dates
from forecasting.features.panel import Panel
from forecasting.models.linear import Moments

#: Half-lives, in days, of the weights of past days. A forecast averages one model per half-life.
HALF_LIVES = (150.0, 400.0, 1000.0)

#: Weight of each half-life in the average.
HALF_LIFE_WEIGHTS = (0.5, 0.3, 0.2)


class RollingMoments:
    """Weighted sums of a panel's rows up to an origin that moves forward.

    A row's weight halves with every half-life between its day and the origin. Moving the origin
    therefore only decays the sums and adds the new rows.
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

    def add_until(self, origins: Dates) -> list[Moments]:
        """Add all rows up to each store's own origin, once, to sums that are still empty."""
        self._add(np.full(len(origins), np.datetime64("0001-01-01", "D")), origins)
        return self.moments

    def _add(self, after: Dates, until: Dates) -> None:
        panel = self._panel
        # Clearance sales and empty shelves before a long closure are no sample of ordinary days.
        ordinary = panel.is_ordinary
        for s in range(len(panel.stores)):
            low, high = panel.bounds[s], panel.bounds[s + 1]
            day = panel.day[low:high]
            low, high = low + np.searchsorted(day, [after[s], until[s]], side="right")
            rows = low + np.flatnonzero(ordinary[low:high])
            if len(rows) == 0:
                continue
            x, y = panel.x[rows].astype(np.float64), panel.y[rows]
            age = (until[s] - panel.day[rows]).astype(np.float64)
            self.n_days[s] += len(rows)
            for moments, half_life in zip(self.moments, self._half_lives, strict=True):
                moments.add(s, x, y, 0.5 ** (age / half_life))
