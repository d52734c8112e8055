"""One linear model a store: fitted in closed form, shrunk to what stores have in common.

Here belongs fitting and applying the per-store models. Each store has one set of coefficients
for each half-life of :data:`forecasting.features.panel.HALF_LIVES`; a forecast averages them and
adds the mean residual of the last weeks (the level).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from forecasting.features.design import DESIGN_COLUMNS
from forecasting.features.panel import HALF_LIVES, Panel, RollingMoments
from forecasting.models.linear import (
    Array,
    Moments,
    Population,
    default_population,
    fit_population,
    posterior,
    shrunk_coefficients,
    store_noise,
)

if TYPE_CHECKING:
    from forecasting.models.pooled import PooledModel

#: The level is the mean residual of this many days before the origin, ...
LEVEL_DAYS = 28
#: ... shrunk as if this many more days had had no residual.
LEVEL_PRIOR_DAYS = 8.0
#: Stores that the population is estimated from; more change nothing that can be measured.
POPULATION_STORES = 300

#: Pooled effects, and the yearly trend, that a short history can make believe (log units).
COEFFICIENT_REACH = 0.2
#: A store's errors of neighbouring days are alike, so its days tell as much about its
#: coefficients as so many times fewer independent ones would. Chosen among 1, 2, 3 and 6.
NOISE_INFLATION = 3.0
TREND_REACH = 0.05

#: Columns of the result of :func:`fit_stores`, with NumPy's type names.
STORE_MODEL_COLUMNS = {
    "store": "int32",
    "trained_until": "datetime64[ns]",
    "n_days": "int32",
    "coefficients": "object",
    "residual_scale": "float64",
}


@dataclass(frozen=True)
class StoreFit:
    """Fitted per-store models as arrays.

    Attributes:
        stores: Store ids, increasing, shape (stores,).
        coefficients: Shape (stores, half-lives, p).
        scale: Standard deviation of a log forecast's error, shape (stores,).
        n_days: Days of sales that each was fitted on, shape (stores,).
    """

    stores: npt.NDArray[np.int32]
    coefficients: Array
    scale: Array
    n_days: npt.NDArray[np.int64]


def estimate_populations(
    moments: list[Moments],
    *,
    start: tuple[Population, ...] | None = None,
    iterations: int = 12,
    seed: int = 0,
) -> tuple[Population, ...]:
    """Estimate what stores have in common, for each half-life.

    Args:
        moments: Sums of all stores, one for each half-life.
        start: Populations of an earlier origin to start from.
        iterations: Steps of expectation-maximisation.
        seed: Chooses the sample of stores.
    """
    seen = np.flatnonzero(moments[0].weight > 0)
    if len(seen) > POPULATION_STORES:
        generator = np.random.default_rng(seed)
        seen = np.sort(generator.choice(seen, POPULATION_STORES, replace=False))
    reach = np.full(moments[0].gram.shape[1], COEFFICIENT_REACH)
    reach[DESIGN_COLUMNS.index("trend")] = TREND_REACH
    populations = []
    for k, part in enumerate(moments):
        sample = part.take(seen)
        begin = default_population(sample, reach=reach) if start is None else start[k]
        populations.append(fit_population(sample, start=begin, iterations=iterations))
    return tuple(populations)


def typical_square(moments: list[Moments]) -> Array:
    """Average the outer products of past days' regressors: shape (p, p)."""
    middle = moments[len(moments) // 2]
    square: Array = middle.gram.sum(axis=0) / max(float(middle.weight.sum()), 1e-9)
    return square


def fit_arrays(
    stores: npt.NDArray[np.int32],
    moments: list[Moments],
    populations: tuple[Population, ...],
    typical: Array,
    n_days: npt.NDArray[np.int64],
) -> StoreFit:
    """Fit all stores from their sums: twice, the second time with each store's own noise.

    Args:
        stores: Store ids, increasing.
        moments: Their sums, one for each half-life.
        populations: What to shrink to, one for each half-life.
        typical: Result of :func:`typical_square` for the chain: the days that the scale of a
            store's errors is averaged over.
        n_days: Days of sales of each store.
    """
    coefficients = []
    scale = np.zeros(len(stores))
    middle = len(populations) // 2
    for k, (part, population) in enumerate(zip(moments, populations, strict=True)):
        noise = store_noise(part, shrunk_coefficients(part, population), population.noise)
        inflated = NOISE_INFLATION * noise
        if k == middle:
            fitted, covariance = posterior(part, population, inflated)
            # What the store's coefficients may still be wrong by, on days like the past ones.
            scale = np.sqrt(noise + np.einsum("ij,sji->s", typical, covariance))
        else:
            fitted = shrunk_coefficients(part, population, inflated)
        coefficients.append(fitted)
    return StoreFit(stores, np.stack(coefficients, axis=1), scale, n_days.copy())


def linear_terms(
    x: npt.NDArray[np.floating], store: npt.NDArray[np.int64], coefficients: Array
) -> Array:
    """Apply each row's store's coefficients.

    Args:
        x: Regressors, shape (rows, p).
        store: Position of each row's store, not decreasing.
        coefficients: Shape (stores, half-lives, p).

    Returns:
        Shape (rows, half-lives).
    """
    out = np.empty((len(x), coefficients.shape[1]))
    starts = np.flatnonzero(np.diff(store, prepend=-1))
    ends = np.append(starts[1:], len(store))
    for low, high in zip(starts, ends, strict=True):
        out[low:high] = x[low:high].astype(np.float64) @ coefficients[store[low]].T
    return out


def recent_levels(
    residual: Array, store: npt.NDArray[np.int64], stores: int, prior: float = LEVEL_PRIOR_DAYS
) -> Array:
    """Average the residuals of the last :data:`LEVEL_DAYS` days by store, shrunk to zero.

    Args:
        residual: Log residuals of rows within those days, shape (rows, half-lives).
        store: Position of each row's store.
        stores: Number of stores.
        prior: Days without residual that are added.

    Returns:
        Shape (stores, half-lives).
    """
    total = np.zeros((stores, residual.shape[1]))
    np.add.at(total, store, residual)
    count = np.bincount(store, minlength=stores)
    return total / (count + prior)[:, None]


def origin_array(
    stores: npt.NDArray[np.int32], origin: date | pd.Series
) -> npt.NDArray[np.datetime64]:
    """Give each store's origin (datetime64[D]) from one date or a Series by store.

    Raises:
        ValueError: A store has no origin.
    """
    if isinstance(origin, pd.Series):
        chosen = pd.to_datetime(origin).reindex(stores)
        if chosen.isna().any():
            raise ValueError(f"no origin for store {chosen.index[chosen.isna()][0]}")
        return chosen.to_numpy("datetime64[D]")
    return np.full(len(stores), np.datetime64(pd.Timestamp(origin).date(), "D"))


def fit_stores(
    features: pd.DataFrame,
    pooled: PooledModel | None,
    *,
    origin: date | pd.Series,
) -> pd.DataFrame:
    """Fit every store's linear models on its days up to its origin.

    Args:
        features: Feature rows of :func:`forecasting.features.daily.day_features`; rows after
            a store's origin are ignored.
        pooled: What to shrink to. Without it the population is estimated from ``features``.
        origin: One last day for all stores, or a Series of last days by store id.

    Returns:
        One row a store with sales up to its origin, none when no store has any: store (int32),
        trained_until (datetime64[ns]), n_days (int32, days of sales used), coefficients (list of
        half-lives × regressors floats, one half-life after the other), residual_scale (float64,
        log units).

    Raises:
        ValueError: A store has no origin, or the pooled model was trained later than an origin.
    """
    stores_seen = np.unique(features["store"].to_numpy(np.int32))
    origins = origin_array(stores_seen, origin)
    if pooled is not None and len(origins) and origins.min() < np.datetime64(pooled.trained_until):
        raise ValueError(
            f"the pooled model was trained until {pooled.trained_until}, after origin "
            f"{origins.min()}: its forecasts would know the future"
        )
    until = features["store"].map(pd.Series(origins.astype("datetime64[ns]"), stores_seen))
    panel = Panel.of(features[(features["date"] <= until) & features["log_sales"].notna()])
    if not len(panel.stores):
        return pd.DataFrame(columns=list(STORE_MODEL_COLUMNS)).astype(STORE_MODEL_COLUMNS)
    origins = origins[np.isin(stores_seen, panel.stores)]
    rolling = RollingMoments(panel)
    moments = rolling.add_until(origins)
    if pooled is None:
        populations, typical = estimate_populations(moments), typical_square(moments)
    else:
        populations, typical = pooled.populations, pooled.typical
    fit = fit_arrays(panel.stores, moments, populations, typical, rolling.n_days)
    return pd.DataFrame(
        {
            "store": fit.stores,
            "trained_until": origins.astype("datetime64[ns]"),
            "n_days": fit.n_days.astype(np.int32),
            "coefficients": list(fit.coefficients.reshape(len(fit.stores), -1).tolist()),
            "residual_scale": fit.scale,
        }
    )


def coefficients_of(store_models: pd.DataFrame) -> Array:
    """Give the coefficients of a store-models frame: shape (stores, half-lives, regressors).

    Raises:
        ValueError: They were made with other regressors than this version's.
    """
    p = len(DESIGN_COLUMNS)
    shape = (len(store_models), len(HALF_LIVES), p)
    flat = np.array(store_models["coefficients"].tolist(), np.float64)
    if flat.size != shape[0] * shape[1] * shape[2]:
        raise ValueError(
            f"store models have {flat.shape[-1]} coefficients, this version needs "
            f"{shape[1] * shape[2]}: fit them again"
        )
    return flat.reshape(shape)
