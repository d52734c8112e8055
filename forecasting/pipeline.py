"""The one composition of features, fit and predict.

Evaluation, submissions, the sktime estimators, the MLflow model and the warehouse's forecaster
all call these functions. The steps themselves live in `features/`, `models/` and `prediction.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Unpack

import numpy as np
import pandas as pd

from forecasting.calibration import ErrorMeasure
from forecasting.features.plans import features_with_plan
from forecasting.models.pooled import DEFAULT_HORIZON, PooledModel, Recipe
from forecasting.models.store_models import fit_stores
from forecasting.models.training import TrainingOptions, fit_pooled
from forecasting.prediction import forecast


def fit(
    days: pd.DataFrame,
    plan: pd.DataFrame,
    origin: pd.Timestamp,
    recipe: Recipe = "ridge",
    *,
    horizon: int = DEFAULT_HORIZON,
    **options: Unpack[TrainingOptions],
) -> PooledModel:
    """Fit what all stores share on the days up to an origin.

    Args:
        days: Day panel; rows after the origin are ignored.
        plan: Planned days after the origin; may be empty.
        origin: Last day whose sales may be used.
        recipe: `ridge` takes seconds, `stack` minutes.
        horizon: Days ahead to calibrate for.
        **options: See `TrainingOptions`.

    Raises:
        ValueError: No store has sales up to the origin.
    """
    origins = pd.Series(origin, index=np.unique(days["store"]))
    features = features_with_plan(days, plan, origins, horizon)
    return fit_pooled(features, origin=origin.date(), recipe=recipe, horizon=horizon, **options)


def predict(
    pooled: PooledModel | None,
    days: pd.DataFrame,
    plan: pd.DataFrame,
    origins: pd.Series,
    *,
    horizon: int = DEFAULT_HORIZON,
    error_measure: ErrorMeasure = "rmspe",
) -> pd.DataFrame:
    """Fit each store's own model and forecast the days after its origin.

    Args:
        pooled: The pooled model, trained on no day after the earliest origin. Without one, the
            stores' own models forecast alone.
        days: Day panel; rows after a store's origin are ignored.
        plan: Planned days after the origins; a day without a plan gets the usual pattern.
        origins: Last day whose sales may be used, by store id.
        horizon: Days ahead.
        error_measure: The error measure that `point` minimizes.

    Returns:
        The forecast frame of `predict_features`, `horizon` rows per store.

    Raises:
        ValueError: The pooled model was trained on days after an origin.
    """
    features = features_with_plan(days, plan, origins, horizon)
    return predict_features(pooled, features, origins, error_measure=error_measure)


def fit_and_predict(
    days: pd.DataFrame,
    plan: pd.DataFrame,
    origin: pd.Timestamp,
    recipe: Recipe = "ridge",
    *,
    horizon: int = DEFAULT_HORIZON,
    stores: Iterable[int] | None = None,
    **options: Unpack[TrainingOptions],
) -> pd.DataFrame:
    """Train on the days up to an origin and forecast the days after it.

    The result is that of `fit` followed by `predict`; the features are computed once.
    `fit_with_forecasts` returns the pooled model, too.

    Args:
        days: Day panel; rows after the origin are ignored.
        plan: Planned days after the origin. Stores that have a plan but no sales are forecast too.
        origin: Last day whose sales may be used.
        recipe: `ridge` takes seconds, `stack` minutes.
        horizon: Days ahead.
        stores: Stores to forecast, by default all; the pooled model is trained on all.
        **options: See `TrainingOptions`.

    Returns:
        The forecast frame of `predict_features`, `horizon` rows per store.

    Raises:
        ValueError: No store has sales up to the origin.
    """
    return fit_with_forecasts(
        days, plan, origin, recipe, horizon=horizon, stores=stores, **options
    )[1]


def fit_with_forecasts(
    days: pd.DataFrame,
    plan: pd.DataFrame,
    origin: pd.Timestamp,
    recipe: Recipe = "ridge",
    *,
    horizon: int = DEFAULT_HORIZON,
    stores: Iterable[int] | None = None,
    **options: Unpack[TrainingOptions],
) -> tuple[PooledModel, pd.DataFrame]:
    """Train and forecast as `fit_and_predict` does; return the pooled model and the forecasts.

    Raises:
        ValueError: No store has sales up to the origin.
    """
    origins = pd.Series(origin, index=np.union1d(days["store"], plan["store"]))
    features = features_with_plan(days, plan, origins, horizon)
    pooled = fit_pooled(features, origin=origin.date(), recipe=recipe, horizon=horizon, **options)
    if stores is not None:
        features = features[features["store"].isin(list(stores))]
    return pooled, predict_features(pooled, features, origins)


def predict_features(
    pooled: PooledModel | None,
    features: pd.DataFrame,
    origins: pd.Series,
    *,
    store_models: pd.DataFrame | None = None,
    error_measure: ErrorMeasure = "rmspe",
) -> pd.DataFrame:
    """Forecast the feature rows after each store's origin.

    Args:
        pooled: The pooled model; without one, the stores' own models forecast alone.
        features: Feature rows before and after the origins. Sales after an origin are not read.
        origins: Last day whose sales may be used, by store id, for every store of `features`.
        store_models: Result of `fit_stores`. By default the stores' models are fitted here, on
            all rows of `features` up to the origins.
        error_measure: The error measure that `point` minimizes.

    Returns:
        One row per store and day after its origin, as `forecasting.prediction.forecast`
        describes it.

    Raises:
        ValueError: A store has no origin, no model while `pooled` is None, or a model that was
            trained on days after the origin.
    """
    if store_models is None:
        store_models = fit_stores(features, pooled, origin=origins)
    return forecast(
        features, store_models, pooled, features, origins=origins, error_measure=error_measure
    )
