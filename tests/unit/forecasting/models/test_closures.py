"""Tests of the days before long closures: learned apart, wide, and never above the limit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.columns import QUANTILE_COLUMNS, QUANTILES
from forecasting.features.daily import before_closure, day_features
from forecasting.features.plans import features_with_plan
from forecasting.models.closures import BINS, PRIOR_DEVIATION, ClosureEffect, closure_bins
from forecasting.models.limits import LIMIT_FACTOR
from forecasting.models.pooled import PooledModel
from forecasting.models.store_models import fit_stores
from forecasting.models.training import fit_pooled
from forecasting.pipeline import predict, predict_features
from forecasting.prediction import forecast

ORIGIN = pd.Timestamp("2015-01-16")
HORIZON = 42
VALUES = ["point", "mean", *QUANTILE_COLUMNS]
MEDIAN = QUANTILES.index(0.5)


def close(days: pd.DataFrame, store: int, first: str, length: int, before: float) -> pd.DataFrame:
    """Close a store for some days, and multiply its sales of the nine days before."""
    days = days.copy()
    start = pd.Timestamp(first)
    mine = days["store"] == store
    closed = mine & days["date"].between(start, start + pd.Timedelta(days=length - 1))
    days.loc[closed, ["open", "promo"]] = 0
    days.loc[closed, ["sales", "customers"]] = 0.0
    last = mine & days["date"].between(start - pd.Timedelta(days=9), start - pd.Timedelta(days=1))
    days.loc[last, "sales"] *= before
    return days


@pytest.fixture(scope="module")
def clearances(days: pd.DataFrame) -> pd.DataFrame:
    """A chain in which five stores closed: three sold four times as much before, two a third."""
    starts = pd.date_range("2014-04-02", periods=5, freq="40D")
    for store, (start, before) in enumerate(zip(starts, (4, 0.33, 4, 0.33, 4), strict=True), 1):
        days = close(days, store, f"{start:%Y-%m-%d}", 12, before)
    return days


def run(days: pd.DataFrame) -> tuple[pd.DataFrame, PooledModel]:
    known = days["date"] <= ORIGIN
    origins = pd.Series(ORIGIN, index=np.unique(days["store"]))
    plan = days[~known].drop(columns=["sales", "customers"])
    features = features_with_plan(days[known], plan, origins, HORIZON)
    pooled = fit_pooled(features, origin=ORIGIN.date(), horizon=HORIZON)
    return predict_features(pooled, features, origins), pooled


def test_days_before_a_closure_are_told_apart(clearances: pd.DataFrame) -> None:
    features = day_features(clearances[clearances["store"] == 1]).set_index("date")
    start = pd.Timestamp("2014-04-02")
    marked = features.index[before_closure(features) & (features.index <= start)]
    assert list(marked) == list(pd.date_range(start - pd.Timedelta(days=9), periods=9))
    bins = pd.Series(closure_bins(features), features.index)
    assert bins[start - pd.Timedelta(days=1)] == 0
    assert bins[start - pd.Timedelta(days=4)] == 1
    assert bins[start - pd.Timedelta(days=5)] == 2
    assert bins[start] == bins[start - pd.Timedelta(days=10)] == -1


def test_clearances_do_not_change_the_forecasts_of_ordinary_days(
    days: pd.DataFrame, clearances: pd.DataFrame
) -> None:
    """A day before a closure must teach nothing, whatever the store sold on it."""
    quiet = days
    for store, start in enumerate(pd.date_range("2014-04-02", periods=5, freq="40D"), 1):
        quiet = close(quiet, store, f"{start:%Y-%m-%d}", 12, 1.0)
    out, theirs = run(clearances)[0], run(quiet)[0]
    columns = ["q0_5", "q0_1", "q0_9"]
    pd.testing.assert_frame_equal(out[columns], theirs[columns])


def test_a_clearance_that_has_begun_is_no_new_level(days: pd.DataFrame) -> None:
    """It begins before the days that are told apart, and ends with the closure that is planned."""
    closing = close(days, 3, f"{ORIGIN + pd.Timedelta(days=10):%Y-%m-%d}", 12, 1.0)
    clearing = closing.copy()
    begun = (clearing["store"] == 3) & clearing["date"].between(
        ORIGIN - pd.Timedelta(days=6), ORIGIN
    )
    clearing.loc[begun, "sales"] *= 3.0
    pooled = run(closing)[1]
    plan = closing.loc[closing["date"] > ORIGIN].drop(columns=["sales", "customers"])
    origins = pd.Series(ORIGIN, index=np.unique(days["store"]))

    def points(sold: pd.DataFrame) -> pd.Series:
        """Forecast from some past sales with the models of the quiet ones."""
        past = sold[sold["date"] <= ORIGIN]
        models = fit_stores(
            features_with_plan(closing[closing["date"] <= ORIGIN], plan, origins, HORIZON),
            pooled,
            origin=ORIGIN.date(),
        )
        features = features_with_plan(past, plan, origins, HORIZON)
        ahead = features["date"] > ORIGIN
        out = forecast(features[~ahead], models, pooled, features[ahead], origins=origins)
        return out.set_index(["store", "date"])["point"]

    pd.testing.assert_series_equal(points(clearing), points(closing))


def test_the_effect_is_the_distribution_of_past_closures(clearances: pd.DataFrame) -> None:
    _, pooled = run(clearances)
    assert all(days > 0 for days in pooled.closures.days)
    widest = pooled.closures.quantiles[2]
    assert widest[QUANTILES.index(0.1)] < -0.9 and widest[QUANTILES.index(0.9)] > 1.2


def test_intervals_are_wide_before_a_planned_closure(clearances: pd.DataFrame) -> None:
    plan = close(clearances, 7, "2015-02-10", 14, 1.0)
    out = run(plan)[0]
    mine = out[(out["store"] == 7) & (out["open"] == 1)].set_index("date")
    width = np.log(mine["q0_9"] / mine["q0_1"])
    assert width["2015-02-02":"2015-02-09"].min() > 3 * width[:"2015-01-30"].median()
    # RMSPE punishes forecasts of four times the sales, so the point is low where all may happen.
    before = mine["2015-02-02":"2015-02-09"]
    assert (before["point"] < before["q0_5"]).all()


@pytest.fixture(scope="module", params=[0.05, 20.0], ids=["run empty", "sold off"])
def extreme(request: pytest.FixtureRequest, days: pd.DataFrame) -> tuple[pd.DataFrame, PooledModel]:
    """A chain whose past closures were preceded by sales beyond all measure, and its model."""
    for other in (2, 5, 9):
        days = close(days, other, "2014-08-04", 12, request.param)
    pooled = fit_pooled(day_features(days), origin=ORIGIN.date(), horizon=HORIZON)
    return days, pooled


@settings(max_examples=25, deadline=None)
@given(store=st.integers(1, 12), start=st.integers(2, 30), length=st.integers(6, 30))
def test_a_planned_closure_never_raises_a_day_above_the_bound(
    extreme: tuple[pd.DataFrame, PooledModel], store: int, start: int, length: int
) -> None:
    days, pooled = extreme
    first = ORIGIN + pd.Timedelta(days=start)
    plan = close(days[days["store"] == store], store, f"{first:%Y-%m-%d}", length, 1.0)
    known = plan["date"] <= ORIGIN
    origins = pd.Series(ORIGIN, index=[store])
    future = plan[~known].drop(columns=["sales", "customers"])
    out = predict(pooled, plan[known], future, origins, horizon=HORIZON)
    limit = LIMIT_FACTOR * plan.loc[known, "sales"].max()
    assert (out[VALUES].max(axis=1) <= limit).all()
    # Features hold sales with seven digits.
    at_limit = out[VALUES].max(axis=1) >= limit * (1 - 1e-5)
    assert (out["limited"] == at_limit).all()
    assert (np.diff(out[list(QUANTILE_COLUMNS)], axis=1) >= 0).all()


def test_the_effect_of_no_closures_is_the_prior() -> None:
    effect = ClosureEffect.default()
    assert effect.days == (0,) * len(BINS)
    high = effect.quantiles[:, QUANTILES.index(0.9)]
    np.testing.assert_allclose(high, 1.2816 * PRIOR_DEVIATION, rtol=0.02)
    np.testing.assert_allclose(effect.quantiles[:, MEDIAN], 0.0, atol=1e-9)
    assert (effect.point_factor("rmspe") < 1).all() and (effect.point_factor("mean") > 1).all()
    np.testing.assert_allclose(effect.point_factor("median"), 1.0)


def test_widened_quantiles_stay_in_order_and_center_on_the_effect() -> None:
    generator = np.random.default_rng(0)
    effect = ClosureEffect.of(generator.standard_normal(90) - 0.5, np.tile([1, 3, 7], 30))
    ordinary = np.sort(generator.standard_normal((50, len(QUANTILES))), axis=1)
    bins = np.arange(50) % 3
    out = effect.widened(ordinary, bins)
    assert (np.diff(out, axis=1) >= 0).all()
    np.testing.assert_allclose(out[:, MEDIAN], ordinary[:, MEDIAN] + effect.quantiles[bins, MEDIAN])
    assert ClosureEffect.from_dict(effect.to_dict()).to_dict() == effect.to_dict()
