"""The forecast: per-store models, recent levels and calibrated quantiles put together."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from forecast_assets.core.columns import FORECAST_COLUMNS, QUANTILE_COLUMNS
from forecast_assets.core.intervals import (
    Calibration,
    ErrorMeasure,
    day_kinds,
    point_of,
    quantiles_of,
    row_scale,
)
from forecast_assets.core.linear import Array
from forecast_assets.core.panel import HALF_LIVES, Panel
from forecast_assets.core.pooled import PooledModel
from forecast_assets.core.store_models import (
    LEVEL_DAYS,
    StoreFit,
    coefficients_of,
    linear_terms,
    origin_array,
    recent_levels,
)

DEFAULT_HORIZON = 42


def store_fit(
    store_models: pd.DataFrame, pooled: PooledModel | None, stores: npt.NDArray[np.int32]
) -> StoreFit:
    """Line up models with stores; a store without one gets the population's mean.

    Args:
        store_models: Result of :func:`forecast_assets.core.store_models.fit_stores`.
        pooled: The pooled model, for stores without a model of their own.
        stores: Store ids, increasing.

    Raises:
        ValueError: A store has no model and there is no pooled model either.
    """
    known = store_models.drop_duplicates("store", keep="last").set_index("store")
    position = known.index.get_indexer(pd.Index(stores))
    missing = position < 0
    if missing.any() and pooled is None:
        raise ValueError(f"store {stores[missing][0]} has no model, and there is no pooled model")
    coefficients = np.empty((len(stores), len(HALF_LIVES), 0))
    scale = np.empty(len(stores))
    n_days = np.zeros(len(stores), np.int64)
    if pooled is not None:
        mean = np.stack([population.mean for population in pooled.populations])
        coefficients = np.repeat(mean[None], len(stores), axis=0)
        scale[:] = pooled.population_scale
    found = np.flatnonzero(~missing)
    if len(found):
        own = coefficients_of(known.iloc[position[found]])
        if pooled is None:
            coefficients = np.empty((len(stores), *own.shape[1:]))
        coefficients[found] = own
        scale[found] = known["residual_scale"].to_numpy(np.float64)[position[found]]
        n_days[found] = known["n_days"].to_numpy(np.int64)[position[found]]
    return StoreFit(stores, coefficients, scale, n_days)


def forecast(
    history_features: pd.DataFrame,
    store_models: pd.DataFrame,
    pooled: PooledModel | None,
    future_features: pd.DataFrame,
    *,
    origins: pd.Series,
    error_measure: ErrorMeasure = "rmspe",
) -> pd.DataFrame:
    """Forecast every row of ``future_features`` after its store's origin.

    Args:
        history_features: Feature rows up to the origins; rows after a store's origin are
            ignored. The last 28 days set the level.
        store_models: Result of :func:`forecast_assets.core.store_models.fit_stores`.
        pooled: The pooled model. Without it the stores' own models forecast alone, with normal
            quantiles widened by 1.3, and every store needs a model.
        future_features: Feature rows of the coming days; rows up to the origin are ignored.
        origins: Last known day by store id, for every store of ``future_features``.
        error_measure: What ``point`` is best for: ``rmspe``, ``median`` or ``mean``.

    Returns:
        One row a store and coming day, sorted, with ``FORECAST_COLUMNS``: store (int32), origin
        and date (datetime64[ns]), horizon (int16), open (int16), point, mean and quantiles in
        sales (float64), plan_assumed (bool). Quantiles never cross; closed days are 0 throughout.

    Raises:
        ValueError: A store has no origin, no model while ``pooled`` is None, or the models were
            made by another version or know days after the origin.
    """
    future = Panel.of(future_features)
    day_origin = origin_array(future.stores, origins)
    if (
        pooled is not None
        and len(day_origin)
        and day_origin.min() < np.datetime64(pooled.trained_until)
    ):
        raise ValueError(
            f"the pooled model was trained until {pooled.trained_until}, after origin "
            f"{day_origin.min()}: its forecasts would know the future"
        )
    fit = store_fit(store_models, pooled, future.stores)
    level = _levels(history_features, fit, day_origin)
    terms = linear_terms(future.x, future.store, fit.coefficients)
    log_point = (terms + level[future.store]).mean(axis=1)

    calibration = Calibration.default() if pooled is None else pooled.calibration
    horizon = DEFAULT_HORIZON if pooled is None else pooled.horizon
    origin = day_origin[future.store]
    step = (future.day - origin).astype(np.int64)
    kinds = day_kinds(future.frame, step, horizon)
    scale = row_scale(calibration, fit.scale[future.store], kinds)
    sold = (future.frame["open"].to_numpy() == 1).astype(np.float64)
    quantiles = quantiles_of(calibration, log_point, scale) * sold[:, None]
    out = pd.DataFrame(
        {
            "store": future.frame["store"].to_numpy(np.int32),
            "origin": origin.astype("datetime64[ns]"),
            "date": future.frame["date"],
            "horizon": step.astype(np.int16),
            "open": future.frame["open"].to_numpy(np.int16),
            "point": point_of(calibration, log_point, scale, error_measure) * sold,
            "mean": point_of(calibration, log_point, scale, "mean") * sold,
            **{name: quantiles[:, k] for k, name in enumerate(QUANTILE_COLUMNS)},
            "plan_assumed": future.frame["plan_assumed"].to_numpy(bool),
        }
    )
    return out.loc[step >= 1, list(FORECAST_COLUMNS)].reset_index(drop=True)


def _levels(
    history_features: pd.DataFrame, fit: StoreFit, origins: npt.NDArray[np.datetime64]
) -> Array:
    """Average each store's residuals of the last days before its origin."""
    origin = history_features["store"].map(pd.Series(origins.astype("datetime64[ns]"), fit.stores))
    age = (origin - history_features["date"]).dt.days
    recent = Panel.of(history_features[(age >= 0) & (age < LEVEL_DAYS)])
    known = np.flatnonzero(~np.isnan(recent.y))
    position = np.searchsorted(fit.stores, recent.stores)[recent.store[known]]
    residual = recent.y[known, None] - linear_terms(recent.x[known], position, fit.coefficients)
    return recent_levels(residual, position, len(fit.stores))
