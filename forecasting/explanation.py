"""Explanation of one forecast: what each regressor adds to the store's average day.

The linear models are sums, so their parts are exact. The trees' correction is one part. The
importance of a regressor over all days is in `models/importance.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

from forecasting.columns import QUANTILES
from forecasting.features.regressors import DESIGN_COLUMNS
from forecasting.models.closures import ClosureEffect, closure_bins
from forecasting.models.moments import HALF_LIFE_WEIGHTS
from forecasting.models.pooled import PooledModel
from forecasting.models.store_fit import linear_terms
from forecasting.models.store_models import store_fit
from forecasting.prediction import forecast_panel, log_points

#: Smallest part that is listed, in log units (0.1 %).
_MIN_PART = 1e-3


@dataclass(frozen=True)
class Explanation:
    """Parts of a log forecast.

    Attributes:
        usual: Log sales of the store's average open day of the history, by the linear models.
        parts: Effect of each regressor on the day (log units), largest first. The part `level` is
            the mean residual of the last weeks, `trees` is the trees' correction, and `closure` is
            the usual effect of the last days before a long closure.
    """

    usual: float
    parts: pd.Series


def explain(
    history_features: pd.DataFrame,
    store_model: pd.DataFrame,
    pooled: PooledModel | None,
    future_features: pd.DataFrame,
    *,
    origin: date,
    day: date,
) -> Explanation:
    """Split the log forecast of one store and day into the effects of its regressors.

    Args:
        history_features: Feature rows of the store up to the origin.
        store_model: The store's row of `fit_stores`.
        pooled: The pooled model, if the forecast had one.
        future_features: Feature rows of the horizon.
        origin: The last day that the forecast saw.
        day: The day that was forecast.

    Raises:
        ValueError: There is more than one store, or the day lies outside the horizon.
    """
    stores = np.unique(future_features["store"].to_numpy(np.int32))
    origins = np.full(len(stores), np.datetime64(origin, "D"))
    panel = forecast_panel(history_features, future_features, stores, origins)
    row = np.flatnonzero(panel.day == np.datetime64(day, "D"))
    if len(row) != 1 or day <= origin:
        raise ValueError(f"{day} is not a future day of exactly one store")
    fit = store_fit(store_model, pooled, panel.stores)
    weights = np.array(HALF_LIFE_WEIGHTS)
    coefficients = weights @ fit.coefficients[0]
    sold = np.flatnonzero(~np.isnan(panel.y))
    average = panel.x[sold].mean(axis=0) if len(sold) else np.zeros(len(DESIGN_COLUMNS))
    linear = float((linear_terms(panel.x[row], panel.store[row], fit.coefficients) @ weights)[0])
    ridge = float(log_points(panel, fit, None, origins, row)[0])
    whole = float(log_points(panel, fit, pooled, origins, row)[0])
    parts = pd.Series(coefficients * (panel.x[row[0]] - average), index=list(DESIGN_COLUMNS))
    parts["level"] = ridge - linear
    parts["trees"] = whole - ridge
    closures = ClosureEffect.default() if pooled is None else pooled.closures
    (bin_,) = closure_bins(panel.frame.iloc[row])
    median = QUANTILES.index(0.5)
    parts["closure"] = 0.0 if bin_ < 0 else float(closures.quantiles[bin_, median])
    parts = parts[parts.abs() >= _MIN_PART]
    return Explanation(
        usual=float(coefficients @ average),
        parts=parts.reindex(parts.abs().sort_values(ascending=False).index),
    )
