"""Tests of explanations: the parts of a forecast add up to the forecast."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest

from forecasting.calibration import Calibration
from forecasting.explanation import explain
from forecasting.features.daily import day_features
from forecasting.features.plans import features_with_plan
from forecasting.models.pooled import PooledModel
from forecasting.models.store_models import fit_stores
from forecasting.models.training import fit_pooled
from forecasting.prediction import forecast
from tests.unit.forecasting.conftest import make_days

ORIGIN = date(2015, 11, 20)
STORE = 3


@pytest.fixture(scope="module")
def long_days() -> pd.DataFrame:
    return make_days(stores=8, n_days=720)


@pytest.fixture(scope="module", params=["ridge", "stack"])
def pooled(request: pytest.FixtureRequest, long_days: pd.DataFrame) -> PooledModel:
    return fit_pooled(
        day_features(long_days), origin=ORIGIN, recipe=request.param, trees=15, threads=1
    )


def _explained(days: pd.DataFrame, pooled: PooledModel, day: date):
    store_days = days[days["store"] == STORE]
    known = store_days["date"] <= pd.Timestamp(ORIGIN)
    origins = pd.Series(pd.Timestamp(ORIGIN), index=[STORE])
    plan = store_days[~known].drop(columns=["sales", "customers"])
    features = features_with_plan(store_days[known], plan, origins, 20)
    past = features["date"] <= pd.Timestamp(ORIGIN)
    model = fit_stores(features[past], pooled, origin=ORIGIN)
    explanation = explain(features[past], model, pooled, features[~past], origin=ORIGIN, day=day)
    out = forecast(
        features[past], model, pooled, features[~past], origins=origins, error_measure="median"
    )
    return explanation, out.set_index("date").loc[pd.Timestamp(day)]


def test_parts_add_up_to_the_forecast(long_days: pd.DataFrame, pooled: PooledModel) -> None:
    # Under the normal distribution the median is the log point itself.
    centred = replace(pooled, calibration=Calibration.default())
    explanation, row = _explained(long_days, centred, date(2015, 11, 25))
    # Parts below 0.1 % are left out.
    assert np.log(row["q0_5"]) == pytest.approx(
        explanation.usual + explanation.parts.sum(), abs=0.02
    )
    assert explanation.parts.abs().is_monotonic_decreasing
    assert pooled.recipe == "stack" or "trees" not in explanation.parts


def test_a_promo_day_owes_its_sales_to_the_promo(
    long_days: pd.DataFrame, pooled: PooledModel
) -> None:
    promos = long_days[(long_days["store"] == STORE) & (long_days["promo"] == 1)]["date"]
    day = promos[promos > pd.Timestamp(ORIGIN)].iloc[0].date()
    explanation, _ = _explained(long_days, pooled, day)
    promo = explanation.parts[
        [name for name in explanation.parts.index if name.startswith("promo")]
    ].sum()
    assert promo > 0.1


def test_a_day_outside_the_horizon_is_refused(long_days: pd.DataFrame, pooled: PooledModel) -> None:
    with pytest.raises(ValueError, match="is not a future day"):
        _explained(long_days, pooled, date(2015, 11, 1))
