"""Frames of store models: one linear model per store, shrunk to what stores have in common.

A store has one set of coefficients per half-life of `HALF_LIVES`. A forecast averages them and
adds the level, the mean residual of the last weeks. The same models as arrays live in
`store_fit.py`.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from forecasting.arrays import Array, Dates
from forecasting.features.panel import Panel
from forecasting.features.regressors import DESIGN_COLUMNS
from forecasting.models.limits import own_peaks
from forecasting.models.moments import HALF_LIVES, RollingMoments
from forecasting.models.store_fit import StoreFit, fit_alone, fit_arrays

if TYPE_CHECKING:
    from forecasting.models.pooled import PooledModel


#: Columns of the result of `fit_stores`, with NumPy's type names.
STORE_MODEL_COLUMNS = {
    "store": "int32",
    "trained_until": "datetime64[ns]",
    "n_days": "int32",
    "coefficients": "object",
    "residual_scale": "float64",
    "largest_day": "float64",
    "median_day": "float64",
}


def origin_array(
    stores: npt.NDArray[np.int32], origin: date | pd.Series
) -> npt.NDArray[np.datetime64]:
    """Return each store's origin (datetime64[D]) from one date or a Series by store.

    Raises:
        ValueError: A store has no origin.
    """
    if isinstance(origin, pd.Series):
        by_store = pd.to_datetime(origin).reindex(stores)
        if by_store.isna().any():
            raise ValueError(f"no origin for store {by_store.index[by_store.isna()][0]}")
        return by_store.to_numpy("datetime64[D]")
    return np.full(len(stores), np.datetime64(pd.Timestamp(origin).date(), "D"))


def refuse_later_model(pooled: PooledModel | None, origins: Dates) -> None:
    """Refuse a pooled model that was trained on days after an origin.

    Raises:
        ValueError: The pooled model was trained later than the earliest origin.
    """
    if pooled is not None and len(origins) and origins.min() < np.datetime64(pooled.trained_until):
        raise ValueError(
            f"the pooled model was trained until {pooled.trained_until}, after origin "
            f"{origins.min()}: its forecasts would know the future"
        )


def fit_stores(
    features: pd.DataFrame,
    pooled: PooledModel | None,
    *,
    origin: date | pd.Series,
) -> pd.DataFrame:
    """Fit every store's linear models on its days up to its origin.

    Args:
        features: Feature rows of `day_features`; rows after a store's origin are ignored.
        pooled: The model to shrink to; without one, each store is fitted alone.
        origin: One last day for all stores, or a Series of last days by store id.

    Returns:
        One row per store with sales up to its origin: store (int32), trained_until
        (datetime64[ns]), n_days (int32, days of sales used), coefficients (list of half-lives ×
        regressors floats, one half-life after the other), residual_scale (float64, log units),
        largest_day and median_day (float64, sales of the store's days). The frame is empty if no
        store has sales.

    Raises:
        ValueError: A store has no origin, or the pooled model was trained later than an origin.
    """
    store_ids = np.unique(features["store"].to_numpy(np.int32))
    origins = origin_array(store_ids, origin)
    refuse_later_model(pooled, origins)
    until = features["store"].map(pd.Series(origins.astype("datetime64[ns]"), store_ids))
    panel = Panel.of(features[(features["date"] <= until) & features["log_sales"].notna()])
    if not len(panel.stores):
        return pd.DataFrame(columns=list(STORE_MODEL_COLUMNS)).astype(STORE_MODEL_COLUMNS)
    origins = origins[np.isin(store_ids, panel.stores)]
    rolling = RollingMoments(panel)
    moments = rolling.add_until(origins)
    if pooled is None:
        fit = fit_alone(panel.stores, moments, rolling.n_days)
    else:
        fit = fit_arrays(panel.stores, moments, pooled.populations, pooled.typical, rolling.n_days)
    largest, median, n_days = own_peaks(panel)
    return pd.DataFrame(
        {
            "store": fit.stores,
            "trained_until": origins.astype("datetime64[ns]"),
            "n_days": n_days.astype(np.int32),
            "coefficients": list(fit.coefficients.reshape(len(fit.stores), -1).tolist()),
            "residual_scale": fit.scale,
            "largest_day": largest,
            "median_day": median,
        }
    )


def coefficients_of(store_models: pd.DataFrame) -> Array:
    """Return the coefficients of a frame of store models, shape (stores, half-lives, regressors).

    Raises:
        ValueError: The coefficients belong to the regressors of another version.
    """
    p = len(DESIGN_COLUMNS)
    shape = (len(store_models), len(HALF_LIVES), p)
    flat = np.array(store_models["coefficients"].tolist(), np.float64)
    if flat.size != shape[0] * shape[1] * shape[2]:
        raise ValueError(
            f"store models have {flat.shape[-1]} coefficients, this version needs "
            f"{shape[1] * shape[2]}: fit them again"
        )
    return flat.reshape(shape)


def store_fit(
    store_models: pd.DataFrame, pooled: PooledModel | None, stores: npt.NDArray[np.int32]
) -> StoreFit:
    """Align models with stores; a store without a model gets the population's mean.

    Args:
        store_models: Result of `fit_stores`.
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
    present = np.flatnonzero(~missing)
    if len(present):
        own = coefficients_of(known.iloc[position[present]])
        if pooled is None:
            coefficients = np.empty((len(stores), *own.shape[1:]))
        coefficients[present] = own
        scale[present] = known["residual_scale"].to_numpy(np.float64)[position[present]]
        n_days[present] = known["n_days"].to_numpy(np.int64)[position[present]]
    return StoreFit(stores, coefficients, scale, n_days)
