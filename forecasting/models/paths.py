"""Joint sample paths of daily forecasts, and totals over any days and stores.

Quantiles do not add up: how sure a week's or a chain's total is depends on how the days and the
stores err together. A path is one possible future of all stores and days. Which days are high
together comes from a Gaussian copula whose correlations were learned from past errors
(`dependence.py`). Every path takes its value of a store's day from the calibrated quantiles
by its rank among the paths, so each day's paths reproduce the quantiles exactly (the Schaake
shuffle: Clark et al. 2004, "The Schaake Shuffle", Journal of Hydrometeorology 5).

All random numbers depend on the seed, the store and the date only. So a store alone has the same
paths as within the chain, and memory holds one store's paths beside the requested totals.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
import pandas as pd

from forecasting.arrays import Array
from forecasting.columns import QUANTILE_COLUMNS, QUANTILES
from forecasting.models.dependence import Dependence

#: Number of paths. 201 paths have a path exactly at each of `QUANTILES`.
PATHS = 201
#: Level of the lowest path; the highest has the opposite one.
_EDGE = 0.0025
#: First words of the seeds, so that shocks of the chain and of stores differ.
_CHAIN, _STORE = 1, 2
#: Smallest quantile, in sales, whose logarithm is taken.
_SMALLEST = 1e-3

Paths = npt.NDArray[np.float32]


def sample_paths(
    forecasts: pd.DataFrame, dependence: Dependence, *, seed: int = 0
) -> Iterator[tuple[npt.NDArray[np.int64], Paths]]:
    """Sample joint paths, one store at a time.

    Args:
        forecasts: Forecast frame with store, origin, date and the quantiles; at most one row per
            store and date.
        dependence: How days and stores err together.
        seed: Seed of the paths.

    Yields:
        Positions of the rows of one store in `forecasts`, by date, and their paths in sales,
        shape (rows, `PATHS`). Closed days are 0.

    Raises:
        ValueError: A store has two rows for one date.
    """
    frame = forecasts.reset_index(drop=True)
    log_quantiles = np.log(np.maximum(frame[list(QUANTILE_COLUMNS)].to_numpy(), _SMALLEST))
    is_open = frame[QUANTILE_COLUMNS[-1]].to_numpy() > 0
    day = frame["date"].to_numpy("datetime64[D]").astype(np.int64)
    lead = day - frame["origin"].to_numpy("datetime64[D]").astype(np.int64)
    store = frame["store"].to_numpy(np.int64)
    order = np.lexsort((day, store))
    if (same := (np.diff(store[order]) == 0) & (np.diff(day[order]) == 0)).any():
        row = order[1:][same][0]
        raise ValueError(f"store {store[row]} has two forecasts for {frame['date'][row]:%Y-%m-%d}")
    shocks = _Shocks(dependence, seed, int(lead.max(initial=1)))
    weights = _interpolation()
    edges = np.flatnonzero(np.diff(store[order], prepend=-1))
    for rows in np.split(order, edges[1:]):
        out = np.zeros((len(rows), PATHS), np.float32)
        sold = rows[is_open[rows]]
        if len(sold):
            latent = shocks.of(int(store[sold[0]]), day[sold], lead[sold])
            rank = np.argsort(latent, axis=1)
            values = np.exp(log_quantiles[sold] @ weights)
            opened = np.empty_like(out[: len(sold)])
            np.put_along_axis(opened, rank, values.astype(np.float32), axis=1)
            out[is_open[rows]] = opened
        yield rows.astype(np.int64), out


def totals(
    forecasts: pd.DataFrame,
    dependence: Dependence,
    keys: Mapping[str, pd.DataFrame],
    *,
    seed: int = 0,
) -> dict[str, pd.DataFrame]:
    """Sum paths over any groups of days and stores, and return the totals' quantiles.

    Args:
        forecasts: Forecast frame with store, origin, date, mean and the quantiles.
        dependence: How days and stores err together.
        keys: For each kind of total, a frame with one row per row of `forecasts`. Rows with equal
            values are summed. A missing value leaves its row out. The name up to a slash selects
            the correction of the quantiles: `Dependence.widening` has those that were learned.
        seed: Seed of the paths.

    Returns:
        For each kind, one row per total with its keys, `days` (number of forecasts in the sum),
        `mean` (the sum of the means) and the quantiles.
    """
    index: dict[str, npt.NDArray[np.int64]] = {}
    groups: dict[str, pd.DataFrame] = {}
    for name, frame in keys.items():
        grouped = frame.reset_index(drop=True).groupby(list(frame.columns), sort=True)
        # pandas numbers the rows left out with NaN.
        index[name] = np.asarray(grouped.ngroup().fillna(-1), np.int64)
        groups[name] = grouped.size().index.to_frame(index=False)
    sums = {name: np.zeros((len(group), PATHS)) for name, group in groups.items()}
    for rows, values in sample_paths(forecasts, dependence, seed=seed):
        for name, total in sums.items():
            _add(total, index[name][rows], values)
    out = {}
    for name, group in groups.items():
        mine = index[name] >= 0
        count = np.bincount(index[name][mine], minlength=len(group))
        mean = np.bincount(
            index[name][mine], forecasts["mean"].to_numpy()[mine], minlength=len(group)
        )
        quantiles = _widen(np.quantile(sums[name], QUANTILES, axis=1).T, dependence, name)
        columns = {column: quantiles[:, k] for k, column in enumerate(QUANTILE_COLUMNS)}
        out[name] = group.assign(days=count.astype(np.int32), mean=mean, **columns)
    return out


def _add(total: Array, index: npt.NDArray[np.int64], values: Paths) -> None:
    """Add the paths of some rows to the totals that they belong to, in place."""
    kept = index >= 0
    if not kept.any():
        return
    index, values = index[kept], values[kept]
    places, inverse = np.unique(index, return_inverse=True)
    if len(places) == len(index):
        total[index] += values
        return
    belongs = np.zeros((len(places), len(index)), np.float32)
    belongs[inverse, np.arange(len(index))] = 1.0
    total[places] += belongs @ values


def _widen(quantiles: Array, dependence: Dependence, name: str) -> Array:
    """Move the quantiles of totals from their median by the factor learned on past totals."""
    factor = dependence.widening.get(name.split("/", maxsplit=1)[0], 1.0)
    median = np.maximum(quantiles[:, [QUANTILES.index(0.5)]], _SMALLEST)
    out: Array = median * (np.maximum(quantiles, _SMALLEST) / median) ** factor
    return np.where(quantiles > 0, out, 0.0)


class _Shocks:
    """Correlated standard normal errors of the chain and of single stores."""

    def __init__(self, dependence: Dependence, seed: int, horizon: int) -> None:
        self._seed = seed
        chain, store = dependence.correlations(horizon)
        self._chain = np.linalg.cholesky(chain)
        self._store = np.linalg.cholesky(store)
        self._common: dict[int, Array] = {}
        self._by_origin: dict[int, Array] = {}

    def of(
        self, store: int, day: npt.NDArray[np.int64], lead: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        """Return the errors of a store's rows, shape (rows, paths).

        Args:
            store: The store.
            day: Days since 1970 of the rows.
            lead: Days from the store's origin to each row.
        """
        origin = int(day[0] - lead[0])
        generator = np.random.default_rng((_STORE, self._seed, store, origin))
        own = self._store @ generator.standard_normal((len(self._store), PATHS))
        out: npt.NDArray[np.float32] = (self._of_chain(origin) + own)[lead - 1].astype(np.float32)
        return out

    def _of_chain(self, origin: int) -> Array:
        """Return the errors that all stores share from an origin on, shape (horizon, paths)."""
        if origin not in self._by_origin:
            days = range(origin + 1, origin + 1 + len(self._chain))
            for day in days:
                if day not in self._common:
                    generator = np.random.default_rng((_CHAIN, self._seed, day))
                    self._common[day] = generator.standard_normal(PATHS)
            self._by_origin[origin] = self._chain @ np.stack([self._common[d] for d in days])
        return self._by_origin[origin]


def _interpolation() -> Array:
    """Return weights (quantiles, paths) that interpolate log quantiles at the paths' levels.

    Between two quantiles and beyond the outer ones, log sales are linear in the normal score.
    """
    levels = np.clip(np.arange(PATHS) / (PATHS - 1), _EDGE, 1 - _EDGE)
    score = np.array([NormalDist().inv_cdf(level) for level in levels])
    knots = np.array([NormalDist().inv_cdf(level) for level in QUANTILES])
    low = np.clip(np.searchsorted(knots, score, side="right") - 1, 0, len(knots) - 2)
    share = (score - knots[low]) / (knots[low + 1] - knots[low])
    out = np.zeros((len(knots), PATHS))
    out[low, np.arange(PATHS)] = 1 - share
    out[low + 1, np.arange(PATHS)] += share
    return out
