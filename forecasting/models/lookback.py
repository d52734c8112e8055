"""Forecasts from past origins, and the calibration that is learned from their errors.

`training.py` fits the models that make these forecasts. `forecasting/calibration.py` computes a
calibration from residuals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from forecasting.arrays import Array
from forecasting.calibration import (
    Calibration,
    calibrate,
    day_kinds,
    point_of,
    quantiles_of,
    row_scale,
)
from forecasting.columns import QUANTILES
from forecasting.features.panel import Panel
from forecasting.models.at_origin import ridge_log_point, stack_inputs
from forecasting.models.pooled import Recipe
from forecasting.models.store_fit import StoreFit, scale_with_season
from forecasting.scoring import bias, coverage, rmspe, wape

#: Factor on a store's scale from which on the season is the larger part of a row's variance.
_UNSEEN_SCALE = 2.0**0.5


@dataclass(frozen=True)
class LookBack:
    """Forecasts of the linear models from a past origin, with the actual sales.

    Attributes:
        origin: The past origin.
        store: Position of each row's store.
        day: Day of each row.
        x: Inputs of the trees; no columns for the recipe `ridge`.
        log_point: Log forecast of each row.
        log_actual: Log of the actual sales of each row.
        scale: Residual scale of each row's store and season, as known at the origin.
        kinds: Result of `day_kinds`.
        is_seen: False for rows of a season that the chain had hardly seen at the origin.
    """

    origin: np.datetime64
    store: npt.NDArray[np.int64]
    day: npt.NDArray[np.datetime64]
    x: npt.NDArray[np.float32]
    log_point: Array
    log_actual: Array
    scale: Array
    kinds: dict[str, npt.NDArray[np.int64]]
    is_seen: npt.NDArray[np.bool_]

    def take(self, rows: npt.NDArray[Any]) -> LookBack:
        """Copy some rows."""
        return LookBack(
            self.origin,
            self.store[rows],
            self.day[rows],
            self.x[rows],
            self.log_point[rows],
            self.log_actual[rows],
            self.scale[rows],
            {name: kind[rows] for name, kind in self.kinds.items()},
            self.is_seen[rows],
        )


def look_back(
    panel: Panel,
    fit: StoreFit,
    season_covariance: Array,
    origin: np.datetime64,
    horizon: int,
    recipe: Recipe,
) -> LookBack:
    """Forecast from a past origin with the linear models.

    The result covers the days within the horizon that have sales.

    Args:
        panel: The panel.
        fit: Models fitted at `origin` or before, for the panel's stores.
        season_covariance: What the chain did not know of its seasons at the origin.
        origin: The origin.
        horizon: Days ahead.
        recipe: The recipe that the forecasts are for.
    """
    n = len(panel.stores)
    within = panel.days_between(np.full(n, origin), np.full(n, origin + horizon))
    rows = np.flatnonzero(within & (fit.n_days > 0)[panel.store])
    if recipe == "stack":
        x, log_point = stack_inputs(panel, fit, origin, rows)
    else:
        x = np.empty((len(rows), 0), np.float32)
        log_point = ridge_log_point(panel, fit, origin, rows)
    step = (panel.day[rows] - origin).astype(np.int64)
    own_scale = fit.scale[panel.store[rows]]
    scale = scale_with_season(own_scale, panel.x[rows], season_covariance)
    return LookBack(
        origin,
        panel.store[rows],
        panel.day[rows],
        x,
        log_point,
        panel.y[rows],
        scale,
        day_kinds(panel.frame.iloc[rows], step, horizon),
        scale < _UNSEEN_SCALE * own_scale,
    )


def _measures(
    calibration: Calibration, log_actual: Array, log_point: Array, scale: Array
) -> dict[str, float]:
    """Score past forecasts under a calibration; `scale` includes the factors of the day kinds."""
    actual = np.exp(log_actual)
    quantiles = quantiles_of(calibration, log_point, scale)
    low_80, high_80, low_95, high_95 = (
        quantiles[:, QUANTILES.index(level)] for level in (0.1, 0.9, 0.025, 0.975)
    )
    return {
        "rmspe": rmspe(actual, point_of(calibration, log_point, scale, "rmspe")),
        "wape": wape(actual, point_of(calibration, log_point, scale, "median")),
        "bias": bias(actual, point_of(calibration, log_point, scale, "mean")),
        "coverage_80": coverage(actual, low_80, high_80),
        "coverage_95": coverage(actual, low_95, high_95),
    }


def calibrate_on(
    held_out: list[LookBack], log_points: list[Array]
) -> tuple[Calibration, dict[str, float], tuple[dict[str, Any], ...]]:
    """Calibrate on past origins, then score the forecasts of all of them and of each one.

    Args:
        held_out: Forecasts from the origins to calibrate on.
        log_points: Log forecasts of each origin, corrected by the trees for the recipe `stack`.

    Returns:
        The calibration, the scores over all origins, and the scores of each origin.
    """
    if not held_out:
        return Calibration.default(), {}, ()
    log_actual = np.concatenate([part.log_actual for part in held_out])
    log_point = np.concatenate(log_points)
    scale = np.concatenate([part.scale for part in held_out])
    kinds = {
        name: np.concatenate([part.kinds[name] for part in held_out]) for name in held_out[0].kinds
    }
    calibration = calibrate(log_actual, log_point, scale, kinds)
    scale = row_scale(calibration, scale, kinds)
    metrics = _measures(calibration, log_actual, log_point, scale)
    metrics["calibration_rows"] = float(len(log_actual))
    by_origin: list[dict[str, Any]] = []
    end = 0
    for part in held_out:
        rows = slice(end, end + len(part.log_actual))
        end = rows.stop
        if len(part.log_actual):
            measured = _measures(calibration, log_actual[rows], log_point[rows], scale[rows])
            by_origin.append({"origin": str(part.origin), **measured})
    return calibration, metrics, tuple(by_origin)
