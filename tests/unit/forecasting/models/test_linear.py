"""Tests of the closed form against a naive computation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from forecasting.features.panel import Panel
from forecasting.models.linear import (
    Moments,
    Population,
    default_population,
    fit_population,
    posterior,
    residual_square,
    shrunk_coefficients,
)
from forecasting.models.moments import HALF_LIVES, RollingMoments
from forecasting.models.store_models import coefficients_of, fit_stores
from forecasting.schemas.frames import STORE_MODELS


def _problem(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, Population]:
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(30, 4))
    y = generator.normal(size=30)
    w = generator.uniform(0.1, 1.0, size=30)
    root = generator.normal(size=(4, 4))
    covariance = root @ root.T + np.eye(4)
    return x, y, w, Population(generator.normal(size=4), covariance, 0.3)


def test_posterior_equals_augmented_least_squares() -> None:
    x, y, w, population = _problem()
    moments = Moments.zeros(1, 4)
    moments.add(0, x[:10], y[:10], w[:10])
    moments.add(0, x[10:], y[10:], w[10:])
    # The oracle appends the whitened prior to the weighted data and solves by least squares.
    root = np.linalg.cholesky(np.linalg.inv(population.covariance)).T
    scale = np.sqrt(w / population.noise)
    rows = np.vstack([x * scale[:, None], root])
    target = np.concatenate([y * scale, root @ population.mean])
    expected = np.linalg.lstsq(rows, target, rcond=None)[0]
    coefficients, covariance = posterior(moments, population)
    np.testing.assert_allclose(coefficients[0], expected, rtol=1e-5)
    np.testing.assert_allclose(covariance[0], np.linalg.inv(rows.T @ rows), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(
        shrunk_coefficients(moments, population), coefficients, rtol=1e-8, atol=1e-10
    )
    np.testing.assert_allclose(
        residual_square(moments, coefficients)[0], (w * (y - x @ coefficients[0]) ** 2).sum()
    )


def test_a_store_without_rows_gets_the_population() -> None:
    *_, population = _problem()
    np.testing.assert_allclose(
        shrunk_coefficients(Moments.zeros(1, 4), population)[0], population.mean
    )


def test_population_is_recovered_from_many_stores() -> None:
    generator = np.random.default_rng(1)
    mean, spread = np.array([2.0, -1.0, 0.5]), np.array([0.5, 0.2, 0.05])
    moments = Moments.zeros(200, 3)
    for store in range(200):
        x = np.column_stack([np.ones(60), generator.normal(size=(60, 2))])
        y = x @ (mean + spread * generator.normal(size=3)) + generator.normal(0, 0.3, 60)
        moments.add(store, x, y, np.ones(60))
    population = fit_population(moments, iterations=40)
    np.testing.assert_allclose(population.mean, mean, atol=0.1)
    np.testing.assert_allclose(np.sqrt(np.diag(population.covariance)), spread, atol=0.06)
    assert population.noise == pytest.approx(0.09, rel=0.1)


def test_rolling_sums_equal_sums_from_scratch(features: pd.DataFrame) -> None:
    panel = Panel.of(features)
    rolling = RollingMoments(panel)
    for origin in ("2014-06-01", "2014-06-20", "2015-01-10"):
        rolling.advance(np.datetime64(origin))
    fresh = RollingMoments(panel)
    fresh.add_until(np.full(len(panel.stores), np.datetime64("2015-01-10")))
    for ours, theirs in zip(rolling.moments, fresh.moments, strict=True):
        np.testing.assert_allclose(ours.gram, theirs.gram, rtol=1e-9)
        np.testing.assert_allclose(ours.moment, theirs.moment, rtol=1e-9)
    np.testing.assert_array_equal(rolling.n_days, fresh.n_days)
    with pytest.raises(ValueError, match="cannot move back"):
        rolling.advance(np.datetime64("2014-12-31"))


def test_store_coefficients_equal_a_dense_solve(features: pd.DataFrame) -> None:
    origin = pd.Timestamp("2015-01-31")
    models = fit_stores(features, None, origin=origin.date())
    panel = Panel.of(features[features["date"] <= origin])
    moments = RollingMoments(panel).advance(np.datetime64(origin.date()))
    population = default_population(moments[0])
    assert coefficients_of(models).shape == (12, len(HALF_LIVES), len(population.mean))
    known = ~np.isnan(panel.y) & (panel.store == 4)
    age = (np.datetime64(origin.date()) - panel.day[known]).astype(float)
    weight = 0.5 ** (age / HALF_LIVES[0])
    x, y = panel.x[known].astype(float), panel.y[known]
    precision = np.linalg.inv(population.covariance)
    expected = np.linalg.solve(
        x.T @ (x * weight[:, None]) / population.noise + precision,
        x.T @ (weight * y) / population.noise + precision @ population.mean,
    )
    np.testing.assert_allclose(
        shrunk_coefficients(moments[0], population)[4], expected, rtol=1e-3, atol=1e-5
    )


def test_without_a_pooled_model_a_store_is_fitted_alone(features: pd.DataFrame) -> None:
    """Which stores a run computes changes no store's model."""
    origin = features["date"].max().date()
    together = fit_stores(features, None, origin=origin)
    for store, own in features.groupby("store"):
        expected = together[together["store"] == store].reset_index(drop=True)
        pd.testing.assert_frame_equal(fit_stores(own, None, origin=origin), expected)


@pytest.mark.parametrize("rows", ["of stores that never sold", "none"])
def test_without_sales_there_are_no_models_but_their_columns(
    features: pd.DataFrame, rows: str
) -> None:
    origin = features["date"].max().date()
    unsold = features.assign(log_sales=np.float32("nan"))
    models = fit_stores(unsold.iloc[:0] if rows == "none" else unsold, None, origin=origin)
    some = fit_stores(features, None, origin=origin)
    assert models.empty
    pd.testing.assert_series_equal(models.dtypes, some.dtypes)
    STORE_MODELS.validate(models)
