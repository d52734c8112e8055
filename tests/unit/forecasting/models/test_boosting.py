"""Tests of the stack: no leakage, equal inputs in training and forecasting, reproducible bytes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from forecasting import scoring
from forecasting.columns import QUANTILE_COLUMNS
from forecasting.features.daily import day_features
from forecasting.features.panel import Panel
from forecasting.features.plans import future_features
from forecasting.models.at_origin import RESIDUAL_DAYS, STACK_INPUTS, stack_inputs
from forecasting.models.boosting import FULL_WEIGHT, own_errors, stack_weight
from forecasting.models.moments import RollingMoments
from forecasting.models.pooled import PooledModel
from forecasting.models.store_fit import estimate_populations, fit_arrays, typical_square
from forecasting.models.store_models import fit_stores
from forecasting.models.training import fit_pooled, past_origins, stack_offset
from forecasting.prediction import forecast
from tests.unit.forecasting.conftest import make_days

ORIGIN = pd.Timestamp("2015-11-20")
DAY = np.datetime64("2015-11-20")
HORIZON = 42
STORES = 10


@pytest.fixture(scope="module")
def long_days() -> pd.DataFrame:
    return make_days(stores=STORES, n_days=740)


def _pooled(days: pd.DataFrame, seed: int = 0) -> PooledModel:
    return fit_pooled(
        day_features(days),
        origin=ORIGIN.date(),
        horizon=HORIZON,
        recipe="stack",
        trees=15,
        seed=seed,
        threads=1,
    )


@pytest.fixture(scope="module")
def pooled(long_days: pd.DataFrame) -> PooledModel:
    return _pooled(long_days)


def _forecast(
    days: pd.DataFrame, pooled: PooledModel, stores: list[int] | None = None
) -> pd.DataFrame:
    features = day_features(days)
    if stores is not None:
        features = features[features["store"].isin(stores)]
    models = fit_stores(features, pooled, origin=ORIGIN.date())
    origins = pd.Series(ORIGIN, index=np.unique(features["store"]))
    future = future_features(days, days.drop(columns=["sales", "customers"]), origins, HORIZON)
    return forecast(features, models, pooled, future, origins=origins)


def _corrupted(days: pd.DataFrame) -> pd.DataFrame:
    corrupt = days.copy()
    later = corrupt["date"] > ORIGIN
    noise = np.random.default_rng(2).uniform(0, 1e6, int(later.sum()))
    corrupt.loc[later, "sales"] = noise
    corrupt.loc[later, "customers"] = noise
    return corrupt


def test_trees_are_fitted_and_forecasts_are_ordered(
    long_days: pd.DataFrame, pooled: PooledModel
) -> None:
    assert pooled.boosters and pooled.stack_weight > 0
    out = _forecast(long_days, pooled)
    assert (np.diff(out[list(QUANTILE_COLUMNS)].to_numpy(), axis=1) >= 0).all()
    both = out.merge(long_days[["store", "date", "sales"]], on=["store", "date"])
    assert scoring.rmspe(both["sales"].to_numpy(), both["point"].to_numpy()) < 0.1


def test_later_sales_change_neither_model_nor_forecast(
    long_days: pd.DataFrame, pooled: PooledModel
) -> None:
    corrupt = _corrupted(long_days)
    again = _pooled(corrupt)
    assert again.to_bytes() == pooled.to_bytes()
    pd.testing.assert_frame_equal(_forecast(corrupt, again), _forecast(long_days, pooled))


def test_another_seed_gives_other_trees(long_days: pd.DataFrame, pooled: PooledModel) -> None:
    assert _pooled(long_days, seed=7).boosters != pooled.boosters


def test_a_store_alone_gets_the_same_forecast(long_days: pd.DataFrame, pooled: PooledModel) -> None:
    whole = _forecast(long_days, pooled)
    some = _forecast(long_days, pooled, [3, 8])
    expected = whole[whole["store"].isin([3, 8])].reset_index(drop=True)
    pd.testing.assert_frame_equal(some, expected, rtol=1e-9)


def test_bytes_keep_the_trees(long_days: pd.DataFrame, pooled: PooledModel) -> None:
    again = PooledModel.from_bytes(pooled.to_bytes())
    pd.testing.assert_frame_equal(_forecast(long_days, again), _forecast(long_days, pooled))


def test_training_and_forecasting_see_the_same_inputs(long_days: pd.DataFrame) -> None:
    def inputs(days: pd.DataFrame) -> np.ndarray:
        panel = Panel.of(day_features(days))
        rolling = RollingMoments(panel)
        moments = rolling.advance(DAY)
        fit = fit_arrays(
            panel.stores,
            moments,
            estimate_populations(moments, iterations=2),
            typical_square(moments),
            rolling.n_days,
        )
        rows = np.flatnonzero((panel.day > DAY) & (panel.day <= DAY + HORIZON))
        return stack_inputs(panel, fit, DAY, rows)[0]

    planned = long_days.copy()
    planned.loc[planned["date"] > ORIGIN, ["sales", "customers"]] = np.nan
    np.testing.assert_array_equal(inputs(long_days), inputs(planned))
    np.testing.assert_array_equal(inputs(long_days), inputs(_corrupted(long_days)))
    assert inputs(long_days).shape[1] == len(STACK_INPUTS)
    assert RESIDUAL_DAYS >= 392


def test_the_offset_is_the_mean_correction_of_all_stores_over_the_horizon(
    long_days: pd.DataFrame,
) -> None:
    whole = Panel.of(day_features(long_days))
    rolling = RollingMoments(whole)
    moments = rolling.advance(DAY)
    fit = fit_arrays(
        whole.stores,
        moments,
        estimate_populations(moments, iterations=2),
        typical_square(moments),
        rolling.n_days,
    )
    coming = np.flatnonzero(whole.days_between(np.full(STORES, DAY), np.full(STORES, DAY + 28)))
    real, _ = stack_inputs(whole, fit, DAY, coming)
    features = day_features(long_days)
    past = Panel.of(features[features["date"] <= ORIGIN])
    for name in ("step", "level_28", "day_of_week", "promo", "coefficient_promo"):
        column = STACK_INPUTS.index(name)
        offset = stack_offset(past, fit, DAY, 28, lambda x, j=column: x[:, j])  # type: ignore[misc]
        np.testing.assert_allclose(offset, real[:, column].mean(), rtol=1e-5, err_msg=name)


def test_the_offset_is_subtracted(long_days: pd.DataFrame, pooled: PooledModel) -> None:
    lower = replace(pooled, stack_offset=pooled.stack_offset + 0.1)
    with_more, as_it_is = _forecast(long_days, lower), _forecast(long_days, pooled)
    sold = as_it_is["open"] == 1
    ratio = (with_more["q0_5"] / as_it_is["q0_5"])[sold]
    np.testing.assert_allclose(ratio, np.exp(-0.1 * pooled.stack_weight), rtol=1e-9)


def test_origins_with_less_than_a_year_calibrate_only_where_there_are_no_others() -> None:
    origin = np.datetime64("2014-06-01")
    for first, expected in (("2013-01-01", 6), ("2013-03-20", 3), ("2013-04-15", 6)):
        calibrating, _ = past_origins(np.datetime64(first), origin, HORIZON, "ridge")
        days = [int((past - np.datetime64(first)).astype(int)) for past in calibrating]
        assert len(days) == expected, first
        assert max(days) == int((origin - np.datetime64(first)).astype(int)) - HORIZON


def test_short_history_leaves_the_trees_out(days: pd.DataFrame) -> None:
    model = fit_pooled(
        day_features(days), origin=pd.Timestamp("2015-01-16").date(), recipe="stack", trees=5
    )
    assert model.boosters == () and model.stack_weight == 0.0
    assert stack_weight(80) == 0.0
    assert 0.0 < stack_weight(135) < FULL_WEIGHT
    assert stack_weight(200) == FULL_WEIGHT


def test_trees_learn_nothing_that_all_stores_shared_on_a_day() -> None:
    day = np.repeat(np.array(["2015-06-01", "2015-06-02"], "datetime64[D]"), 3)
    own = np.array([0.1, -0.2, 0.1, 0.0, 0.3, -0.3])
    shock = np.where(day == day[0], 0.5, -0.25)
    np.testing.assert_allclose(own_errors(own + shock, day), own, atol=1e-12)


@pytest.mark.parametrize("stores", [[3], None], ids=["alone", "chain"])
def test_stores_closed_for_weeks_are_forecast(
    long_days: pd.DataFrame, pooled: PooledModel, stores: list[int] | None
) -> None:
    plan = long_days.copy()
    closed = plan["date"].between(ORIGIN - pd.Timedelta(days=59), ORIGIN)
    plan.loc[closed, ["open", "promo"]] = 0
    plan.loc[closed, ["sales", "customers"]] = 0.0
    out = _forecast(plan, pooled, stores)
    opened = out[out["open"] == 1]
    assert len(opened) and (opened["point"] > 0).all()
    assert not out.isna().any().any()
