"""Tests of the guard of last resort."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from forecasting.columns import QUANTILE_COLUMNS
from forecasting.features.panel import Panel
from forecasting.models.limits import LIMIT_FACTOR, Peaks, store_limits
from forecasting.models.store_models import fit_stores
from forecasting.models.training import fit_pooled
from forecasting.pipeline import predict_features

ORIGIN = pd.Timestamp("2015-01-16")


def test_limits_follow_the_length_of_history(features: pd.DataFrame) -> None:
    young = features[(features["store"] != 3) | (features["date"] > "2014-12-15")]
    past = young[young["date"] <= ORIGIN]
    models = fit_stores(past, None, origin=ORIGIN.date())
    peaks = Peaks.of(Panel.of(past))
    assert 1.2 < peaks.ratio < 3
    limits = store_limits(models, peaks, np.array([1, 3, 99], np.int32))
    largest = np.exp(past.groupby("store")["log_sales"].max())
    median = np.exp(past.groupby("store")["log_sales"].median())
    np.testing.assert_allclose(limits[0], LIMIT_FACTOR * largest[1], rtol=1e-5)
    expected = max(largest[3], peaks.ratio * median[3])
    np.testing.assert_allclose(limits[1], LIMIT_FACTOR * expected, rtol=1e-5)
    np.testing.assert_allclose(limits[2], LIMIT_FACTOR * largest.max(), rtol=1e-5)
    without = models.assign(largest_day=np.nan, median_day=np.nan)
    old = store_limits(without, peaks, np.array([1], np.int32))
    np.testing.assert_allclose(old, LIMIT_FACTOR * largest.max(), rtol=1e-5)
    assert np.isinf(store_limits(without, None, np.array([1], np.int32))).all()


def test_a_forecast_beyond_the_limit_is_cut_and_says_so(features: pd.DataFrame) -> None:
    """A model gone wrong, of whatever cause, is held to the limit."""
    pooled = fit_pooled(features, origin=ORIGIN.date())
    models = fit_stores(features, pooled, origin=ORIGIN.date())
    origins = pd.Series(ORIGIN, index=range(1, 13))
    fine = predict_features(pooled, features, origins, store_models=models)
    assert not fine["limited"].any()
    wrong = models.copy()
    # The intercept of every half-life comes first.
    p = len(wrong["coefficients"].iloc[0]) // 3
    wrong["coefficients"] = [
        [value + 2.0 * (k % p == 0) for k, value in enumerate(c)] for c in models["coefficients"]
    ]
    # Without recent sales no level corrects the fault.
    old = features[
        (features["date"] <= ORIGIN - pd.Timedelta(days=40)) | (features["date"] > ORIGIN)
    ]
    out = predict_features(pooled, old, origins, store_models=wrong)
    limit = LIMIT_FACTOR * models.set_index("store")["largest_day"].reindex(out["store"]).to_numpy()
    values = out[["point", "mean", *QUANTILE_COLUMNS]]
    assert (values.max(axis=1).to_numpy() <= limit).all()
    opened = out["open"] == 1
    assert out.loc[opened, "limited"].all() and not out.loc[~opened, "limited"].any()
    assert (np.diff(out[list(QUANTILE_COLUMNS)].to_numpy(), axis=1) >= 0).all()


def test_peaks_survive_their_values() -> None:
    peaks = replace(Peaks(), ratio=2.5, largest=41_551.0)
    assert Peaks(**peaks.to_dict()) == peaks
