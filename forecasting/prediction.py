"""The forecast frame from fitted models: log points, calibrated quantiles, point and mean.

The models are fitted in `models/`. Callers compose fitting and forecasting through `pipeline.py`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from forecasting.arrays import Array, Dates
from forecasting.calibration import (
    Calibration,
    ErrorMeasure,
    day_kinds,
    point_of,
    quantiles_of,
    row_scale,
)
from forecasting.columns import FORECAST_COLUMNS, QUANTILE_COLUMNS
from forecasting.features.panel import Panel
from forecasting.models.at_origin import RESIDUAL_DAYS, ridge_log_point, stack_inputs
from forecasting.models.boosting import stack_correction
from forecasting.models.closures import ClosureEffect, closure_bins
from forecasting.models.limits import store_limits
from forecasting.models.pooled import DEFAULT_HORIZON, MIN_HISTORY_DAYS, PooledModel
from forecasting.models.store_fit import StoreFit, scale_with_season
from forecasting.models.store_models import origin_array, refuse_later_model, store_fit


def forecast(
    history_features: pd.DataFrame,
    store_models: pd.DataFrame,
    pooled: PooledModel | None,
    future_features: pd.DataFrame,
    *,
    origins: pd.Series,
    error_measure: ErrorMeasure = "rmspe",
) -> pd.DataFrame:
    """Forecast every row of `future_features` after its store's origin.

    Args:
        history_features: Feature rows up to the origins; rows after a store's origin are
            ignored. The last 400 days are enough.
        store_models: Result of `fit_stores`.
        pooled: The pooled model. Without it the stores' own models forecast alone, with normal
            quantiles widened by 1.3, and every store needs a model.
        future_features: Feature rows of the horizon; rows up to the origin are ignored.
        origins: Last day whose sales may be used, by store id, for every store of
            `future_features`.
        error_measure: The error measure that `point` minimizes: `rmspe`, `median` or `mean`.

    Returns:
        One row per store and day after its origin, sorted, with `FORECAST_COLUMNS`: store
        (int32), origin and date (datetime64[ns]), horizon (int16), open (int16), point, mean and
        quantiles in sales (float64), plan_assumed and limited (bool). Quantiles never cross, no
        value is above the store's limit, and all values of a closed day are 0.

    Raises:
        ValueError: A store has no origin, or no model while `pooled` is None; or a model was made
            by another version of the code or trained on days after an origin.
    """
    stores = np.unique(future_features["store"].to_numpy(np.int32))
    day_origin = origin_array(stores, origins)
    refuse_later_model(pooled, day_origin)
    panel = forecast_panel(history_features, future_features, stores, day_origin)
    fit = store_fit(store_models, pooled, panel.stores)
    rows = np.flatnonzero(panel.day > day_origin[panel.store])
    log_point = log_points(panel, fit, pooled, day_origin, rows)
    origin = day_origin[panel.store[rows]]
    scale = fit.scale[panel.store[rows]]
    if pooled is not None:
        scale = scale_with_season(scale, panel.x[rows], pooled.season_covariance)
    peaks = None if pooled is None else pooled.peaks
    limit = store_limits(store_models, peaks, panel.stores)[panel.store[rows]]
    return _forecast_frame(
        panel.frame.iloc[rows], origin, log_point, scale, limit, pooled, error_measure=error_measure
    )


def _forecast_frame(
    features: pd.DataFrame,
    origin: Dates,
    log_point: Array,
    scale: Array,
    limit: Array,
    pooled: PooledModel | None,
    *,
    error_measure: ErrorMeasure,
) -> pd.DataFrame:
    """Turn log points into the forecast frame: point, mean and calibrated quantiles.

    Args:
        features: Feature rows to forecast.
        origin: Origin of each row.
        log_point: Log forecast of each row.
        scale: Residual scale of each row's store and season.
        limit: Largest value that each row may have.
        pooled: The pooled model; without one, quantiles are the widened normal ones.
        error_measure: The error measure that `point` minimizes.
    """
    calibration = Calibration.default() if pooled is None else pooled.calibration
    horizon = DEFAULT_HORIZON if pooled is None else pooled.horizon
    step = (features["date"].to_numpy("datetime64[D]") - origin).astype(np.int64)
    scale = row_scale(calibration, scale, day_kinds(features, step, horizon))
    is_open = (features["open"].to_numpy() == 1).astype(np.float64)
    values = np.column_stack(
        [
            point_of(calibration, log_point, scale, error_measure),
            point_of(calibration, log_point, scale, "mean"),
            quantiles_of(calibration, log_point, scale),
        ]
    )
    closures = ClosureEffect.default() if pooled is None else pooled.closures
    _apply_closures(values, closures, closure_bins(features), error_measure)
    values *= is_open[:, None]
    limited = (values > limit[:, None]).any(axis=1)
    values = np.minimum(values, limit[:, None])
    out = pd.DataFrame(
        {
            "store": features["store"].to_numpy(np.int32),
            "origin": origin.astype("datetime64[ns]"),
            "date": features["date"].to_numpy(),
            "horizon": step.astype(np.int16),
            "open": features["open"].to_numpy(np.int16),
            **{name: values[:, k] for k, name in enumerate(("point", "mean", *QUANTILE_COLUMNS))},
            "plan_assumed": features["plan_assumed"].to_numpy(bool),
            "limited": limited,
        }
    )
    return out[list(FORECAST_COLUMNS)]


def _apply_closures(
    values: Array,
    closures: ClosureEffect,
    bins: npt.NDArray[np.int64],
    error_measure: ErrorMeasure,
) -> None:
    """Apply the effect of the last days before long closures to point, mean and quantiles.

    Args:
        values: Columns point, mean and the quantiles; changed in place.
        closures: The effect.
        bins: Result of `closure_bins`.
        error_measure: The error measure that the point minimizes.
    """
    rows = np.flatnonzero(bins >= 0)
    bins = bins[rows]
    values[rows, 0] *= closures.point_factor(error_measure)[bins]
    values[rows, 1] *= closures.point_factor("mean")[bins]
    values[rows, 2:] = np.exp(closures.widened(np.log(values[rows, 2:]), bins))


def forecast_panel(
    history: pd.DataFrame,
    future: pd.DataFrame,
    stores: npt.NDArray[np.int32],
    origins: npt.NDArray[np.datetime64],
) -> Panel:
    """Join the recent past and the horizon of the stores to forecast into one panel."""
    by_store = pd.Series(origins.astype("datetime64[ns]"), stores)
    origin = history["store"].map(by_store)
    oldest = origin - pd.Timedelta(days=RESIDUAL_DAYS)
    past = history[(history["date"] <= origin) & (history["date"] > oldest)]
    ahead = future[future["date"] > future["store"].map(by_store)]
    targets = {"log_sales": np.float32("nan"), "log_customers": np.float32("nan")}
    return Panel.of(pd.concat([past, ahead.assign(**targets)], ignore_index=True))


def log_points(
    panel: Panel,
    fit: StoreFit,
    pooled: PooledModel | None,
    origins: npt.NDArray[np.datetime64],
    rows: npt.NDArray[np.int64],
) -> Array:
    """Forecast rows on the log scale, origin by origin."""
    log_point = np.empty(len(rows))
    for origin in np.unique(origins):
        selected = np.flatnonzero((origins == origin)[panel.store[rows]])
        if pooled is None or not pooled.boosters:
            log_point[selected] = ridge_log_point(panel, fit, origin, rows[selected])
            continue
        x, linear = stack_inputs(panel, fit, origin, rows[selected])
        correction = stack_correction(pooled.boosters, x) - pooled.stack_offset
        correction *= pooled.stack_weight
        # The trees were trained on stores with a history, and correct only those.
        corrected = fit.n_days[panel.store[rows[selected]]] >= MIN_HISTORY_DAYS
        # Nor have they seen the last days before a long closure.
        corrected &= ~panel.before_closure[rows[selected]]
        log_point[selected] = linear + np.where(corrected, correction, 0.0)
    return log_point
