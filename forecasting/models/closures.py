"""What stores sell on the last days before a long closure, relative to ordinary days.

Some stores clear their stock and sell twice as much, others run empty and sell a third. No
regressor tells them apart, so neither the linear models nor the trees see these days. Their effect
is the empirical distribution over all past closures of the chain, by days to the closure. It widens
the quantiles, and it decides which point minimizes the error measure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from forecasting.arrays import Array
from forecasting.calibration import SHAPE_LEVELS, ErrorMeasure, normal_quantiles
from forecasting.columns import QUANTILES
from forecasting.features.daily import CLOSURE_NOTICE_DAYS, before_closure
from forecasting.features.panel import CLEARANCE_DAYS, Panel
from forecasting.models.levels import LEVEL_DAYS, LEVEL_PRIOR_DAYS
from forecasting.models.moments import HALF_LIFE_WEIGHTS
from forecasting.models.store_fit import StoreFit, linear_terms

#: Bins of the days to a closure, first and last day included.
BINS = ((1, 1), (2, 4), (5, CLOSURE_NOTICE_DAYS))
#: Standard deviation of the effect (log units) for a chain without past closures, and the days of
#: past closures at which that assumption weighs as much as what was observed.
PRIOR_DEVIATION = 0.3
PRIOR_DAYS = 20.0


@dataclass(frozen=True)
class ClosureEffect:
    """Distribution of log sales minus the linear models' log forecast, by bin of `BINS`.

    Attributes:
        quantiles: Value at each of `QUANTILES`, shape (bins, quantiles).
        shape: Value at each of `SHAPE_LEVELS`, shape (bins, levels).
        days: Number of past days that each bin was learned from.
    """

    quantiles: Array
    shape: Array
    days: tuple[int, ...]

    @classmethod
    def of(cls, effect: Array, days_to_closure: npt.NDArray[np.integer]) -> ClosureEffect:
        """Learn the distribution from past days, mixed with the prior.

        Args:
            effect: Log sales minus log forecast of each past day, shape (rows,).
            days_to_closure: Days from each row's date to the closure.
        """
        quantiles, shapes, days = [], [], []
        for low, high in BINS:
            seen = effect[(days_to_closure >= low) & (days_to_closure <= high)]
            quantiles.append(_mixed_quantiles(seen, np.array(QUANTILES)))
            shapes.append(_mixed_quantiles(seen, SHAPE_LEVELS))
            days.append(len(seen))
        return cls(np.stack(quantiles), np.stack(shapes), tuple(days))

    @classmethod
    def default(cls) -> ClosureEffect:
        """Return the prior, for models without past closures."""
        return cls.of(np.empty(0), np.empty(0, np.int64))

    def to_dict(self) -> dict[str, Any]:
        """Return the effect as values that JSON can hold."""
        return {
            "quantiles": self.quantiles.tolist(),
            "shape": self.shape.tolist(),
            "days": list(self.days),
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> ClosureEffect:
        """Read what `to_dict` returned."""
        return cls(
            np.array(content["quantiles"]), np.array(content["shape"]), tuple(content["days"])
        )

    def point_factor(self, measure: ErrorMeasure) -> Array:
        """Return the factor of each bin on the point that minimizes an error measure."""
        if measure == "mean":
            mean: Array = np.exp(self.shape).mean(axis=1)
            return mean
        if measure == "median":
            return np.exp(self.quantiles[:, QUANTILES.index(0.5)])
        # The minimum of E[((y - p) / y)^2] is p = E[1 / y] / E[1 / y^2].
        best: Array = np.exp(-self.shape).mean(axis=1) / np.exp(-2.0 * self.shape).mean(axis=1)
        return best

    def widened(self, log_quantiles: Array, bins: npt.NDArray[np.int64]) -> Array:
        """Combine the effect with the spread of ordinary days.

        The two deviations from the median are independent, so their squares add up.

        Args:
            log_quantiles: Log quantiles as if there were no closure, shape (rows, quantiles).
            bins: Bin of each row.

        Returns:
            Log quantiles of shape (rows, quantiles).
        """
        middle = QUANTILES.index(0.5)
        effect = self.quantiles[bins]
        own = effect - effect[:, [middle]]
        ordinary = log_quantiles - log_quantiles[:, [middle]]
        center = log_quantiles[:, [middle]] + effect[:, [middle]]
        side = np.sign(np.array(QUANTILES) - 0.5)
        out: Array = center + side * np.hypot(own, ordinary)
        return out


def closure_bins(features: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Return each row's bin of `BINS`; -1 on all days that are not just before a closure."""
    days = features["days_to_refurbishment"].to_numpy()
    out = np.searchsorted([high for _, high in BINS], days).astype(np.int64)
    out[~before_closure(features)] = -1
    return out


def learn_closures(
    panel: Panel, fit: Callable[[npt.NDArray[np.intp]], StoreFit], origin: np.datetime64
) -> ClosureEffect:
    """Learn the effect from all closures of the past.

    Args:
        panel: The panel; only sales up to `origin` are read.
        fit: Function that fits the stores at some positions of the panel at the origin. The fits
            have not seen the days before closures.
        origin: The origin.
    """
    sold = ~np.isnan(panel.y) & (panel.day <= origin)
    stores = np.unique(panel.store[sold & panel.before_closure])
    if not len(stores):
        return ClosureEffect.default()
    rows = np.flatnonzero(sold & np.isin(panel.store, stores))
    store = np.searchsorted(stores, panel.store[rows])
    fitted = linear_terms(panel.x[rows], store, fit(stores).coefficients)
    residual = panel.y[rows] - fitted @ np.array(HALF_LIFE_WEIGHTS)
    just_before = panel.before_closure[rows]
    level = _level_before(residual, store, panel.day[rows], panel.clearance[rows])
    effect = (residual - level)[just_before]
    days = panel.frame["days_to_refurbishment"].to_numpy()[rows[just_before]]
    return ClosureEffect.of(effect, days)


def _level_before(
    residual: Array,
    store: npt.NDArray[np.int64],
    day: npt.NDArray[np.datetime64],
    clearance: npt.NDArray[np.bool_],
) -> Array:
    """Return the store's level at each row: the mean residual of the ordinary weeks before."""
    position = (day - day.min()).astype(np.int64)
    grid = np.zeros((2, int(store.max()) + 1, int(position.max()) + 2))
    ordinary = ~clearance
    grid[0, store[ordinary], position[ordinary] + 1] = residual[ordinary]
    grid[1, store[ordinary], position[ordinary] + 1] = 1.0
    total = np.cumsum(grid, axis=2)
    start = np.maximum(position - LEVEL_DAYS - CLEARANCE_DAYS, 0)
    value, count = total[:, store, position] - total[:, store, start]
    level: Array = value / (count + LEVEL_PRIOR_DAYS)
    return level


def _mixed_quantiles(seen: Array, levels: Array) -> Array:
    """Return quantiles of a mixture of observed effects and the prior."""
    prior = PRIOR_DEVIATION * normal_quantiles(SHAPE_LEVELS)
    values = np.concatenate([seen, prior])
    weights = np.concatenate([np.ones(len(seen)), np.full(len(prior), PRIOR_DAYS / len(prior))])
    order = np.argsort(values, kind="stable")
    middle = np.cumsum(weights[order]) - weights[order] / 2
    return np.interp(levels, middle / weights.sum(), values[order])
