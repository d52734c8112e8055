"""Tests of the schemas: they accept the library's frames, and name the fault of other frames."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from pandera.errors import SchemaErrors

from forecasting.features.daily import day_features
from forecasting.features.plans import future_features
from forecasting.models.store_models import fit_stores
from forecasting.prediction import forecast
from forecasting.schemas.frames import DAYS, FEATURES, FORECASTS, STORE_MODELS, descriptions
from tests.unit.forecasting.conftest import make_days


@pytest.fixture(scope="module")
def days() -> pd.DataFrame:
    return make_days(stores=3, n_days=150)


def test_the_librarys_frames_pass(days: pd.DataFrame) -> None:
    origin = pd.Timestamp("2014-04-30")
    features = day_features(days)
    models = fit_stores(features, None, origin=origin.date())
    origins = pd.Series(origin, index=[1, 2, 3])
    future = future_features(days, days.drop(columns="sales"), origins, 42)
    out = forecast(features, models, None, future, origins=origins)
    DAYS.validate(days, lazy=True)
    FEATURES.validate(features, lazy=True)
    STORE_MODELS.validate(models, lazy=True)
    FORECASTS.validate(out, lazy=True)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"day_of_week": np.int16(3)}, "day_of_week contradicts date"),
        ({"sales": -1.0}, "greater_than_or_equal_to"),
        ({"open": np.int16(0)}, "sales on a closed day"),
        ({"state_holiday": "q"}, "isin"),
    ],
)
def test_bad_days_are_named(days: pd.DataFrame, change: dict[str, object], reason: str) -> None:
    with pytest.raises(SchemaErrors, match=reason):
        DAYS.validate(days.head(2).assign(**change), lazy=True)


def test_crossing_quantiles_are_refused(days: pd.DataFrame) -> None:
    origin = pd.Timestamp("2014-04-30")
    features = day_features(days)
    models = fit_stores(features, None, origin=origin.date())
    origins = pd.Series(origin, index=[1])
    future = future_features(days, days.drop(columns="sales"), origins, 7)
    out = forecast(features, models, None, future, origins=origins)
    with pytest.raises(SchemaErrors, match="quantiles cross"):
        FORECASTS.validate(out.assign(q0_1=out["q0_9"] + 1), lazy=True)


@pytest.mark.parametrize("schema", [DAYS, FEATURES, FORECASTS, STORE_MODELS])
def test_every_column_is_described(schema: object) -> None:
    assert all(descriptions(schema).values())  # type: ignore[arg-type]
