"""What is registered in MLflow can be loaded and forecasts like the graph does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

from forecast_assets import registry
from forecasting.features.daily import day_features
from forecasting.features.plans import features_with_plan
from forecasting.mlflow_model import SalesForecast
from forecasting.models.pooled import PooledModel
from forecasting.models.store_models import fit_stores
from forecasting.models.training import fit_pooled
from forecasting.prediction import forecast
from tests.unit.forecasting.conftest import make_days

ORIGIN = pd.Timestamp("2015-01-16")


@pytest.fixture(scope="module")
def days() -> pd.DataFrame:
    return make_days(stores=5)


@pytest.fixture(scope="module")
def model(days: pd.DataFrame) -> PooledModel:
    return fit_pooled(day_features(days), origin=ORIGIN.date())


@pytest.fixture
def tracked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    # MLflow remembers the experiment that another test set, by its number in another database.
    mlflow.set_experiment("registry")
    with mlflow.start_run():
        yield
    mlflow.set_tracking_uri(before)


def _asked(days: pd.DataFrame) -> pd.DataFrame:
    asked = days[days["date"] <= ORIGIN + pd.Timedelta(days=14)].copy()
    asked.loc[asked["date"] > ORIGIN, ["sales", "customers"]] = np.nan
    return asked


def test_a_registered_model_is_loaded_by_its_alias_and_forecasts(
    days: pd.DataFrame, model: PooledModel, tracked: None
) -> None:
    first = registry.register(model, model.to_bytes(), name="pooled_model", tags={"version": "a"})
    second = registry.register(model, model.to_bytes(), name="pooled_model", tags={"version": "b"})
    registry.name_version("champion", first)
    registry.name_version("champion", second)
    client = mlflow.MlflowClient()
    named = client.get_model_version_by_alias(registry.REGISTERED_NAME, "champion")
    assert (str(named.version), named.tags["version"]) == (second, "b")

    loaded = mlflow.pyfunc.load_model(f"models:/{registry.REGISTERED_NAME}@champion")
    asked = _asked(days)
    out = loaded.predict(asked.sample(frac=1.0, random_state=1))
    assert len(out) == 5 * 14
    origins = pd.Series(ORIGIN, index=range(1, 6))
    coming = asked["date"] > ORIGIN
    features = features_with_plan(asked[~coming], asked[coming], origins, 14)
    past = features["date"] <= ORIGIN
    expected = forecast(
        features[past],
        fit_stores(features[past], model, origin=ORIGIN.date()),
        model,
        features[~past],
        origins=origins,
    )
    pd.testing.assert_frame_equal(out, expected, check_dtype=False)

    pinned = Path(mlflow.pyfunc.get_model_dependencies(f"models:/{registry.REGISTERED_NAME}/1"))
    assert pinned.read_text().split() == registry.requirements()
    assert loaded.metadata.signature == registry.SIGNATURE


def test_requirements_are_pinned() -> None:
    assert all("==" in line for line in registry.requirements())
    assert any(line.startswith("lightgbm==") for line in registry.requirements())


def test_a_panel_without_sales_is_refused(days: pd.DataFrame, model: PooledModel) -> None:
    wrapper = SalesForecast()
    wrapper._model = model
    with pytest.raises(ValueError, match="no day of the panel has sales"):
        wrapper.predict(None, days.assign(sales=np.nan))


def test_a_model_that_knows_later_days_is_refused(days: pd.DataFrame, model: PooledModel) -> None:
    wrapper = SalesForecast()
    wrapper._model = model
    early = days.copy()
    early.loc[early["date"] > pd.Timestamp(date(2014, 12, 1)), ["sales", "customers"]] = np.nan
    with pytest.raises(ValueError, match="would know the future"):
        wrapper.predict(None, early)
