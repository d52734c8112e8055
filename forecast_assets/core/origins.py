"""What is known at an origin about a coming day: the inputs of the pooled LightGBM.

Here belongs everything that summarises sales up to an origin. A function here gets a panel, an
origin and rows to describe, and reads no sales after the origin; the same function serves
training (many past origins) and forecasting (the newest).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forecast_assets.core.design import DESIGN_COLUMNS
from forecast_assets.core.linear import Array
from forecast_assets.core.panel import HALF_LIVES, Panel
from forecast_assets.core.store_models import (
    LEVEL_DAYS,
    LEVEL_PRIOR_DAYS,
    StoreFit,
    linear_terms,
)

#: Windows, in days before the origin, over which residuals are averaged.
LEVEL_WINDOWS = (7, 14, 28, 56, 112)
#: Window over which residuals are averaged by store, weekday and promo.
KIND_DAYS = 84
#: Residuals a year ago are averaged over this many days on each side; 52 weeks keep the weekday.
YEAR_DAYS = 364
YEAR_SIDES = (3, 10)
#: How much history tells the sales per customer.
CUSTOMER_DAYS = 56
#: Day-level features that are passed on as they are.
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
    "days_to_refurbishment",
    "refurbishment_days",
    "days_to_christmas",
    "days_from_easter",
)
#: Coefficients of a store that tell what kind of store it is.
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
    "before_christmas_2_2",
)

STACK_INPUTS: tuple[str, ...] = (
    "step",
    "day_of_month",
    "days_to_month_end",
    "log_point",
    *(f"half_life_{k}" for k in range(len(HALF_LIVES))),
    *(f"level_{days}" for days in LEVEL_WINDOWS),
    *(f"chain_level_{days}" for days in LEVEL_WINDOWS[:3]),
    "kind_level",
    "weekday_level",
    "promo_level",
    *(f"year_ago_{side}" for side in YEAR_SIDES),
    *(f"chain_year_ago_{side}" for side in YEAR_SIDES),
    "chain_year_ago_day",
    "year_ago_before",
    "scale",
    "history_days",
    "sales_per_customer",
    "days_since_sale",
    *(f"coefficient_{name}" for name in COEFFICIENT_INPUTS),
    *DAY_INPUTS,
)


@dataclass(frozen=True)
class Residuals:
    """Residuals of the past on a grid of stores and days, ready to be averaged.

    Attributes:
        first: Date of the grid's first day.
        value: Residual of the middle half-life, 0 where unknown, shape (stores, days).
        known: 1 where a residual is known, shape (stores, days).
    """

    first: np.datetime64
    value: Array
    known: Array

    def window(self, start: npt.NDArray[np.int64], end: npt.NDArray[np.int64]) -> tuple[Array, Array]:
        """Sum residuals and their number from day ``start`` up to, without, day ``end``.

        Args:
            start: First day of the window as a grid position, one for each column wanted.
            end: Day after the last, likewise.

        Returns:
            Two arrays of shape (stores, columns).
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
        panel: The panel; only sales up to ``origin`` are read.
        fit: Models fitted at ``origin`` for the panel's stores.
        origin: The origin of all stores.
        rows: Positions of the rows to forecast, increasing.

    Returns:
        Log forecasts, shape (rows, half-lives).
    """
    n = len(panel.stores)
    recent = np.flatnonzero(panel.days_between(np.full(n, origin - LEVEL_DAYS), np.full(n, origin)))
    residual = panel.y[recent, None] - linear_terms(
        panel.x[recent], panel.store[recent], fit.coefficients
    )
    total = np.zeros((n, residual.shape[1]))
    np.add.at(total, panel.store[recent], residual)
    count = np.bincount(panel.store[recent], minlength=n)
    level = total / (count + LEVEL_PRIOR_DAYS)[:, None]
    terms: Array = linear_terms(panel.x[rows], panel.store[rows], fit.coefficients)
    return terms + level[panel.store[rows]]


def past_residuals(
    panel: Panel, fit: StoreFit, origin: np.datetime64, days: int = YEAR_DAYS + 90
) -> Residuals:
    """Put the residuals of the last ``days`` days before an origin on a grid."""
    n = len(panel.stores)
    rows = np.flatnonzero(panel.days_between(np.full(n, origin - days), np.full(n, origin)))
    middle = len(HALF_LIVES) // 2
    fitted = linear_terms(panel.x[rows], panel.store[rows], fit.coefficients[:, [middle]])[:, 0]
    first = origin - days + 1
    value, known = np.zeros((n, days)), np.zeros((n, days))
    column = (panel.day[rows] - first).astype(np.int64)
    # One wild day must not pass for a level.
    value[panel.store[rows], column] = np.clip(panel.y[rows] - fitted, -0.5, 0.5)
    known[panel.store[rows], column] = 1.0
    return Residuals(first, value, known)


def stack_inputs(
    panel: Panel,
    fit: StoreFit,
    origin: np.datetime64,
    rows: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.float32], Array]:
    """Describe coming days as seen from an origin.

    Args:
        panel: The panel; only sales and customers up to ``origin`` are read.
        fit: Models fitted at ``origin`` for the panel's stores.
        origin: The origin of all stores.
        rows: Positions of the rows to describe, increasing.

    Returns:
        Inputs of shape (rows, len(:data:`STACK_INPUTS`)), NaN where nothing is known, and the
        linear models' log forecasts, shape (rows,).
    """
    n = len(panel.stores)
    store, day = panel.store[rows], panel.day[rows]
    frame = panel.frame.iloc[rows]
    terms = ridge_terms(panel, fit, origin, rows)
    log_point: Array = terms.mean(axis=1)
    out = np.full((len(rows), len(STACK_INPUTS)), np.nan, np.float32)
    place = {name: j for j, name in enumerate(STACK_INPUTS)}

    def put(name: str, values: Array) -> None:
        out[:, place[name]] = values

    month = day.astype("datetime64[M]")
    put("step", (day - origin).astype(np.float64))
    put("day_of_month", (day - month.astype("datetime64[D]")).astype(np.float64))
    put("days_to_month_end", ((month + 1).astype("datetime64[D]") - day).astype(np.float64))
    put("log_point", log_point)
    for k in range(len(HALF_LIVES)):
        put(f"half_life_{k}", terms[:, k] - log_point)

    residuals = past_residuals(panel, fit, origin)
    end = residuals.value.shape[1]
    windows = np.array(LEVEL_WINDOWS)
    total, count = residuals.window(end - windows, np.full(len(windows), end))
    for k, days in enumerate(LEVEL_WINDOWS):
        put(f"level_{days}", (total[:, k] / (count[:, k] + 2.0))[store])
        if days in LEVEL_WINDOWS[:3]:
            put(f"chain_level_{days}", np.full(len(rows), total[:, k].sum() / (count[:, k].sum() + 2.0)))

    _put_kinds(put, panel, residuals, store, frame["day_of_week"].to_numpy(), frame["promo"].to_numpy())

    grid_days = np.arange(int(panel_span(day, origin)) + 1)
    ago = end - 1 + grid_days - YEAR_DAYS
    step = (day - origin).astype(np.int64)
    for side in YEAR_SIDES:
        total, count = residuals.window(ago - side, ago + side + 1)
        put(f"year_ago_{side}", _ratio(total, count, 1.0)[store, step])
        chain = total.sum(axis=0) / (count.sum(axis=0) + 2.0)
        put(f"chain_year_ago_{side}", np.where(count.sum(axis=0) > 0, chain, np.nan)[step])
    total, count = residuals.window(ago, ago + 1)
    chain = total.sum(axis=0) / (count.sum(axis=0) + 2.0)
    put("chain_year_ago_day", np.where(count.sum(axis=0) > 0, chain, np.nan)[step])
    before = np.array([end - YEAR_DAYS])
    total, count = residuals.window(before - LEVEL_DAYS, before)
    put("year_ago_before", _ratio(total, count, 1.0)[store, 0])

    put("scale", fit.scale[store])
    put("history_days", np.minimum(fit.n_days, 900)[store].astype(np.float64))
    put("sales_per_customer", _sales_per_customer(panel, origin)[store])
    last = np.where(residuals.known.any(axis=1), residuals.known[:, ::-1].argmax(axis=1), end)
    put("days_since_sale", np.minimum(last, 120)[store].astype(np.float64))
    middle = fit.coefficients[:, len(HALF_LIVES) // 2]
    for name in COEFFICIENT_INPUTS:
        put(f"coefficient_{name}", middle[store, DESIGN_COLUMNS.index(name)])
    for name in DAY_INPUTS:
        put(name, frame[name].to_numpy())
    return out, log_point


def panel_span(day: npt.NDArray[np.datetime64], origin: np.datetime64) -> int:
    """Count the days from an origin to the last of some days; 0 without days."""
    return int((day.max() - origin).astype(int)) if len(day) else 0


def _ratio(total: Array, count: Array, prior: float) -> Array:
    return np.where(count > 0, total / (count + prior), np.nan)


def _put_kinds(put, panel, residuals, store, weekday, promo) -> None:  # type: ignore[no-untyped-def]
    """Average recent residuals by store and weekday, promo, and both."""
    n = len(panel.stores)
    end = residuals.value.shape[1]
    first = residuals.first + (end - KIND_DAYS)
    rows = np.flatnonzero(
        panel.days_between(np.full(n, first - 1), np.full(n, residuals.first + end - 1))
    )
    column = (panel.day[rows] - residuals.first).astype(np.int64)
    value = residuals.value[panel.store[rows], column]
    past_weekday = panel.frame["day_of_week"].to_numpy()[rows].astype(np.int64) - 1
    past_promo = panel.frame["promo"].to_numpy()[rows].astype(np.int64)
    for name, key, size, wanted in (
        ("weekday_level", past_weekday, 7, weekday.astype(np.int64) - 1),
        ("promo_level", past_promo, 2, promo.astype(np.int64)),
        ("kind_level", 2 * past_weekday + past_promo, 14, 2 * (weekday.astype(np.int64) - 1) + promo),
    ):
        index = panel.store[rows] * size + key
        total = np.bincount(index, value, n * size)
        count = np.bincount(index, minlength=n * size)
        put(name, (total / (count + 2.0))[store * size + wanted])


def _sales_per_customer(panel: Panel, origin: np.datetime64) -> Array:
    """Average log sales minus log customers by store over the last days before an origin."""
    n = len(panel.stores)
    rows = np.flatnonzero(
        panel.days_between(np.full(n, origin - CUSTOMER_DAYS), np.full(n, origin))
    )
    value = panel.y[rows] - panel.frame["log_customers"].to_numpy(np.float64)[rows]
    seen = ~np.isnan(value)
    total = np.bincount(panel.store[rows[seen]], value[seen], n)
    count = np.bincount(panel.store[rows[seen]], minlength=n)
    with np.errstate(invalid="ignore", divide="ignore"):
        return total / count
