"""Inputs of the pooled LightGBM for a day, as known at an earlier origin.

These functions summarize sales up to an origin and read none after it. Training (from many past
origins) and forecasting (from the newest) share them. Features that need no origin live in
`features/daily.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from forecasting.arrays import Array
from forecasting.features.panel import Panel
from forecasting.features.regressors import DESIGN_COLUMNS
from forecasting.models.levels import LEVEL_DAYS, recent_levels
from forecasting.models.moments import HALF_LIFE_WEIGHTS, HALF_LIVES
from forecasting.models.store_fit import StoreFit, linear_terms

#: Windows, in days before the origin, over which residuals are averaged.
LEVEL_WINDOWS = (7, 14, 28, 56, 112)
#: Window over which residuals are averaged by store, weekday and promo.
KIND_DAYS = 84
#: Lag of the residuals a year ago, in days. 52 weeks keep the weekday.
YEAR_DAYS = 364
#: Days on each side over which those residuals are averaged.
YEAR_SIDES = (3, 10)
#: Days of residuals that the inputs need: a year, its sides and the weeks before it.
RESIDUAL_DAYS = YEAR_DAYS + 36
#: Bound to which residuals are clipped before they are averaged (log units).
RESIDUAL_BOUND = 0.5
#: Days with residual 0 that are added to each average.
KIND_PRIOR_DAYS = 2.0
#: Cap of the days since the last sale.
SINCE_SALE_CAP = 120
#: Days of history behind the sales per customer.
CUSTOMER_DAYS = 56
#: Day-level features that the trees see unchanged. Days to Christmas and from Easter are left to
#: the linear models: trees use them as a date and learn the common error of that one day.
DAY_INPUTS = (
    "day_of_week",
    "promo",
    "state_holiday",
    "school_holiday",
    "promo_day",
    "promo_days_left",
    "days_since_promo",
    "days_to_promo",
    "promo_days_last_14",
    "promo_days_next_14",
    "days_since_holiday",
    "days_to_holiday",
    "school_day",
    "school_days_left",
    "days_since_school",
    "days_to_school",
    "closed_days_before",
    "closed_days_after",
    "open_days_week",
    "days_since_refurbishment",
    "refurbishment_days",
)
#: Coefficients of a store that characterize it.
COEFFICIENT_INPUTS = (
    "is_sat",
    "is_sun",
    "promo",
    "promo_fri",
    "promo_density_before",
    "trend",
    "school",
    "year_sin_1",
    "year_cos_1",
    "month_cos_1",
    "promo_december",
    "before_holiday_1",
    "before_christmas_2_3",
)

#: Inputs of the trees, in order. The length of a store's history is not among them: it grows with
#: time, so every store would look to the trees like those with the longest history in training.
STACK_INPUTS: tuple[str, ...] = (
    "step",
    "day_of_month",
    "days_to_month_end",
    "log_point",
    *(f"half_life_{k}" for k in range(len(HALF_LIVES))),
    *(f"level_{days}" for days in LEVEL_WINDOWS),
    "kind_level",
    "weekday_level",
    "promo_level",
    *(f"year_ago_{side}" for side in YEAR_SIDES),
    "year_ago_before",
    "scale",
    "sales_per_customer",
    "days_since_sale",
    *(f"coefficient_{name}" for name in COEFFICIENT_INPUTS),
    *DAY_INPUTS,
)


@dataclass(frozen=True)
class Residuals:
    """Past residuals on a grid of stores × days.

    Attributes:
        first: Date of the grid's first day; its last is the origin.
        value: Residual of the middle half-life, 0 where unknown, shape (stores, days).
        known: 1 where a residual is known, shape (stores, days).
    """

    first: np.datetime64
    value: Array
    known: Array

    def window(
        self, start: npt.NDArray[np.int64], end: npt.NDArray[np.int64]
    ) -> tuple[Array, Array]:
        """Sum and count residuals over windows of days.

        Args:
            start: First day of each window as a grid position.
            end: Day after the last of each window, likewise.

        Returns:
            Two arrays of shape (stores, windows).
        """
        out = []
        for grid in (self.value, self.known):
            total = np.concatenate([np.zeros((len(grid), 1)), np.cumsum(grid, axis=1)], axis=1)
            low = np.clip(start, 0, grid.shape[1])
            high = np.clip(end, 0, grid.shape[1])
            out.append(total[:, high] - total[:, low])
        return out[0], out[1]


def ridge_terms(
    panel: Panel, fit: StoreFit, origin: np.datetime64, rows: npt.NDArray[np.int64]
) -> Array:
    """Forecast rows of a panel from one origin, for each half-life, with recent levels.

    Args:
        panel: The panel; only sales up to `origin` are read.
        fit: Models fitted at `origin` or before, for the panel's stores.
        origin: The origin of all stores.
        rows: Positions of the rows to forecast, increasing.

    Returns:
        Log forecasts, shape (rows, half-lives).
    """
    recent = _level_rows(panel, origin, LEVEL_DAYS)
    residual = panel.y[recent, None] - linear_terms(
        panel.x[recent], panel.store[recent], fit.coefficients
    )
    age = (origin - panel.day[recent]).astype(np.int64)
    weights = np.array(HALF_LIFE_WEIGHTS)
    level = recent_levels(residual, panel.store[recent], age, fit.scale, weights)
    terms: Array = linear_terms(panel.x[rows], panel.store[rows], fit.coefficients)
    return terms + level[panel.store[rows]]


def _level_rows(panel: Panel, origin: np.datetime64, days: int) -> npt.NDArray[np.int64]:
    """Return the rows of the last `days` days up to an origin that tell a store's level.

    What sells in a clearance before a long closure is no level.
    """
    n = len(panel.stores)
    between = panel.days_between(np.full(n, origin - days), np.full(n, origin))
    return np.flatnonzero(between & ~panel.clearance)


def ridge_log_point(
    panel: Panel, fit: StoreFit, origin: np.datetime64, rows: npt.NDArray[np.int64]
) -> Array:
    """Average `ridge_terms` over the half-lives: log forecasts, shape (rows,)."""
    return ridge_terms(panel, fit, origin, rows) @ np.array(HALF_LIFE_WEIGHTS)


def past_residuals(
    panel: Panel, fit: StoreFit, origin: np.datetime64, days: int = RESIDUAL_DAYS
) -> Residuals:
    """Put the residuals of the last `days` days before an origin on a grid."""
    n = len(panel.stores)
    rows = _level_rows(panel, origin, days)
    middle = len(HALF_LIVES) // 2
    fitted = linear_terms(panel.x[rows], panel.store[rows], fit.coefficients[:, [middle]])[:, 0]
    first = origin - days + 1
    value, known = np.zeros((n, days)), np.zeros((n, days))
    column = (panel.day[rows] - first).astype(np.int64)
    # A single outlier must not look like a level.
    value[panel.store[rows], column] = np.clip(
        panel.y[rows] - fitted, -RESIDUAL_BOUND, RESIDUAL_BOUND
    )
    known[panel.store[rows], column] = 1.0
    return Residuals(first, value, known)


def stack_inputs(
    panel: Panel,
    fit: StoreFit,
    origin: np.datetime64,
    rows: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.float32], Array]:
    """Compute the inputs of the trees for days after an origin.

    A store's inputs depend on its own rows only, whatever other stores are in the panel.

    Args:
        panel: The panel; only sales and customers of the `RESIDUAL_DAYS` days up to
            `origin` are read.
        fit: Models fitted at `origin` or before, for the panel's stores.
        origin: The origin of all stores.
        rows: Positions of the rows to compute, increasing.

    Returns:
        Inputs of shape (rows, len(`STACK_INPUTS`)), NaN where unknown, and the
        linear models' log forecasts, shape (rows,).
    """
    store, day = panel.store[rows], panel.day[rows]
    frame = panel.frame.iloc[rows]
    terms = ridge_terms(panel, fit, origin, rows)
    log_point: Array = terms @ np.array(HALF_LIFE_WEIGHTS)
    values: dict[str, npt.NDArray[Any]] = {}
    month = day.astype("datetime64[M]")
    step = (day - origin).astype(np.int64)
    values["step"] = step
    values["day_of_month"] = (day - month.astype("datetime64[D]")).astype(np.int64)
    values["days_to_month_end"] = ((month + 1).astype("datetime64[D]") - day).astype(np.int64)
    values["log_point"] = log_point
    for k in range(len(HALF_LIVES)):
        values[f"half_life_{k}"] = terms[:, k] - log_point
    residuals = past_residuals(panel, fit, origin)
    values |= _levels(panel, residuals, rows)
    values |= _year_ago(residuals, store, step)
    end = residuals.known.shape[1]
    last = np.where(residuals.known.any(axis=1), residuals.known[:, ::-1].argmax(axis=1), end)
    values["days_since_sale"] = np.minimum(last, SINCE_SALE_CAP)[store]
    values["scale"] = fit.scale[store]
    values["sales_per_customer"] = _sales_per_customer(panel, origin)[store]
    middle = fit.coefficients[:, len(HALF_LIVES) // 2]
    for name in COEFFICIENT_INPUTS:
        values[f"coefficient_{name}"] = middle[store, DESIGN_COLUMNS.index(name)]
    for name in DAY_INPUTS:
        values[name] = frame[name].to_numpy()
    out = np.empty((len(rows), len(STACK_INPUTS)), np.float32)
    for j, name in enumerate(STACK_INPUTS):
        out[:, j] = values[name]
    return out, log_point


def _levels(
    panel: Panel, residuals: Residuals, rows: npt.NDArray[np.int64]
) -> dict[str, npt.NDArray[Any]]:
    """Average recent residuals by store, and by store with weekday, with promo and with both."""
    n, store = len(panel.stores), panel.store[rows]
    end = residuals.value.shape[1]
    windows = np.array(LEVEL_WINDOWS)
    total, count = residuals.window(end - windows, np.full(len(windows), end))
    level = total / (count + KIND_PRIOR_DAYS)
    values: dict[str, npt.NDArray[Any]] = {
        f"level_{days}": level[store, k] for k, days in enumerate(LEVEL_WINDOWS)
    }
    newest = residuals.first + (end - 1)
    past = _level_rows(panel, newest, KIND_DAYS)
    residual = residuals.value[
        panel.store[past], (panel.day[past] - residuals.first).astype(np.int64)
    ]
    weekday = panel.frame["day_of_week"].to_numpy().astype(np.int64) - 1
    promo = panel.frame["promo"].to_numpy().astype(np.int64)
    kinds = {"weekday": (7, weekday), "promo": (2, promo), "kind": (14, 2 * weekday + promo)}
    for name, (size, kind) in kinds.items():
        index = panel.store[past] * size + kind[past]
        sums = np.bincount(index, residual, n * size)
        counts = np.bincount(index, minlength=n * size)
        values[f"{name}_level"] = (sums / (counts + KIND_PRIOR_DAYS))[store * size + kind[rows]]
    return values


def _year_ago(
    residuals: Residuals, store: npt.NDArray[np.int64], step: npt.NDArray[np.int64]
) -> dict[str, npt.NDArray[Any]]:
    """Average each store's residuals a year ago, around the same day and before the origin."""
    end = residuals.value.shape[1]
    ago = end - 1 + np.arange(int(step.max(initial=0)) + 1) - YEAR_DAYS
    values: dict[str, npt.NDArray[Any]] = {}
    for side in YEAR_SIDES:
        total, count = residuals.window(ago - side, ago + side + 1)
        values[f"year_ago_{side}"] = _mean(total, count)[store, step]
    before = np.array([end - YEAR_DAYS])
    total, count = residuals.window(before - LEVEL_DAYS, before)
    values["year_ago_before"] = _mean(total, count)[store, 0]
    return values


def _mean(total: Array, count: Array) -> Array:
    return np.where(count > 0, total / (count + 1.0), np.nan)


def _sales_per_customer(panel: Panel, origin: np.datetime64) -> Array:
    """Average log sales minus log customers by store over the last days before an origin."""
    n = len(panel.stores)
    rows = np.flatnonzero(
        panel.days_between(np.full(n, origin - CUSTOMER_DAYS), np.full(n, origin))
    )
    value = panel.y[rows] - panel.frame["log_customers"].to_numpy(np.float64)[rows]
    rows, value = rows[~np.isnan(value)], value[~np.isnan(value)]
    total = np.bincount(panel.store[rows], value, n)
    count = np.bincount(panel.store[rows], minlength=n)
    with np.errstate(invalid="ignore", divide="ignore"):
        return total / count
