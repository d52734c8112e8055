"""The pooled model: what all stores have in common, and how sure forecasts are.

Here belongs fitting, storing and reading the one model that all stores share: the population
that per-store coefficients are shrunk to, and the calibration of quantiles on past origins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, TypedDict, Unpack

import numpy as np
import numpy.typing as npt
import pandas as pd

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
from forecasting.models.at_origin import RESIDUAL_DAYS, YEAR_DAYS, ridge_log_point, stack_inputs
from forecasting.models.boosting import (
    DEFAULT_TREES,
    MAX_ORIGINS,
    MAX_ROWS,
    ORIGIN_HISTORY_DAYS,
    ORIGIN_STEP_DAYS,
    fit_boosters,
    own_errors,
    stack_correction,
    stack_weight,
)
from forecasting.models.linear import Population
from forecasting.models.moments import RollingMoments
from forecasting.models.pooled import MIN_HISTORY_DAYS, PooledModel, Recipe
from forecasting.models.store_fit import StoreFit, estimate_populations, fit_arrays, typical_square
from forecasting.scoring import bias, coverage, rmspe, wape

#: Gives the trees' corrections of rows of inputs, shape (rows,).
Correct = Callable[[npt.NDArray[np.float32]], Array]

#: Stores that a pooled model learns from, at most.
TRAINING_STORES = 1_500
#: Past origins that quantiles are calibrated on.
CALIBRATION_ORIGINS = 6
#: History, in days, that calibration origins need once `MIN_FULL_ORIGINS` of them have it.
#: With less than a year the linear models have not seen the season ahead, and their errors there
#: say nothing about later ones.
FULL_HISTORY_DAYS = 365
MIN_FULL_ORIGINS = 3


class TrainingOptions(TypedDict, total=False):
    """Options of a training that change its cost or its random choices, all optional.

    Attributes:
        trees: Trees of each booster of the stack (default `DEFAULT_TREES`).
        seed: Seed of every random choice (default 0); the same data and seed give the same model.
        threads: Threads for LightGBM (default 2); fewer are faster on a busy machine.
        progress: Called with a line of text as the work goes on.
    """

    trees: int
    seed: int
    threads: int
    progress: Callable[[str], None] | None


def training_stores(stores: Sequence[int], seed: int = 0) -> list[int]:
    """Choose the stores that a pooled model learns from: all, or a sample of a large chain.

    What stores have in common is known well from :data:`TRAINING_STORES` of them; the sample keeps
    the memory of a training from growing with the chain.

    Args:
        stores: All stores.
        seed: Chooses the sample.

    Returns:
        Stores, ascending.
    """
    if len(stores) <= TRAINING_STORES:
        return sorted(stores)
    chosen = np.random.default_rng(seed).choice(sorted(stores), TRAINING_STORES, replace=False)
    return sorted(int(store) for store in chosen)


def past_origins(
    first: np.datetime64, origin: np.datetime64, horizon: int, recipe: Recipe
) -> tuple[list[np.datetime64], list[np.datetime64]]:
    """List the past origins to calibrate on and those to train trees on, oldest first.

    All days forecast from a calibration origin lie in the past; of a training origin only those
    that do are used.
    """
    newest = -(-horizon // ORIGIN_STEP_DAYS)
    grid = [origin - k * ORIGIN_STEP_DAYS for k in range(1, newest + MAX_ORIGINS)]
    history = {o: int((o - first).astype(int)) for o in grid}
    calibrating = [
        o
        for o in grid[newest - 1 : newest - 1 + CALIBRATION_ORIGINS]
        if history[o] >= MIN_HISTORY_DAYS
    ]
    full = [o for o in calibrating if history[o] >= FULL_HISTORY_DAYS]
    if len(full) >= MIN_FULL_ORIGINS:
        calibrating = full
    training = []
    if recipe == "stack":
        training = [o for o in grid[:MAX_ORIGINS] if history[o] >= ORIGIN_HISTORY_DAYS]
    return calibrating[::-1], training[::-1]


@dataclass(frozen=True)
class _Seen:
    """Rows forecast from a past origin, and what became of them."""

    origin: np.datetime64
    day: npt.NDArray[np.datetime64]
    x: npt.NDArray[np.float32]
    log_point: Array
    log_actual: Array
    scale: Array
    kinds: dict[str, npt.NDArray[np.int64]]

    def take(self, rows: npt.NDArray[Any]) -> _Seen:
        return _Seen(
            self.origin,
            self.day[rows],
            self.x[rows],
            self.log_point[rows],
            self.log_actual[rows],
            self.scale[rows],
            {name: kind[rows] for name, kind in self.kinds.items()},
        )


def _look_back(
    panel: Panel, fit: StoreFit, origin: np.datetime64, horizon: int, recipe: Recipe
) -> _Seen:
    """Forecast all known days within the horizon of a past origin with the linear models."""
    n = len(panel.stores)
    within = panel.days_between(np.full(n, origin), np.full(n, origin + horizon))
    rows = np.flatnonzero(within & (fit.n_days > 0)[panel.store])
    if recipe == "stack":
        x, log_point = stack_inputs(panel, fit, origin, rows)
    else:
        x = np.empty((len(rows), 0), np.float32)
        log_point = ridge_log_point(panel, fit, origin, rows)
    step = (panel.day[rows] - origin).astype(np.int64)
    return _Seen(
        origin,
        panel.day[rows],
        x,
        log_point,
        panel.y[rows],
        fit.scale[panel.store[rows]],
        day_kinds(panel.frame.iloc[rows], step, horizon),
    )


def _boosters(
    parts: list[_Seen],
    until: np.datetime64,
    trees: int,
    seed: int,
    threads: int,
) -> tuple[tuple[str, ...], float]:
    """Fit trees on the rows up to a day; gives them and how much their correction counts."""
    parts = [part.take(np.flatnonzero(part.day <= until)) for part in parts if part.origin < until]
    rows = sum(len(part.day) for part in parts)
    span = int((until - parts[0].origin).astype(int)) if parts else 0
    weight = stack_weight(span)
    if weight == 0.0 or rows == 0:
        return (), 0.0
    x = np.concatenate([part.x for part in parts])
    target = own_errors(
        np.concatenate([part.log_actual - part.log_point for part in parts]),
        np.concatenate([part.day for part in parts]),
    )
    if rows > MAX_ROWS:
        chosen = np.sort(np.random.default_rng(seed).choice(rows, MAX_ROWS, replace=False))
        x, target = x[chosen], target[chosen]
    return fit_boosters(x, target, trees=trees, seed=seed, threads=threads), weight


def stack_offset(
    panel: Panel, fit: StoreFit, origin: np.datetime64, horizon: int, correct: Correct
) -> float:
    """Tell what trees say about all stores at once on the days after an origin.

    Trees learn from errors that lack what all stores had in common on a day, so they know
    nothing about it; what they say on average over the chain comes from inputs that have moved
    as a whole since the days that they learned from. The plan of the coming days need not be
    known: the days a year before, which have the same weekdays and much the same season, promos
    and holidays, stand for them.

    Args:
        panel: The panel up to the origin.
        fit: Models fitted at the origin, for the panel's stores.
        origin: The newest origin.
        horizon: Days ahead.
        correct: The trees' corrections of rows of inputs.
    """
    n = len(panel.stores)
    recent = panel.frame[panel.day > origin - RESIDUAL_DAYS]
    start = np.full(n, origin - YEAR_DAYS)
    a_year_ago = panel.frame[
        panel.days_between(start, start + min(horizon, YEAR_DAYS))
        & (fit.n_days >= MIN_HISTORY_DAYS)[panel.store]
    ]
    moved = a_year_ago.assign(
        date=a_year_ago["date"] + pd.Timedelta(days=YEAR_DAYS),
        log_sales=np.float32("nan"),
        log_customers=np.float32("nan"),
    )
    if moved.empty:
        return 0.0
    both = Panel.of(pd.concat([recent, moved], ignore_index=True))
    known = np.isin(fit.stores, both.stores)
    part = StoreFit(both.stores, fit.coefficients[known], fit.scale[known], fit.n_days[known])
    x, _ = stack_inputs(both, part, origin, np.flatnonzero(both.day > origin))
    return float(correct(x).mean())


def _measures(
    calibration: Calibration, log_actual: Array, log_point: Array, scale: Array
) -> dict[str, float]:
    """Measure forecasts of past origins under a calibration; ``scale`` has its kinds' factors."""
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


