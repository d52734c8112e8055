"""Split-conformal calibration: from a log point to quantiles, means and the point forecast.

Residuals of past origins are divided by the store's scale and by a factor for the kind of day.
Their quantiles tell how far each forecast quantile lies from the centre (Lei et al. 2018,
"Distribution-free predictive inference for regression", JASA 113; scaled residuals as in their
section 5.2). The forecasts from past origins are made in `models/lookback.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from forecasting.arrays import Array
from forecasting.columns import QUANTILES

ErrorMeasure = Literal["rmspe", "median", "mean"]

#: Number of kinds of day with a factor of their own: weekday × promo; ordinary, special or around
#: Christmas; lead-time third.
KINDS = {"weekday_promo": 14, "special": 3, "third": 3}
_SPECIAL, _CHRISTMAS = 1, 2
#: Days before and after Christmas that form a kind of their own. No model has seen a Christmas
#: before its first one, and those errors must not widen the intervals of other days.
_CHRISTMAS_DAYS = 10
#: Number of residuals below which widened quantiles of the normal distribution are used.
MIN_RESIDUALS = 300
_UNCALIBRATED_WIDENING = 1.3
#: Share of all residuals at which a kind of day weighs as much as the prior factor 1. Residuals
#: of one day are correlated, so the share stands for days. It is about five of 6 × 42 days.
_FACTOR_PRIOR = 0.02
#: Bounds of the centre corrections. A larger correction points to another fault.
_POINT_RANGE = (0.97, 1.02)
_MEAN_RANGE = (0.97, 1.03)
#: Share of the past bias of totals that is corrected. With few windows, much of the bias is chance.
_MEAN_TRUST = 0.5
#: Levels from which means are computed: the middles of 100 equal slices of the distribution.
SHAPE_LEVELS = (np.arange(100) + 0.5) / 100
_SCALE_GRID = np.linspace(0.0, 1.0, 401)
#: Cap on a day's relative error. A day that sold less than half of its forecast, such as a store
#: closed at noon, tells nothing about other days.
_RELATIVE_CAP = 2.0


@dataclass(frozen=True)
class Calibration:
    """Positions of the quantiles, in units of a row's scale.

    Attributes:
        z: Position of each of `QUANTILES` relative to the log point, increasing.
        factors: Factors of the scale, for each of `KINDS` and each kind of day.
        shape: Positions of `SHAPE_LEVELS`, from which means are computed.
        point_factor: Correction of the point that minimizes RMSPE under `shape`.
        mean_factor: Correction of the mean under `shape` that makes past totals less biased.
        rows: Number of residuals that the calibration was learned from.
    """

    z: Array
    shape: Array
    factors: dict[str, Array]
    point_factor: float
    mean_factor: float
    rows: int

    @classmethod
    def default(cls) -> Calibration:
        """Return the calibration for models without past forecasts: widened normal quantiles."""
        return cls(
            _UNCALIBRATED_WIDENING * normal_quantiles(QUANTILES),
            normal_quantiles(SHAPE_LEVELS),
            {name: np.ones(size) for name, size in KINDS.items()},
            1.0,
            1.0,
            0,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the calibration as values that JSON can hold."""
        return {
            "z": self.z.tolist(),
            "shape": self.shape.tolist(),
            "factors": {name: values.tolist() for name, values in self.factors.items()},
            "point_factor": self.point_factor,
            "mean_factor": self.mean_factor,
            "rows": self.rows,
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Calibration:
        """Read what `to_dict` returned."""
        return cls(
            np.array(content["z"]),
            np.array(content["shape"]),
            {name: np.array(values) for name, values in content["factors"].items()},
            content["point_factor"],
            content["mean_factor"],
            content["rows"],
        )


def _centred(unit: Array) -> Array:
    out: Array = unit - np.median(unit)
    return out


def normal_quantiles(levels: Iterable[float]) -> Array:
    """Return the quantiles of the standard normal distribution."""
    # scipy.stats takes a second to import, which every run's process would pay.
    return np.array([NormalDist().inv_cdf(float(level)) for level in levels])


def day_kinds(
    features: pd.DataFrame, step: npt.NDArray[np.int64], horizon: int
) -> dict[str, npt.NDArray[np.int64]]:
    """Classify rows for the scale's factors.

    Args:
        features: Feature rows.
        step: Lead time of each row in days, 1 and up.
        horizon: The horizon that the model was calibrated for.

    Returns:
        For each of `KINDS`, an index for each row.
    """
    to_christmas = features["days_to_christmas"].to_numpy()
    christmas = (to_christmas <= _CHRISTMAS_DAYS) | (to_christmas >= 364 - _CHRISTMAS_DAYS)
    special = (
        (features["days_to_holiday"].to_numpy() <= 1)
        | (features["days_since_holiday"].to_numpy() <= 1)
        | (features["days_since_refurbishment"].to_numpy() <= 14)
        | (features["closed_days_before"].to_numpy() >= 2)
    )
    weekday = features["day_of_week"].to_numpy().astype(np.int64) - 1
    return {
        "weekday_promo": 2 * weekday + features["promo"].to_numpy(),
        "special": np.where(christmas, _CHRISTMAS, special.astype(np.int64)),
        "third": np.clip(3 * (step - 1) // horizon, 0, 2),
    }


def row_scale(
    calibration: Calibration, scale: Array, kinds: dict[str, npt.NDArray[np.int64]]
) -> Array:
    """Multiply each row's scale by the factors of its kind of day."""
    out = scale.copy()
    for name, index in kinds.items():
        out *= calibration.factors[name][index]
    return out


def calibrate(
    log_actual: Array,
    log_point: Array,
    scale: Array,
    kinds: dict[str, npt.NDArray[np.int64]],
) -> Calibration:
    """Learn quantile positions and centre corrections from forecasts of past origins.

    Quantiles are centred on the log point. The common error of all stores over a few months is
    chance and does not predict their next common error.

    Args:
        log_actual: Log of the actual sales, shape (rows,).
        log_point: Log forecasts that were made before those sales.
        scale: Residual scale of each row's store, as known at the origin.
        kinds: Result of `day_kinds`.

    Returns:
        The calibration; the default one with fewer than `MIN_RESIDUALS` rows.
    """
    if len(log_actual) < MIN_RESIDUALS:
        return Calibration.default()
    n = len(log_actual)
    factors: dict[str, Array] = {name: np.ones(size) for name, size in KINDS.items()}
    unit = _centred((log_actual - log_point) / scale)
    # Kinds are not independent, so a second pass fits each factor beside the others.
    for _ in range(2):
        for name, index in kinds.items():
            overall = float(np.quantile(np.abs(unit), 0.8))
            for k in range(len(factors[name])):
                mine = np.abs(unit[index == k])
                if len(mine) == 0 or overall == 0.0:
                    continue
                ratio = float(np.quantile(mine, 0.8)) / overall
                weight = len(mine) / (len(mine) + _FACTOR_PRIOR * n)
                change = max(ratio, 0.1) ** weight
                factors[name][k] *= change
                unit = np.where(index == k, unit / change, unit)
    if not (kinds["special"] == _CHRISTMAS).any():
        # No past horizon reached Christmas, which is at least as uncertain as other special days.
        factors["special"][_CHRISTMAS] = factors["special"][_SPECIAL]
    unit = _centred(unit)
    levels = np.array(QUANTILES)
    # Split-conformal's finite-sample ranks move the levels outwards by one residual.
    outer = np.clip(np.where(levels > 0.5, levels * (n + 1) / n, (levels * (n + 1) - 1) / n), 0, 1)
    z = np.maximum.accumulate(np.quantile(unit, outer))
    shape = np.quantile(unit, SHAPE_LEVELS)
    first = Calibration(z, shape, factors, 1.0, 1.0, n)
    scale = row_scale(first, scale, kinds)
    centred = np.exp(log_point + scale * unit)
    relative = np.minimum(point_of(first, log_point, scale, "rmspe") / centred, _RELATIVE_CAP)
    point = float(relative.sum() / (relative**2).sum())
    actual = np.exp(log_actual)
    total = float(actual.sum() / point_of(first, log_point, scale, "mean").sum())
    mean = total**_MEAN_TRUST
    return replace(
        first,
        point_factor=float(np.clip(point, *_POINT_RANGE)),
        mean_factor=float(np.clip(mean, *_MEAN_RANGE)),
    )


def _shape_moment(calibration: Calibration, scale: Array, power: float) -> Array:
    """Average exp(power · scale · z) over the calibrated shape, for each row's scale.

    The average is a smooth function of the scale alone, so it is interpolated on a grid. A scale
    beyond the grid counts as the grid's end.
    """
    values = np.exp(power * _SCALE_GRID[:, None] * calibration.shape).mean(axis=1)
    return np.interp(scale, _SCALE_GRID, values)


def quantiles_of(calibration: Calibration, log_point: Array, scale: Array) -> Array:
    """Return the quantiles of each row, increasing and positive, shape (rows, quantiles)."""
    return np.exp(log_point[:, None] + scale[:, None] * calibration.z)


def point_of(
    calibration: Calibration, log_point: Array, scale: Array, measure: ErrorMeasure
) -> Array:
    """Return the point forecast that minimizes an error measure.

    Args:
        calibration: The calibration.
        log_point: Log forecasts.
        scale: Scale of each row, with its kind's factor.
        measure: `rmspe` (a little under the median, since it punishes over-forecasts),
            `median` (absolute errors) or `mean` (totals).

    Raises:
        ValueError: The measure is unknown.
    """
    if measure == "rmspe":
        # The minimum of E[((y - p) / y)^2] is p = E[1 / y] / E[1 / y^2].
        factor = _shape_moment(calibration, scale, -1.0) / _shape_moment(calibration, scale, -2.0)
        return calibration.point_factor * factor * np.exp(log_point)
    if measure == "mean":
        return calibration.mean_factor * _shape_moment(calibration, scale, 1.0) * np.exp(log_point)
    if measure == "median":
        median = calibration.z[QUANTILES.index(0.5)]
        return np.exp(log_point + scale * median)
    raise ValueError(f"unknown error measure {measure!r}; use rmspe, median or mean")
