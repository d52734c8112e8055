"""Tests of `SalesForecaster`, the sktime forecaster for a panel of stores."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from forecasting import scoring
from forecasting.columns import PLAN_COLUMNS
from forecasting.estimators.panel import SalesForecaster

pytestmark = pytest.mark.filterwarnings("ignore")

ORIGIN = pd.Timestamp("2015-01-16")


@pytest.fixture(scope="module")
def panel(days: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    indexed = days.set_index(["store", "date"])
    x = indexed[list(PLAN_COLUMNS)].copy()
    # Holiday codes are text. sktime accepts text in a column of Python objects.
    x["state_holiday"] = x["state_holiday"].astype(object)
    return indexed[["sales"]], x


def test_predict_quantiles_and_interval(
    panel: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    y, x = panel
    known = y.index.get_level_values(1) <= ORIGIN
    forecaster = SalesForecaster(recipe="ridge").fit(y[known], X=x[known])
    fh = list(range(1, 15))
    coming = y.index.get_level_values(1)
    within = ~known & (coming <= ORIGIN + pd.Timedelta(days=14))
    point = forecaster.predict(fh=fh, X=x[within])
    assert point.index.equals(y[within].index.set_names(point.index.names))
    assert scoring.rmspe(y[within]["sales"].to_numpy(), point["sales"].to_numpy()) < 0.12
    quantiles = forecaster.predict_quantiles(fh=fh, X=x[within], alpha=[0.1, 0.5, 0.9])
    assert (np.diff(quantiles.to_numpy(), axis=1) >= 0).all()
    interval = forecaster.predict_interval(fh=fh, X=x[within], coverage=0.8)
    np.testing.assert_allclose(interval.to_numpy(), quantiles.to_numpy()[:, [0, 2]], rtol=1e-9)


def test_a_plan_without_a_column_is_refused(panel: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    y, x = panel
    with pytest.raises(ValueError, match="state_holiday"):
        SalesForecaster(recipe="ridge").fit(y, X=x[["open", "promo"]])
