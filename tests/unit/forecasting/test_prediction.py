"""Tests of forecasts: no leakage, ordered quantiles, sensible forecasts with little history."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from forecasting import scoring
from forecasting.columns import FORECAST_COLUMNS, QUANTILE_COLUMNS
from forecasting.features.daily import day_features
from forecasting.features.plans import future_features
from forecasting.models.naive import seasonal_naive
from forecasting.models.pooled import PooledModel
from forecasting.models.store_models import fit_stores
from forecasting.models.training import fit_pooled
from forecasting.prediction import forecast

ORIGIN = pd.Timestamp("2015-01-16")
HORIZON = 42


def run(
    days: pd.DataFrame, origin: pd.Timestamp = ORIGIN, **options: object
) -> tuple[pd.DataFrame, PooledModel]:
    """Forecast as the assets do, from all days; the code itself must ignore later sales."""
    features = day_features(days)
    pooled = fit_pooled(features, origin=origin.date(), horizon=HORIZON)
    models = fit_stores(features, pooled, origin=origin.date())
    origins = pd.Series(origin, index=np.unique(days["store"]))
    plan = days.drop(columns=["sales", "customers"])
    future = future_features(days, plan, origins, HORIZON)
    return forecast(features, models, pooled, future, origins=origins, **options), pooled


@pytest.fixture(scope="module")
def result(days: pd.DataFrame) -> pd.DataFrame:
    return run(days)[0]


def test_shape_and_columns(result: pd.DataFrame) -> None:
    assert list(result.columns) == list(FORECAST_COLUMNS)
    assert len(result) == 12 * HORIZON
    assert result["horizon"].min() == 1 and result["horizon"].max() == HORIZON
    assert not result.isna().any().any()


def test_quantiles_are_ordered_and_closed_days_are_zero(result: pd.DataFrame) -> None:
    quantiles = result[list(QUANTILE_COLUMNS)].to_numpy()
    assert (np.diff(quantiles, axis=1) >= 0).all()
    closed = result["open"] == 0
    values = ["point", "mean", *QUANTILE_COLUMNS]
    assert closed.any() and (result.loc[closed, values] == 0).all().all()
    assert (result.loc[~closed, values] > 0).all().all()


def test_later_sales_change_nothing(days: pd.DataFrame, result: pd.DataFrame) -> None:
    corrupt = days.copy()
    later = corrupt["date"] > ORIGIN
    noise = np.random.default_rng(5).uniform(0, 1e6, int(later.sum()))
    corrupt.loc[later, "sales"] = noise
    corrupt.loc[later, "customers"] = noise
    pd.testing.assert_frame_equal(run(corrupt)[0], result)


def test_forecasts_beat_the_seasonal_naive(days: pd.DataFrame, result: pd.DataFrame) -> None:
    truth = days[["store", "date", "sales"]]
    naive = seasonal_naive(days, pd.Series(ORIGIN, index=range(1, 13)), HORIZON)
    ours = result.merge(truth, on=["store", "date"])
    theirs = naive.merge(truth, on=["store", "date"])
    error = scoring.rmspe(ours["sales"].to_numpy(), ours["point"].to_numpy())
    peer = scoring.rmspe(theirs["sales"].to_numpy(), theirs["point"].to_numpy())
    assert error < 0.095
    assert error < peer


def test_intervals_cover_what_they_say(days: pd.DataFrame, result: pd.DataFrame) -> None:
    both = result[result["open"] == 1].merge(days[["store", "date", "sales"]], on=["store", "date"])
    low, high = both["q0_1"].to_numpy(), both["q0_9"].to_numpy()
    assert 0.7 < scoring.coverage(both["sales"].to_numpy(), low, high) < 0.9


def test_measures_order_the_point(days: pd.DataFrame) -> None:
    rmspe, median = run(days)[0], run(days, error_measure="median")[0]
    assert (rmspe["point"] <= median["point"] * 1.02).all()
    np.testing.assert_allclose(median["point"], median["q0_5"])
    with pytest.raises(ValueError, match="unknown error measure"):
        run(days, error_measure="nonsense")


def test_a_new_store_gets_a_wider_pooled_forecast(days: pd.DataFrame) -> None:
    features = day_features(days)
    pooled = fit_pooled(features, origin=ORIGIN.date(), horizon=HORIZON)
    models = fit_stores(features, pooled, origin=ORIGIN.date())
    origins = pd.Series(ORIGIN, index=[1, 99])
    future = future_features(days, days.drop(columns="sales"), origins, HORIZON)
    out = forecast(features, models, pooled, future, origins=origins)
    width = np.log(out["q0_9"] / out["q0_1"]).where(out["open"] == 1)
    by_store = width.groupby(out["store"]).mean()
    assert by_store[99] > 2 * by_store[1]
    chain = out.loc[(out["store"] == 99) & (out["open"] == 1), "mean"]
    assert 2000 < chain.mean() < 12000
    assert out.loc[out["store"] == 99, "plan_assumed"].all()
    with pytest.raises(ValueError, match="store 99 has no model"):
        forecast(features, models, None, future, origins=origins)


def test_without_a_pooled_model_the_stores_serve_alone(days: pd.DataFrame) -> None:
    features = day_features(days)
    models = fit_stores(features, None, origin=ORIGIN.date())
    origins = pd.Series(ORIGIN, index=range(1, 13))
    future = future_features(days, days.drop(columns="sales"), origins, HORIZON)
    out = forecast(features, models, None, future, origins=origins)
    both = out.merge(days[["store", "date", "sales"]], on=["store", "date"])
    assert scoring.rmspe(both["sales"].to_numpy(), both["point"].to_numpy()) < 0.1


def test_a_store_that_sells_a_third_less_is_followed_within_days(
    days: pd.DataFrame, result: pd.DataFrame
) -> None:
    """After nine days, the forecast is within 10 % of the new level; other stores stay."""
    changed = days.copy()
    later = (changed["store"] == 3) & (changed["date"] > ORIGIN - pd.Timedelta(days=9))
    changed.loc[later, "sales"] = (0.7 * changed.loc[later, "sales"]).round()
    features = day_features(days)
    origins = pd.Series(ORIGIN, index=range(1, 13))
    future = future_features(days, days.drop(columns="sales"), origins, HORIZON)
    # Models are refitted once a week; here they have not seen the change at all.
    pooled = fit_pooled(features, origin=ORIGIN.date(), horizon=HORIZON)
    models = fit_stores(features, pooled, origin=ORIGIN.date())
    after = forecast(day_features(changed), models, pooled, future, origins=origins)
    ratio = (after["q0_5"] / result["q0_5"])[after["open"] == 1]
    own = after["store"] == 3
    assert ratio[own].mean() == pytest.approx(0.7, rel=0.1)
    np.testing.assert_allclose(ratio[~own], 1.0, rtol=1e-9)


def test_stores_may_have_origins_of_their_own(days: pd.DataFrame, result: pd.DataFrame) -> None:
    features = day_features(days)
    pooled = fit_pooled(features, origin=ORIGIN.date(), horizon=HORIZON)
    origins = pd.Series(ORIGIN, index=range(1, 13))
    origins[7] = ORIGIN + pd.Timedelta(days=9)
    models = fit_stores(features, pooled, origin=origins)
    future = future_features(days, days.drop(columns="sales"), origins, HORIZON)
    out = forecast(features, models, pooled, future, origins=origins)
    others = out[out["store"] != 7].reset_index(drop=True)
    pd.testing.assert_frame_equal(others, result[result["store"] != 7].reset_index(drop=True))
    assert out.loc[out["store"] == 7, "date"].min() == ORIGIN + pd.Timedelta(days=10)


def test_a_pooled_model_from_the_future_is_refused(days: pd.DataFrame) -> None:
    features = day_features(days)
    pooled = fit_pooled(features, origin=ORIGIN.date(), horizon=HORIZON)
    with pytest.raises(ValueError, match="would know the future"):
        fit_stores(features, pooled, origin=(ORIGIN - pd.Timedelta(days=1)).date())


def test_pooled_model_survives_its_bytes(days: pd.DataFrame, result: pd.DataFrame) -> None:
    features = day_features(days)
    pooled = fit_pooled(features, origin=ORIGIN.date(), horizon=HORIZON)
    data = pooled.to_bytes()
    again = PooledModel.from_bytes(data)
    assert again.to_bytes() == data
    assert dataclasses.replace(again).trained_until == ORIGIN.date()
    assert fit_pooled(features, origin=ORIGIN.date(), horizon=HORIZON).to_bytes() == data
    with pytest.raises(ValueError, match="no pooled model"):
        PooledModel.from_bytes(b"nothing")


def test_a_month_with_few_days(days: pd.DataFrame) -> None:
    first = days[days["date"] <= "2014-01-25"]
    out, pooled = run(first, pd.Timestamp("2014-01-25"))
    assert pooled.calibration.rows == 0
    assert len(out) == 12 * HORIZON and out["plan_assumed"].all()
    opened = out[out["open"] == 1]
    assert opened["mean"].between(500, 50_000).all()


def test_a_training_without_sales_is_refused(days: pd.DataFrame) -> None:
    features = day_features(days)
    with pytest.raises(ValueError, match="no sales up to"):
        fit_pooled(features, origin=pd.Timestamp("2013-01-01").date())


def test_a_store_reopened_after_months_follows_its_first_days(days: pd.DataFrame) -> None:
    away = (days["store"] == 3) & days["date"].between("2014-08-01", "2014-12-28")
    back = days[~away].copy()
    reopened = (back["store"] == 3) & (back["date"] > "2014-12-28")
    back.loc[reopened, "sales"] *= 1.25
    out = run(back)[0]
    both = out[out["store"] == 3].merge(back[["store", "date", "sales"]], on=["store", "date"])
    both = both[both["sales"] > 0]
    assert len(both) > 20
    assert abs(scoring.bias(both["sales"].to_numpy(), both["mean"].to_numpy())) < 0.15


def test_a_refurbished_store_is_forecast_as_closed_until_it_opens(days: pd.DataFrame) -> None:
    plan = days.copy()
    closed = (plan["store"] == 2) & plan["date"].between("2015-01-17", "2015-02-05")
    plan.loc[closed, ["open", "promo"]] = 0
    plan.loc[closed, ["sales", "customers"]] = 0.0
    out = run(plan)[0]
    closed_store = out[out["store"] == 2].set_index("date")
    assert (closed_store.loc[:"2015-02-05", "q0_975"] == 0).all()
    opened = closed_store.loc["2015-02-06":]
    assert (opened.loc[opened["open"] == 1, "point"] > 0).all()


@pytest.mark.parametrize("closed_days", [28, 60])
@pytest.mark.parametrize("stores", [[7], None], ids=["alone", "chain"])
@pytest.mark.parametrize("has_pooled", [True, False], ids=["pooled", "unpooled"])
def test_stores_closed_for_weeks_are_forecast(
    days: pd.DataFrame, closed_days: int, stores: list[int] | None, has_pooled: bool
) -> None:
    """Neither the store nor any other store has sales within the level window."""
    plan = days.copy()
    closed = plan["date"].between(ORIGIN - pd.Timedelta(days=closed_days - 1), ORIGIN)
    plan.loc[closed, ["open", "promo"]] = 0
    plan.loc[closed, ["sales", "customers"]] = 0.0
    features = day_features(plan)
    pooled = fit_pooled(features, origin=ORIGIN.date(), horizon=HORIZON) if has_pooled else None
    if stores:
        features = features[features["store"].isin(stores)]
    models = fit_stores(features, pooled, origin=ORIGIN.date())
    origins = pd.Series(ORIGIN, index=np.unique(features["store"]))
    out = forecast(features, models, pooled, features, origins=origins)
    opened = out[out["open"] == 1]
    assert len(opened) and (opened["point"] > 0).all()
    assert not out.isna().any().any()
