"""Per-store linear models as arrays, fitted from sums and applied to rows.

Frames of store models, as the database holds them, live in `store_models.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forecasting.arrays import Array
from forecasting.models.calendar_prior import (
    LEVEL_SPREAD,
    prior_center,
    prior_covariance,
    prior_reach,
    prior_share,
    seasonal_columns,
    store_spread,
)
from forecasting.models.linear import (
    Moments,
    Population,
    default_population,
    fit_population,
    mean_covariance,
    posterior,
    settle,
    shrunk_coefficients,
    store_noise,
)

#: Stores that the population is estimated from. More stores have no measurable effect.
POPULATION_STORES = 300
#: Prior standard deviations for a store that is fitted alone, as parts of those of pooled
#: coefficients, and the standard deviation of its coefficients around that first estimate. Chosen
#: among 0.5, 0.25, 0.12 and 0.06, and 0.05 and 0.02, by the error of 40 Rossmann stores from four
#: origins with 3 to 18 months of history.
LONE_REACH = 0.125
LONE_SPREAD = 0.02
#: Factor on a store's noise variance. Errors of neighbouring days are correlated, so they carry
#: less information than independent errors. The factor was chosen among 1, 2, 3 and 6.
NOISE_INFLATION = 3.0


@dataclass(frozen=True)
class StoreFit:
    """Fitted per-store models as arrays.

    Attributes:
        stores: Store ids, increasing, shape (stores,).
        coefficients: Shape (stores, half-lives, p).
        scale: Standard deviation of a log forecast's error, shape (stores,).
        n_days: Days of sales behind each model, shape (stores,).
    """

    stores: npt.NDArray[np.int32]
    coefficients: Array
    scale: Array
    n_days: npt.NDArray[np.int64]


def estimate_populations(
    moments: list[Moments],
    *,
    start: tuple[Population, ...] | None = None,
    history_days: float = 0.0,
    iterations: int = 12,
    seed: int = 0,
) -> tuple[Population, ...]:
    """Estimate the population of the stores' coefficients, for each half-life.

    Args:
        moments: Sums of all stores, one for each half-life.
        history_days: Days from the chain's first sales to the origin, which decide how much the
            assumptions about seasons count (`prior_share`).
        start: Populations of an earlier origin to start from.
        iterations: Steps of expectation-maximization.
        seed: Seed of the sample of stores.
    """
    seen = np.flatnonzero(moments[0].weight > 0)
    if len(seen) > POPULATION_STORES:
        generator = np.random.default_rng(seed)
        seen = np.sort(generator.choice(seen, POPULATION_STORES, replace=False))
    covariance, center, spread = prior_covariance(), prior_center(), store_spread()
    reach = np.sqrt(np.diag(covariance))
    populations = []
    share = prior_share(history_days)
    for k, part in enumerate(moments):
        sample = part.take(seen)
        begin = None if start is None else start[k]
        if begin is None:
            begin = default_population(
                sample, spread=spread, level=LEVEL_SPREAD, reach=reach, center=center
            )
        fitted = fit_population(sample, start=begin, iterations=iterations)
        if share > 0.0:
            fitted = settle(sample, fitted, center=center, covariance=covariance, share=share)
        populations.append(fitted)
    return tuple(populations)


def season_covariance(moments: list[Moments]) -> Array:
    """Return how little a chain knows of its seasons: the covariance of their pooled effects.

    Args:
        moments: Sums of all stores, one for each half-life.

    Returns:
        Shape (p, p), 0 for regressors that describe no season of the year.
    """
    columns = np.ix_(seasonal_columns(), seasonal_columns())
    covariance = mean_covariance(moments[len(moments) // 2], prior_covariance())
    out = np.zeros_like(covariance)
    out[columns] = covariance[columns]
    return out


def scale_with_season(scale: Array, x: npt.NDArray[np.floating], season_covariance: Array) -> Array:
    """Add to each row's scale what the chain does not know of the row's season.

    Args:
        scale: Residual scale of each row's store, shape (rows,).
        x: Regressors, shape (rows, p).
        season_covariance: Result of `season_covariance`.

    Returns:
        Shape (rows,).
    """
    columns = seasonal_columns()
    part = x[:, columns].astype(np.float64)
    variance = ((part @ season_covariance[np.ix_(columns, columns)]) * part).sum(axis=1)
    return np.hypot(scale, np.sqrt(np.maximum(variance, 0.0)))


def typical_square(moments: list[Moments]) -> Array:
    """Return the mean outer product of past days' regressors, shape (p, p)."""
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
    """Fit all stores from their sums, first with the common noise, then with each store's own.

    Args:
        stores: Store ids, increasing.
        moments: The stores' sums, one for each half-life.
        populations: Populations to shrink to, one for each half-life.
        typical: Result of `typical_square` for the chain. A store's error scale is an average over
            the days behind it.
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
            # The scale adds the coefficients' uncertainty on days like past days to the noise.
            scale = np.sqrt(noise + np.einsum("ij,sji->s", typical, covariance))
        else:
            fitted = shrunk_coefficients(part, population, inflated)
        coefficients.append(fitted)
    return StoreFit(stores, np.stack(coefficients, axis=1), scale, n_days.copy())


def fit_alone(
    stores: npt.NDArray[np.int32], moments: list[Moments], n_days: npt.NDArray[np.int64]
) -> StoreFit:
    """Fit each store from its own sums and nothing else.

    What other stores share is left to the pooled model: if it were estimated from the stores of one
    call, a store's model would depend on which stores are fitted beside it.

    Args:
        stores: Store ids, increasing.
        moments: The stores' sums, one for each half-life.
        n_days: Days of sales of each store.
    """
    reach, center = prior_reach(), prior_center()
    # A centre that was published, not learned, must yield to the first Christmas that was seen.
    reach = np.where(center == 0, LONE_REACH * reach, reach)
    fits = []
    for k in range(len(stores)):
        own = [part.take(np.array([k])) for part in moments]
        populations = tuple(
            default_population(part, spread=LONE_SPREAD, reach=reach, center=center) for part in own
        )
        one = slice(k, k + 1)
        fits.append(fit_arrays(stores[one], own, populations, typical_square(own), n_days[one]))
    return StoreFit(
        stores,
        np.concatenate([fit.coefficients for fit in fits]),
        np.concatenate([fit.scale for fit in fits]),
        n_days.copy(),
    )


def linear_terms(
    x: npt.NDArray[np.floating], store: npt.NDArray[np.int64], coefficients: Array
) -> Array:
    """Multiply each row's regressors by the coefficients of its store.

    Args:
        x: Regressors, shape (rows, p).
        store: Position of each row's store, not decreasing.
        coefficients: Shape (stores, half-lives, p).

    Returns:
        Shape (rows, half-lives).
    """
    out = np.empty((len(x), coefficients.shape[1]))
    starts = np.flatnonzero(np.diff(store, prepend=-1))
    ends = np.append(starts, len(store))[1:]
    for low, high in zip(starts, ends, strict=True):
        out[low:high] = x[low:high].astype(np.float64) @ coefficients[store[low]].T
    return out
