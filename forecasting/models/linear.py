"""Closed-form linear models: sums of squares by store, and ridge regression shrunk to a population.

The per-store models, the pooled coefficients and the sktime forecaster share this algebra. It
does not know what the regressors mean; those are named in `features/regressors.py`.

The model is the random-coefficient regression of Laird and Ware (1982, "Random-effects models
for longitudinal data", Biometrics 38): a store's coefficients are drawn from a population with
mean `b` and covariance `S`; given them, log sales have noise variance `v`. A store's
posterior mean is then a ridge regression that shrinks to `b`, generalised to a matrix penalty,

    (G / v + S^-1) c = m / v + S^-1 b,     G = X' W X,  m = X' W y,

and `b`, `S` and `v` are estimated by expectation-maximization. At the end, `b` is weighed against
what is assumed about seasons before any sales (`settle`; the assumptions are in
`calendar_prior.py`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from forecasting.arrays import Array

#: Weight of the population's noise variance in a store's own, in days of sales.
NOISE_PRIOR_DAYS = 50.0
#: Added to the diagonal of a matrix before it is inverted.
_JITTER = 1e-7
#: Stores whose equations are solved together; their matrices fit in the processor's cache.
_BLOCK_STORES = 16
#: Variance of the error that all stores of a chain share on a day, about 0.05 squared. However many
#: stores a chain has, they see the same days, so their mean coefficients are known no better than
#: this allows.
_CHAIN_NOISE = 0.0025


@dataclass(frozen=True)
class Moments:
    """Weighted sums of squares and products of several stores' regressions.

    Attributes:
        gram: X'WX, shape (stores, p, p).
        moment: X'Wy, shape (stores, p).
        square: y'Wy, shape (stores,).
        weight: Sum of weights, shape (stores,).
    """

    gram: Array
    moment: Array
    square: Array
    weight: Array

    @classmethod
    def zeros(cls, stores: int, columns: int) -> Moments:
        """Return the moments of no rows."""
        return cls(
            np.zeros((stores, columns, columns)),
            np.zeros((stores, columns)),
            np.zeros(stores),
            np.zeros(stores),
        )

    def decay(self, factor: float) -> None:
        """Multiply every weight by `factor`, in place."""
        for part in (self.gram, self.moment, self.square, self.weight):
            np.multiply(part, factor, out=part)

    def add(self, store: int, x: Array, y: Array, w: Array) -> None:
        """Add rows of one store, in place.

        Args:
            store: Position of the store.
            x: Regressors, shape (rows, p).
            y: Target, shape (rows,).
            w: Weights, shape (rows,).
        """
        weighted = x * w[:, None]
        self.gram[store] += weighted.T @ x
        self.moment[store] += weighted.T @ y
        self.square[store] += w @ (y * y)
        self.weight[store] += w.sum()

    def take(self, stores: npt.NDArray[np.intp]) -> Moments:
        """Copy the moments of some stores."""
        return Moments(
            self.gram[stores], self.moment[stores], self.square[stores], self.weight[stores]
        )


@dataclass(frozen=True)
class Population:
    """Distribution of the coefficients over stores.

    Attributes:
        mean: Pooled coefficients, shape (p,).
        covariance: Covariance of the stores' coefficients around the mean, shape (p, p).
        noise: Variance of log sales given a store's coefficients.
    """

    mean: Array
    covariance: Array
    noise: float


def posterior(
    moments: Moments, population: Population, noise: Array | None = None
) -> tuple[Array, Array]:
    """Estimate every store's coefficients given the population.

    Args:
        moments: The stores' sums; a store without rows gets the population's mean.
        population: Mean, covariance and noise.
        noise: Noise variance of each store, shape (stores,); by default the population's.

    Returns:
        Coefficients, shape (stores, p), and their covariances, shape (stores, p, p).
    """
    covariance = np.empty_like(moments.gram)
    coefficients = np.empty_like(moments.moment)

    def solve(a: Array, b: Array, part: slice) -> None:
        covariance[part] = np.linalg.inv(a)
        coefficients[part] = np.matmul(covariance[part], b[:, :, None])[:, :, 0]

    _by_blocks(solve, moments, population, noise)
    return coefficients, covariance


def shrunk_coefficients(
    moments: Moments, population: Population, noise: Array | None = None
) -> Array:
    """Estimate every store's coefficients as `posterior` does, without their covariances."""
    coefficients = np.empty_like(moments.moment)

    def solve(a: Array, b: Array, part: slice) -> None:
        coefficients[part] = np.linalg.solve(a, b[:, :, None])[:, :, 0]

    _by_blocks(solve, moments, population, noise)
    return coefficients


def _by_blocks(
    solve: Callable[[Array, Array, slice], None],
    moments: Moments,
    population: Population,
    noise: Array | None,
) -> None:
    """Solve the stores' normal equations, block by block, on all processors.

    Blocks are independent, so the result does not depend on the number of threads.
    """
    precision = _inverse(population.covariance)
    pull = precision @ population.mean
    stores = len(moments.gram)
    variance = np.full(stores, population.noise) if noise is None else noise

    def one(begin: int) -> None:
        part = slice(begin, begin + _BLOCK_STORES)
        scale = variance[part]
        solve(
            moments.gram[part] / scale[:, None, None] + precision,
            moments.moment[part] / scale[:, None] + pull,
            part,
        )

    # NumPy releases the interpreter lock while it solves.
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for _ in pool.map(one, range(0, stores, _BLOCK_STORES)):
            pass


