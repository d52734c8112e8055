"""Learning of joint errors at past origins: their correlations, and how wide totals must be.

The correlations themselves are in `dependence.py`, the sampling of paths is in `paths.py`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from forecasting.arrays import Array
from forecasting.calibration import (
    SHAPE_LEVELS,
    Calibration,
    normal_quantiles,
    quantiles_of,
    row_scale,
)
from forecasting.columns import QUANTILE_COLUMNS
from forecasting.models.dependence import Dependence, learn_dependence
from forecasting.models.lookback import LookBack
from forecasting.models.paths import totals

#: Names of the kinds of total whose width is corrected.
STORE_WEEK, GROUP_DAY, GROUP_WEEK = "store_week", "group_day", "group_week"
#: Past origins at which a measured width weighs as much as the width of the paths. The totals of
#: one origin err together, so origins count and not totals.
_WIDTH_PRIOR = {STORE_WEEK: 1.0, GROUP_DAY: 6.0, GROUP_WEEK: 6.0}
#: Bounds of the correction. A larger one points to another fault.
_WIDTH_RANGE = (0.6, 2.0)


def learn_joint(
    held_out: list[LookBack], log_points: list[Array], calibration: Calibration, horizon: int
) -> Dependence:
    """Learn how days and stores err together from forecasts of past origins.

    Seasons that the chain had not seen at an origin are left out: all stores err alike there, and
    that says nothing about other days.

    Args:
        held_out: Forecasts from the calibration origins.
        log_points: Log forecasts of each origin, corrected by the trees for the recipe `stack`.
        calibration: What was learned from the same forecasts about single days.
        horizon: Days ahead.
    """
    if calibration.rows == 0:
        return Dependence.default()
    log_points = [point[look.is_seen] for look, point in zip(held_out, log_points, strict=True)]
    held_out = [look.take(look.is_seen) for look in held_out]
    normal = normal_quantiles(SHAPE_LEVELS)
    scores, stores, leads = [], [], []
    for look, log_point in zip(held_out, log_points, strict=True):
        scale = row_scale(calibration, look.scale, look.kinds)
        unit = (look.log_actual - log_point) / scale
        scores.append(np.interp(unit, calibration.shape, normal))
        stores.append(look.store)
        leads.append((look.day - look.origin).astype(np.int64))
    dependence = learn_dependence(scores, stores, leads, horizon)
    parts: dict[str, list[Array]] = {STORE_WEEK: [], GROUP_DAY: [], GROUP_WEEK: []}
    for look, log_point in zip(held_out, log_points, strict=True):
        if len(look.day):
            for name, ratio in _past_ratios(look, log_point, calibration, dependence).items():
                parts[name].append(ratio)
    return replace(dependence, widening=_widening(parts))


def week_ends(day: pd.Series) -> pd.Series:
    """Return the Sunday that ends the week of each day."""
    out: pd.Series = day + pd.to_timedelta(6 - day.dt.dayofweek, unit="D")
    return out


def _past_ratios(
    look: LookBack, log_point: Array, calibration: Calibration, dependence: Dependence
) -> dict[str, Array]:
    """Compare past totals with their intervals.

    Returns:
        For each kind of total, the distance of the actual total from the median in units of the
        distance of that side's 80 % bound, in logs.
    """
    scale = row_scale(calibration, look.scale, look.kinds)
    quantiles = quantiles_of(calibration, log_point, scale)
    frame = pd.DataFrame(
        {
            "store": look.store,
            "origin": look.origin.astype("datetime64[ns]"),
            "date": look.day.astype("datetime64[ns]"),
            "mean": np.exp(look.log_actual),
            **{name: quantiles[:, k] for k, name in enumerate(QUANTILE_COLUMNS)},
        }
    )
    week = week_ends(frame["date"])
    keys = {
        STORE_WEEK: pd.DataFrame({"store": frame["store"], "week": week}),
        GROUP_DAY: frame[["date"]],
        GROUP_WEEK: pd.DataFrame({"week": week}),
    }
    out = {}
    for name, total in totals(frame, dependence, keys).items():
        # The frame's mean holds the actual sales, so the sum of the means is the actual total.
        error = np.log(total["mean"].to_numpy() / total["q0_5"].to_numpy())
        bound = np.where(
            error > 0, np.log(total["q0_9"] / total["q0_5"]), np.log(total["q0_5"] / total["q0_1"])
        )
        out[name] = np.abs(error) / np.maximum(bound, 1e-9)
    return out


def _widening(parts: dict[str, list[Array]]) -> dict[str, float]:
    """Return the factors at which the 80 % intervals hold 80 % of past totals, shrunk to 1."""
    out = {}
    for name, ratios in parts.items():
        if not ratios:
            continue
        factor = float(np.quantile(np.concatenate(ratios), 0.8))
        weight = len(ratios) / (len(ratios) + _WIDTH_PRIOR[name])
        out[name] = float(np.clip(max(factor, 1e-3) ** weight, *_WIDTH_RANGE))
    return out
