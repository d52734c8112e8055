"""Tests of the per-store forecaster: it keeps sktime's contract and forecasts as the pipeline."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from sktime.utils.estimator_checks import check_estimator

from forecasting.columns import PLAN_COLUMNS, QUANTILE_COLUMNS
from forecasting.estimators.store import StoreRidgeForecaster
from forecasting.features.daily import day_features
from forecasting.features.plans import future_features
from forecasting.models.store_models import fit_stores
from forecasting.models.training import fit_pooled
from forecasting.prediction import forecast

pytestmark = pytest.mark.filterwarnings("ignore")


def test_sktime_contract() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(StoreRidgeForecaster, raise_exceptions=False, verbose=False)
    failed = {name: outcome for name, outcome in results.items() if outcome != "PASSED"}
    assert len(results) > 300
    assert not failed


def test_a_store_gets_the_forecast_of_the_pipeline(days: pd.DataFrame) -> None:
    origin = pd.Timestamp("2015-01-16")
    features = day_features(days)
    pooled = fit_pooled(features, origin=origin.date())
    models = fit_stores(features, pooled, origin=origin.date())
    origins = pd.Series(origin, index=[4])
    future = future_features(days, days.drop(columns="sales"), origins, 14)
    expected = forecast(features, models, pooled, future, origins=origins)

    one = days[days["store"] == 4].set_index("date").asfreq("D")
    x = one[list(PLAN_COLUMNS)]
    known = one.index <= origin
    forecaster = StoreRidgeForecaster(pooled=pooled).fit(one.loc[known, "sales"], X=x[known])
    # The plan reaches beyond the horizon, so that the horizon's last days have their look-ahead.
    got = forecaster.predict(fh=list(range(1, 15)), X=x[~known])
    levels = [0.1, 0.5, 0.975]
    quantiles = forecaster.predict_quantiles(fh=list(range(1, 15)), X=x[~known], alpha=levels)
    np.testing.assert_allclose(got.to_numpy(), expected["point"].to_numpy(), rtol=1e-6)
    columns = [QUANTILE_COLUMNS[k] for k in (1, 5, 10)]
    np.testing.assert_allclose(quantiles.to_numpy(), expected[columns].to_numpy(), rtol=1e-6)


def test_a_seasonal_series_is_continued() -> None:
    t = np.arange(140)
    y = pd.Series(100 * np.exp(0.1 * (t % 7)))
    forecaster = StoreRidgeForecaster(spread=3.0).fit(y.iloc[:126])
    got = forecaster.predict(fh=list(range(1, 15)))
    np.testing.assert_allclose(got, y.iloc[126:], rtol=0.05)