def residual_square(moments: Moments, coefficients: Array) -> Array:
    """Return each store's weighted sum of squared residuals, shape (stores,)."""
    fitted = np.einsum("si,sij,sj->s", coefficients, moments.gram, coefficients)
    cross = np.einsum("si,si->s", coefficients, moments.moment)
    return np.maximum(moments.square - 2.0 * cross + fitted, 0.0)


def store_noise(moments: Moments, coefficients: Array, population_noise: float) -> Array:
    """Return each store's noise variance, shrunk to the population's, shape (stores,)."""
    square = residual_square(moments, coefficients)
    return (square + NOISE_PRIOR_DAYS * population_noise) / (moments.weight + NOISE_PRIOR_DAYS)


def default_population(
    moments: Moments,
    *,
    spread: Array | float = 0.05,
    level: float = 0.5,
    reach: Array | float = 0.2,
    center: Array | float = 0.0,
) -> Population:
    """Return a first estimate: a pooled ridge regression and a diagonal covariance.

    Args:
        moments: The stores' sums; column 0 is the intercept.
        spread: Standard deviation of the coefficients between stores, one for all or shape (p,).
        level: Standard deviation of the intercept between stores.
        reach: Prior standard deviation of the pooled coefficients themselves, one for all or
            shape (p,). It keeps a coefficient near its centre if a short history does not
            determine it.
        center: What the pooled coefficients are before any sales, one for all or shape (p,).
    """
    p = moments.gram.shape[1]
    gram, moment = moments.gram.sum(axis=0), moments.moment.sum(axis=0)
    penalty = np.broadcast_to(_CHAIN_NOISE / np.square(reach), (p,)) * max(len(moments.gram), 1)
    penalty = np.where(np.arange(p) == 0, _JITTER, penalty)
    mean = np.linalg.solve(gram + np.diag(penalty), moment + penalty * center)
    variances = np.broadcast_to(np.square(spread), (p,)).copy()
    variances[0] = level**2
    weight = max(float(moments.weight.sum()), 1.0)
    total = float(moments.square.sum() - 2 * mean @ moment + mean @ gram @ mean)
    return Population(mean, np.diag(variances), max(total / weight * 0.2, 1e-4))


def fit_population(
    moments: Moments,
    *,
    start: Population | None = None,
    iterations: int = 15,
) -> Population:
    """Estimate the population by expectation-maximization.

    Args:
        moments: The stores' sums; stores without rows are left out.
        start: Where to start; by default `default_population`.
        iterations: Number of steps.
    """
    moments = moments.take(np.flatnonzero(moments.weight > 0))
    population = start or default_population(moments)
    p = moments.gram.shape[1]
    for _ in range(iterations):
        coefficients, covariance = posterior(moments, population)
        mean = coefficients.mean(axis=0)
        deviation = coefficients - mean
        spread = deviation.T @ deviation / len(deviation) + covariance.mean(axis=0)
        square = residual_square(moments, coefficients).sum()
        square += np.einsum("sij,sij->", moments.gram, covariance)
        noise = float(square / moments.weight.sum())
        spread = (spread + spread.T) / 2 + _JITTER * np.eye(p)
        population = Population(mean, spread, max(noise, 1e-8))
    return population


def settle(
    moments: Moments,
    population: Population,
    *,
    center: Array,
    covariance: Array,
    share: float = 1.0,
    rounds: int = 2,
) -> Population:
    """Weigh the population's mean against a prior.

    Expectation-maximization moves the mean along poorly determined directions as far as its steps
    carry it: a season that was seen in part continues at will in the rest of the year. Here the
    mean is the solution of a ridge regression to `center`, given how each store differs from it.
    Stores see the same days, so together they count as one series with the noise `_CHAIN_NOISE`.

    Args:
        moments: The stores' sums; stores without rows are left out.
        population: Result of `fit_population`.
        center: What the pooled coefficients are before any sales, shape (p,).
        covariance: Their prior covariance, shape (p, p).
        share: Weight of the result, from 0 to 1; the rest is the mean as it was.
        rounds: Number of times that the stores' differences are estimated again.
    """
    moments = moments.take(np.flatnonzero(moments.weight > 0))
    gram, moment = moments.gram.sum(axis=0), moments.moment.sum(axis=0)
    penalty = _CHAIN_NOISE * np.linalg.inv(covariance) * len(moments.gram)
    estimated = population.mean
    for _ in range(rounds):
        difference = shrunk_coefficients(moments, population) - population.mean
        own = np.einsum("sij,sj->i", moments.gram, difference)
        mean = np.linalg.solve(gram + penalty, moment - own + penalty @ center)
        population = replace(population, mean=mean)
    return replace(population, mean=share * population.mean + (1.0 - share) * estimated)


def mean_covariance(moments: Moments, covariance: Array) -> Array:
    """Return the covariance of the mean that `settle` estimates, shape (p, p)."""
    stores = max(int((moments.weight > 0).sum()), 1)
    gram = moments.gram.sum(axis=0) / stores / _CHAIN_NOISE
    out: Array = np.linalg.inv(gram + np.linalg.inv(covariance))
    return (out + out.T) / 2


def _inverse(matrix: Array) -> Array:
    inverse: Array = np.linalg.inv(matrix + _JITTER * np.eye(len(matrix)))
    return (inverse + inverse.T) / 2
