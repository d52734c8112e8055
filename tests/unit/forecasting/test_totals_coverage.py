"""Totals of past origins, held against what was sold: their ranges hold what they promise."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from forecasting.chain_totals import chain_totals
from forecasting.features.daily import day_features
from forecasting.features.plans import future_features
from forecasting.models.dependence import Dependence, ErrorPart
from forecasting.models.store_models import fit_stores
from forecasting.models.training import fit_pooled
from forecasting.prediction import forecast
from tests.unit.forecasting.conftest import make_days

STORES, DAYS, HORIZON = 14, 620, 28
#: Standard deviation of what all stores share on a day (log sales); a store's own noise has 0.08.
COMMON = 0.06
ORIGINS = pd.to_datetime(["2015-06-21", "2015-07-19", "2015-08-16"])
#: Every day and every store errs for itself.
APART = Dependence(ErrorPart(0.0, 0.0, 0.5, 0.0), ErrorPart(0.0, 0.0, 0.5, 1.0))


@pytest.fixture(scope="module")
def chain() -> pd.DataFrame:
    """A chain whose stores have good and bad days together."""
    days = make_days(STORES, DAYS, seed=3)
    dates = days["date"].drop_duplicates()
    shock = np.random.default_rng(8).normal(0, COMMON, len(dates))
    factor = np.exp(days["date"].map(dict(zip(dates, shock, strict=True))))
    return days.assign(sales=(days["sales"] * factor).round())


@pytest.fixture(scope="module")
def past(chain: pd.DataFrame) -> list[tuple[pd.DataFrame, Dependence]]:
    """Forecasts of past origins, and the dependence that their trainings learned."""
    plan = chain.drop(columns=["sales", "customers"])
    features = day_features(chain)
    made = []
    for origin in ORIGINS:
        known = features[features["date"] <= origin]
        pooled = fit_pooled(known, origin=origin.date(), horizon=HORIZON)
        models = fit_stores(known, pooled, origin=origin.date())
        origins = pd.Series(origin, index=range(1, STORES + 1))
        future = future_features(chain[chain["date"] <= origin], plan, origins, HORIZON)
        rows = forecast(known, models, pooled, future, origins=origins)
        made.append((rows, pooled.dependence))
    return made


def share_held(
    chain: pd.DataFrame, past: list[tuple[pd.DataFrame, Dependence]], level: str, grain: str
) -> float:
    """Return the share of totals within their 80 % range."""
    attributes = pd.DataFrame({"store": range(1, STORES + 1), "store_type": "a", "assortment": "a"})
    held = []
    for rows, dependence in past:
        totals = chain_totals(rows, attributes, dependence)
        chosen = totals[(totals["level"] == level) & (totals["grain"] == grain)]
        for total in chosen.itertuples():
            mine = level == "chain" or chain["store"] == int(str(total.member))
            span = chain["date"].between(total.first_day, total.last_day) & mine
            if sold := chain.loc[span, "sales"].sum():
                held.append(total.q0_1 <= sold <= total.q0_9)
    assert len(held) >= 70
    return float(np.mean(held))


def test_totals_of_past_origins_hold_what_they_promise(
    chain: pd.DataFrame, past: list[tuple[pd.DataFrame, Dependence]]
) -> None:
    assert 0.7 < share_held(chain, past, "chain", "day") < 0.92
    assert 0.7 < share_held(chain, past, "store", "week") < 0.92


def test_ranges_that_forget_what_stores_share_are_too_narrow(
    chain: pd.DataFrame, past: list[tuple[pd.DataFrame, Dependence]]
) -> None:
    apart = [(rows, APART) for rows, _ in past]
    assert share_held(chain, apart, "chain", "day") < 0.5