def _calibrated(
    held_out: list[_Seen], log_points: list[Array]
) -> tuple[Calibration, dict[str, float], tuple[dict[str, Any], ...]]:
    """Calibrate on past origins, and measure their forecasts, together and one by one."""
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


def fit_pooled(
    features: pd.DataFrame,
    *,
    origin: date,
    horizon: int = 42,
    recipe: Recipe = "ridge",
    **options: Unpack[TrainingOptions],
) -> PooledModel:
    """Fit what all stores share on the days up to an origin.

    Args:
        features: Feature rows of all stores; rows after ``origin`` are ignored.
        origin: Last day that may be seen.
        horizon: Days ahead to calibrate for.
        recipe: ``ridge`` takes seconds; ``stack`` adds LightGBM and takes minutes. With less
            than about a year and a half of history it falls back to the linear models.
        **options: See `TrainingOptions`.

    Raises:
        ValueError: No store has sales up to the origin.
    """
    trees, threads = options.get("trees", DEFAULT_TREES), options.get("threads", 2)
    seed = options.get("seed", 0)
    say = options.get("progress") or (lambda _: None)
    end = np.datetime64(pd.Timestamp(origin).date(), "D")
    panel = Panel.of(features[features["date"] <= pd.Timestamp(origin)])
    if not (~np.isnan(panel.y)).any():
        raise ValueError(f"no sales up to {origin}: nothing to train on")
    first = panel.day[~np.isnan(panel.y)].min()
    calibrating, training = past_origins(first, end, horizon, recipe)
    rolling = RollingMoments(panel)
    populations: tuple[Population, ...] | None = None
    seen: list[_Seen] = []
    visited = sorted({*calibrating, *training})
    for k, past in enumerate(visited, start=1):
        say(f"looking back from {past} ({k} of {len(visited)})")
        moments = rolling.advance(past)
        populations = estimate_populations(
            moments, start=populations, iterations=12 if populations is None else 3, seed=seed
        )
        fit = fit_arrays(
            panel.stores, moments, populations, typical_square(moments), rolling.n_days
        )
        seen.append(_look_back(panel, fit, past, horizon, recipe))
    moments = rolling.advance(end)
    populations = estimate_populations(
        moments, start=populations, iterations=12 if populations is None else 5, seed=seed
    )
    typical = typical_square(moments)
    middle = populations[len(populations) // 2]
    population_scale = float(
        np.sqrt(middle.noise + np.einsum("ij,ji->", typical, middle.covariance))
    )

    boosters: tuple[str, ...] = ()
    weight = offset = 0.0
    held_out = [part for part in seen if part.origin in set(calibrating)]
    log_points = [part.log_point for part in held_out]
    if training:
        learned = [part for part in seen if part.origin in set(training)]
        if held_out:
            say(f"trees that have seen nothing after {held_out[0].origin}, to calibrate with")
            past_boosters, past_weight = _boosters(
                learned, held_out[0].origin, trees, seed, threads
            )
            for k, part in enumerate(held_out):
                if len(part.day) == 0:
                    continue
                correction = stack_correction(past_boosters, part.x, threads=threads)
                log_points[k] = part.log_point + past_weight * (correction - correction.mean())
        say("trees on all rows")
        boosters, weight = _boosters(learned, end, trees, seed, threads)
        if boosters:
            fit = fit_arrays(panel.stores, moments, populations, typical, rolling.n_days)
            offset = stack_offset(
                panel, fit, end, horizon, lambda x: stack_correction(boosters, x, threads=threads)
            )
    calibration, metrics, by_origin = _calibrated(held_out, log_points)
    return PooledModel(
        recipe=recipe,
        trained_until=pd.Timestamp(origin).date(),
        horizon=horizon,
        seed=seed,
        populations=populations,
        typical=typical,
        population_scale=population_scale,
        calibration=calibration,
        boosters=boosters,
        stack_weight=weight,
        stack_offset=offset,
        metrics=metrics,
        by_origin=by_origin,
    )
