"""The one composition of features, fit and predict.

Evaluation, submissions, the sktime estimators, the MLflow model and the warehouse's forecaster
all call these functions. The steps themselves live in `features/`, `models/` and `prediction.py`.

Functions that take `days` compute features from the day panel. Functions that take `features`
start from feature rows that are already computed, as the database holds them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date

import numpy as np
import pandas as pd

from forecasting.calibration import ErrorMeasure
from forecasting.features.plans import features_with_plan
from forecasting.models.boosting import DEFAULT_TREES
from forecasting.models.pooled import PooledModel, Recipe
from forecasting.models.store_models import fit_stores
from forecasting.models.training import fit_pooled
from forecasting.prediction import DEFAULT_HORIZON, forecast


def fit(
    days: pd.DataFrame,
    plan: pd.DataFrame,
    origin: pd.Timestamp,
    recipe: Recipe = "ridge",
    *,
    horizon: int = DEFAULT_HORIZON,
    trees: int = DEFAULT_TREES,
    seed: int = 0,
    threads: int = 2,
    progress: Callable[[str], None] | None = None,
) -> PooledModel:
    """Fit what all stores share on the days up to an origin.

    Args:
        days: Day panel; rows after the origin are ignored.
        plan: Planned days after the origin; may be empty.
        origin: Last day whose sales may be seen.
        recipe: `ridge` takes seconds, `stack` minutes.
        horizon: Days ahead to calibrate for.
        trees: Trees of each booster of the stack.
        seed: Seed of every random choice.
        threads: Threads for LightGBM.
        progress: Called with a line of text as the work goes on.

    Raises:
        ValueError: No store has sales up to the origin.
    """
    origins = pd.Series(origin, index=np.unique(days["store"]))
    return fit_features(
        features_with_plan(days, plan, origins, horizon),
        origin.date(),
        recipe,
        horizon=horizon,
        trees=trees,
        seed=seed,
        threads=threads,
        progress=progress,
    )


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
        origins: Last known day by store id.
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
    trees: int = DEFAULT_TREES,
    seed: int = 0,
    threads: int = 2,
    progress: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Train on the days up to an origin and forecast the days after it.

    Gives the same as `fit` followed by `predict`, but computes the features once.

    Args:
        days: Day panel; rows after the origin are ignored.
        plan: Planned days after the origin. Its stores without sales are forecast too.
        origin: Last day whose sales may be seen.
        recipe: `ridge` takes seconds, `stack` minutes.
        horizon: Days ahead.
        stores: Stores to forecast; the pooled model is trained on all. By default all of them.
        trees: Trees of each booster of the stack.
        seed: Seed of every random choice.
        threads: Threads for LightGBM.
        progress: Called with a line of text as the work goes on.

    Returns:
        The forecast frame of `predict_features`, `horizon` rows per store.

    Raises:
        ValueError: No store has sales up to the origin.
    """
    origins = pd.Series(origin, index=np.union1d(days["store"], plan["store"]))
    features = features_with_plan(days, plan, origins, horizon)
    pooled = fit_features(
        features,
        origin.date(),
        recipe,
        horizon=horizon,
        trees=trees,
        seed=seed,
        threads=threads,
        progress=progress,
    )
    if stores is not None:
        features = features[features["store"].isin(list(stores))]
    return predict_features(pooled, features, origins)


def fit_features(
    features: pd.DataFrame,
    origin: date,
    recipe: Recipe = "ridge",
    *,
    horizon: int = DEFAULT_HORIZON,
    trees: int = DEFAULT_TREES,
    seed: int = 0,
    threads: int = 2,
    progress: Callable[[str], None] | None = None,
) -> PooledModel:
    """Fit what all stores share on feature rows; see `fit` for the arguments.

    Args:
        features: Feature rows of all stores; rows after the origin are ignored.
        origin: Last day whose sales may be seen.
        recipe: `ridge` or `stack`.
        horizon: Days ahead to calibrate for.
        trees: Trees of each booster of the stack.
        seed: Seed of every random choice.
        threads: Threads for LightGBM.
        progress: Called with a line of text as the work goes on.

    Raises:
        ValueError: No store has sales up to the origin.
    """
    return fit_pooled(
        features,
        origin=origin,
        horizon=horizon,
        seed=seed,
        recipe=recipe,
        trees=trees,
        threads=threads,
        progress=progress,
    )


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
        origins: Last known day by store id, for every store of `features`.
        store_models: Result of `fit_stores`; by default, the stores' models are fitted here,
            on all rows of `features` up to the origins.
        error_measure: The error measure that `point` minimizes.

    Returns:
        One row per store and day after its origin, with the columns of `FORECAST_COLUMNS`, as
        `forecasting.prediction.forecast` describes them.

    Raises:
        ValueError: A store has no origin, no model while `pooled` is None, or a model that knows
            days after the origin.
    """
    if store_models is None:
        store_models = fit_stores(features, pooled, origin=origins)
    return forecast(
        features, store_models, pooled, features, origins=origins, error_measure=error_measure
    )
