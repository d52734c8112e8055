"""How days and stores err together, learned from forecasts of past origins.

The errors are turned into normal scores by the calibrated distribution. A score is the sum of what
all stores share on its day and of the store's own part. Both parts keep a share of their variance
over the whole horizon (a level that was missed), lose another from day to day, and the rest is new
each day. `forecasting/models/paths.py` samples from these correlations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from forecasting.arrays import Array

#: Stores that a past day needs before its common error is used.
MIN_STORES = 10
#: Scores are cut here: a day of almost no sales must not look like a correlation.
SCORE_BOUND = 3.0
#: Memories (correlation from one day to the next) among which the best is chosen.
_MEMORIES = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
#: Smallest variance of the newly drawn part, which keeps the correlations invertible.
_MIN_NEW = 0.02
#: Added to variances of 1, so that a part without any variance has a decomposition, too.
_JITTER = 1e-9


@dataclass(frozen=True)
class ErrorPart:
    """Variance of one part of the scores, by how long it lasts.

    Attributes:
        level: Variance that lasts over the horizon.
        fading: Variance that fades from day to day.
        memory: Share of the fading part that is left a day later, as a correlation.
        new: Variance that is new each day.
    """

    level: float
    fading: float
    memory: float
    new: float

    def covariance(self, horizon: int) -> Array:
        """Return the covariance of the days of a horizon, shape (horizon, horizon)."""
        lag = np.abs(np.subtract.outer(np.arange(horizon), np.arange(horizon)))
        out: Array = self.level + self.fading * self.memory**lag + self.new * (lag == 0)
        return out

    @property
    def variance(self) -> float:
        """Variance of one day."""
        return self.level + self.fading + self.new


@dataclass(frozen=True)
class Dependence:
    """Correlations of forecast errors.

    Attributes:
        chain: The part that all stores share on a day.
        store: A store's own part.
        widening: Factor on the log width of the intervals of totals, by kind of total.
    """

    chain: ErrorPart
    store: ErrorPart
    widening: dict[str, float] = field(default_factory=dict)

    @classmethod
    def default(cls) -> Dependence:
        """Return the correlations for models without past forecasts.

        They are those of a chain with more than two years of sales, rounded.
        """
        return cls(ErrorPart(0.05, 0.1, 0.7, 0.05), ErrorPart(0.2, 0.15, 0.7, 0.45))

    def correlations(self, horizon: int) -> tuple[Array, Array]:
        """Return the covariances of the chain's and of a store's part, with total variance 1."""
        total = self.chain.variance + self.store.variance
        jitter = _JITTER * np.eye(horizon)
        chain, store = self.chain.covariance(horizon), self.store.covariance(horizon)
        return chain / total + jitter, store / total + jitter

    def to_dict(self) -> dict[str, Any]:
        """Return the dependence as values that JSON can hold."""
        return {
            "chain": vars(self.chain).copy(),
            "store": vars(self.store).copy(),
            "widening": dict(self.widening),
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Dependence:
        """Read what `to_dict` returned."""
        return cls(
            ErrorPart(**content["chain"]), ErrorPart(**content["store"]), content["widening"]
        )


def learn_dependence(
    scores: Sequence[Array],
    stores: Sequence[npt.NDArray[np.int64]],
    leads: Sequence[npt.NDArray[np.int64]],
    horizon: int,
) -> Dependence:
    """Learn the correlations from the normal scores of forecasts from past origins.

    Args:
        scores: Scores of each origin's forecasts, each of shape (rows,).
        stores: Position of each row's store.
        leads: Days from the origin to each row, from 1.
        horizon: Days ahead.

    Returns:
        The dependence, without widening; the default one if too few days are known.
    """
    chain, own = _LaggedProducts(horizon), _LaggedProducts(horizon)
    for score, store, lead in zip(scores, stores, leads, strict=True):
        if not len(score):
            continue
        grid = np.full((int(store.max()) + 1, horizon), np.nan)
        grid[store, lead - 1] = np.clip(score, -SCORE_BOUND, SCORE_BOUND)
        count = (~np.isnan(grid)).sum(axis=0)
        total = np.nansum(grid, axis=0)
        common = np.where(count >= MIN_STORES, total / np.maximum(count, 1), np.nan)
        chain.add(common[None])
        own.add(grid - common)
    if not (chain.known and own.known):
        return Dependence.default()
    return Dependence(chain.fit(), own.fit())


class _LaggedProducts:
    """Mean products of a series with itself some days later, summed over many series."""

    def __init__(self, horizon: int) -> None:
        self.total, self.count = np.zeros(horizon), np.zeros(horizon)

    def add(self, grid: Array) -> None:
        """Add series as rows of a grid; NaN is unknown."""
        known = (~np.isnan(grid)).astype(np.float64)
        value = np.nan_to_num(grid)
        for lag in range(grid.shape[1]):
            width = grid.shape[1] - lag
            self.total[lag] += float((value[:, :width] * value[:, lag:]).sum())
            self.count[lag] += float((known[:, :width] * known[:, lag:]).sum())

    @property
    def known(self) -> bool:
        """Whether the first fortnight of lags has products."""
        return bool((self.count[: min(14, len(self.count))] > 0).sum() >= min(8, len(self.count)))

    def fit(self) -> ErrorPart:
        """Fit level, fading part and memory to the products, by weighted least squares."""
        lags = np.flatnonzero(self.count[1:] > 0) + 1
        variance = float(self.total[0] / max(self.count[0], 1.0))
        product, weight = self.total[lags] / self.count[lags], self.count[lags]
        best, best_error = (0.0, 0.0, _MEMORIES[0]), np.inf
        for memory in _MEMORIES:
            level, fading = _two_weights(memory**lags, product, weight, variance)
            error = float((weight * (product - level - fading * memory**lags) ** 2).sum())
            if error < best_error:
                best, best_error = (level, fading, memory), error
        level, fading, memory = best
        new = max(variance - level - fading, _MIN_NEW * variance)
        return ErrorPart(level, fading, memory, float(new))


def _two_weights(shape: Array, product: Array, weight: Array, most: float) -> tuple[float, float]:
    """Fit product = level + fading · shape with both not negative and their sum at most `most`."""
    x = np.column_stack([np.ones(len(shape)), shape])
    gram = x.T @ (x * weight[:, None]) + 1e-9 * np.eye(2)
    level, fading = np.linalg.solve(gram, x.T @ (weight * product))
    if level < 0:
        level, fading = 0.0, float((weight * shape * product).sum() / (weight * shape**2).sum())
    if fading < 0:
        level, fading = float((weight * product).sum() / weight.sum()), 0.0
    level, fading = max(float(level), 0.0), max(float(fading), 0.0)
    scale = min(1.0, most / max(level + fading, 1e-12))
    return level * scale, fading * scale
