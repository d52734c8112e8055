"""Tests of the error measures on numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from forecasting import scoring
from forecasting.models.naive import seasonal_naive
from tests.unit.forecasting.conftest import make_days

ACTUAL = np.array([100.0, 200.0, 0.0, np.nan])
POINT = np.array([110.0, 180.0, 0.0, 50.0])


def test_point_errors() -> None:
    assert scoring.rmspe(ACTUAL, POINT) == pytest.approx(0.1)
    assert scoring.mape(ACTUAL, POINT) == pytest.approx(0.1)
    assert scoring.wape(ACTUAL, POINT) == pytest.approx(30 / 300)
    assert scoring.bias(ACTUAL, POINT) == pytest.approx(290 / 300 - 1)


def test_scaled_errors_skip_unknown_truth() -> None:
    scale = np.array([10.0, 10.0, 5.0, 5.0])
    assert scoring.mase(ACTUAL, POINT, scale) == pytest.approx((1 + 2 + 0) / 3)


def test_quantile_losses() -> None:
    levels = np.array([0.1, 0.5, 0.9])
    quantiles = np.array([[90.0, 100.0, 130.0]])
    actual = np.array([110.0])
    loss = scoring.quantile_loss(actual, quantiles, levels)
    np.testing.assert_allclose(loss, [[2 * 0.1 * 20, 2 * 0.5 * 10, 2 * 0.1 * 20]])
    assert scoring.wql(actual, quantiles, levels) == pytest.approx(loss.mean() / 110)
    assert scoring.sql(actual, quantiles, levels, np.array([2.0])) == pytest.approx(loss.mean() / 2)


def test_median_quantile_loss_is_the_absolute_error() -> None:
    half = np.array([0.5])
    assert scoring.wql(ACTUAL, POINT[:, None], half) == pytest.approx(scoring.wape(ACTUAL, POINT))


def test_coverage_counts_both_ends() -> None:
    low, high = np.full(4, 100.0), np.full(4, 200.0)
    assert scoring.coverage(ACTUAL, low, high) == pytest.approx(2 / 3)


def test_nothing_to_score_is_nan() -> None:
    nothing = np.array([np.nan])
    assert np.isnan(scoring.wape(nothing, nothing))
    assert np.isnan(scoring.rmspe(nothing, nothing))
    assert np.isnan(scoring.coverage(nothing, nothing, nothing))


def test_seasonal_scale_uses_the_past_only() -> None:
    days = make_days(stores=2, n_days=60)
    origin = days["date"].iloc[40]
    wide = days[days["date"] <= origin].pivot(index="date", columns="store", values="sales")
    expected = (wide - wide.shift(7)).abs().mean()
    got = scoring.seasonal_scale(days, origin, 7)
    np.testing.assert_allclose(got.to_numpy(), expected.to_numpy())


def test_seasonal_naive_repeats_the_last_cycle() -> None:
    days = make_days(stores=1, n_days=60)
    origin = days["date"].iloc[41]
    naive = seasonal_naive(days, pd.Series(origin, index=[1]), 28)
    expected = days["sales"].iloc[28:42].to_numpy()
    opened = expected > 0
    np.testing.assert_array_equal(naive["point"].to_numpy()[:14][opened], expected[opened])
    np.testing.assert_array_equal(naive["point"].to_numpy()[14:][opened], expected[opened])
