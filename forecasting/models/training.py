"""Training of the pooled model: the population of coefficients, the trees and the calibration.

The fitted model and its bytes live in `pooled.py`, the forecasts from past origins in
`lookback.py`, and the trees themselves in `boosting.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import TypedDict, Unpack

import numpy as np
import numpy.typing as npt
import pandas as pd

from forecasting.arrays import Array
from forecasting.features.panel import Panel
from forecasting.models.at_origin import RESIDUAL_DAYS, YEAR_DAYS, stack_inputs
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
from forecasting.models.closures import learn_closures
from forecasting.models.joint import learn_joint
from forecasting.models.limits import Peaks
from forecasting.models.linear import Moments, Population
from forecasting.models.lookback import LookBack, calibrate_on, look_back
from forecasting.models.moments import RollingMoments
from forecasting.models.pooled import DEFAULT_HORIZON, MIN_HISTORY_DAYS, PooledModel, Recipe
from forecasting.models.store_fit import (
    StoreFit,
    estimate_populations,
    fit_arrays,
    season_covariance,
    typical_square,
)

#: Function that computes the trees' corrections of rows of inputs, shape (rows,).
Correct = Callable[[npt.NDArray[np.float32]], Array]

#: Largest number of stores that a pooled model is trained on.
TRAINING_STORES = 1_500
#: Past origins that quantiles are calibrated on.
CALIBRATION_ORIGINS = 6
#: Days of history that calibration origins need as soon as `MIN_FULL_ORIGINS` of them have as many.
#: With less than a year, the linear models have not seen the season ahead, and their errors do not
#: predict later errors.
FULL_HISTORY_DAYS = 365
MIN_FULL_ORIGINS = 3


class TrainingOptions(TypedDict, total=False):
    """Options of a training that change its cost or its random choices, all optional.

    Attributes:
        trees: Trees of each booster of the stack (default `DEFAULT_TREES`).
        seed: Seed of every random choice (default 0). The same data and seed give the same model.
        threads: Threads for LightGBM (default 2); fewer are faster on a busy machine.
        progress: Called with a line of text as the work goes on.
    """

    trees: int
    seed: int
    threads: int
    progress: Callable[[str], None] | None


def training_stores(stores: Sequence[int], seed: int = 0) -> list[int]:
    """Return the stores to train a pooled model on: all, or a sample of a large chain.

    `TRAINING_STORES` suffice to estimate what stores have in common. The sample bounds the memory
    of a training.

    Args:
        stores: All stores.
        seed: Seed of the sample.

    Returns:
        Stores, ascending.
    """
    if len(stores) <= TRAINING_STORES:
        return sorted(stores)
    sample = np.random.default_rng(seed).choice(sorted(stores), TRAINING_STORES, replace=False)
    return sorted(int(store) for store in sample)


def past_origins(
    first: np.datetime64, origin: np.datetime64, horizon: int, recipe: Recipe
) -> tuple[list[np.datetime64], list[np.datetime64]]:
    """List the past origins to calibrate on and those to train trees on, oldest first.

    The whole horizon of a calibration origin lies in the past. The horizon of a training origin may
    reach into the future; only its past days are used.
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


def _boosters(
    parts: list[LookBack],
    until: np.datetime64,
    trees: int,
    seed: int,
    threads: int,
) -> tuple[tuple[str, ...], float]:
    """Fit trees on the rows up to a day; return them and the weight of their correction."""
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
        sample = np.sort(np.random.default_rng(seed).choice(rows, MAX_ROWS, replace=False))
        x, target = x[sample], target[sample]
    return fit_boosters(x, target, trees=trees, seed=seed, threads=threads), weight


def stack_offset(
    panel: Panel, fit: StoreFit, origin: np.datetime64, horizon: int, correct: Correct
) -> float:
    """Return the mean correction of the trees over the chain on the days after an origin.

    Trees are trained on errors without the part that all stores share, so they cannot predict
    that part. Their mean correction over the chain only shows that inputs have shifted since
    training, and is subtracted. The plan of the horizon may be unknown, so the days a year earlier
    stand in for it. They have the same weekdays, and nearly the same season, promos and holidays.

    Args:
        panel: The panel up to the origin.
        fit: Models fitted at the origin, for the panel's stores.
        origin: The newest origin.
        horizon: Days ahead.
        correct: Function that computes the trees' corrections.
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


def fit_pooled(
    features: pd.DataFrame,
    *,
    origin: date,
    horizon: int = DEFAULT_HORIZON,
    recipe: Recipe = "ridge",
    **options: Unpack[TrainingOptions],
) -> PooledModel:
    """Fit what all stores share on the days up to an origin.

    Args:
        features: Feature rows of all stores; rows after `origin` are ignored.
        origin: Last day whose sales may be used.
        horizon: Days ahead to calibrate for.
        recipe: `ridge` takes seconds; `stack` adds LightGBM and takes minutes. With less than
            about a year and a half of history, `stack` falls back to the linear models.
        **options: See `TrainingOptions`.

    Raises:
        ValueError: No store has sales up to the origin.
    """
    say = options.get("progress") or (lambda _: None)
    seed = options.get("seed", 0)
    end = np.datetime64(pd.Timestamp(origin).date(), "D")
    panel = Panel.of(features[features["date"] <= pd.Timestamp(origin)])
    if not (~np.isnan(panel.y)).any():
        raise ValueError(f"no sales up to {origin}: nothing to train on")
    first = panel.day[~np.isnan(panel.y)].min()
    calibrating, training = past_origins(first, end, horizon, recipe)
    linear, looks = _fit_linear(
        panel, sorted({*calibrating, *training}), end, horizon, recipe, seed, say
    )
    held_out = [look for look in looks if look.origin in set(calibrating)]
    learned = [look for look in looks if look.origin in set(training)]
    log_points = [look.log_point for look in held_out]
    trees = _Trees()
    if training:
        log_points, trees = _fit_trees(
            panel, linear.fit, held_out, learned, end, horizon, say, options
        )
    calibration, metrics, by_origin = calibrate_on(held_out, log_points)
    return PooledModel(
        recipe=recipe,
        trained_until=pd.Timestamp(origin).date(),
        horizon=horizon,
        seed=seed,
        populations=linear.populations,
        typical=linear.typical,
        population_scale=linear.population_scale,
        season_covariance=season_covariance(linear.moments),
        calibration=calibration,
        dependence=learn_joint(held_out, log_points, calibration, horizon),
        closures=learn_closures(panel, linear.fit, end),
        peaks=Peaks.of(panel),
        boosters=trees.boosters,
        stack_weight=trees.weight,
        stack_offset=trees.offset,
        metrics=metrics,
        by_origin=by_origin,
    )


@dataclass(frozen=True)
class _LinearModels:
    """What the linear models of the newest origin share, and the sums that fit the stores."""

    populations: tuple[Population, ...]
    typical: Array
    stores: npt.NDArray[np.int32]
    moments: list[Moments]
    n_days: npt.NDArray[np.int64]

    def fit(self, positions: npt.NDArray[np.intp] | None = None) -> StoreFit:
        """Fit the stores at some positions of the panel, by default all."""
        moments, some = self.moments, slice(None) if positions is None else positions
        if positions is not None:
            moments = [part.take(positions) for part in moments]
        return fit_arrays(
            self.stores[some], moments, self.populations, self.typical, self.n_days[some]
        )

    @property
    def population_scale(self) -> float:
        """Standard deviation of a log forecast for a store without history."""
        middle = self.populations[len(self.populations) // 2]
        variance = middle.noise + np.einsum("ij,ji->", self.typical, middle.covariance)
        return float(np.sqrt(variance))


def _fit_linear(
    panel: Panel,
    past: list[np.datetime64],
    end: np.datetime64,
    horizon: int,
    recipe: Recipe,
    seed: int,
    say: Callable[[str], None],
) -> tuple[_LinearModels, list[LookBack]]:
    """Fit the linear models from origin to origin, and forecast from each past one.

    Args:
        panel: The panel up to the newest origin.
        past: Past origins, oldest first.
        end: The newest origin.
        horizon: Days ahead.
        recipe: The recipe that the forecasts are for.
        seed: Seed of the sample of stores.
        say: Called with a line of text as the work goes on.

    Returns:
        The models of the newest origin, and the forecasts from each past origin.
    """
    rolling = RollingMoments(panel)
    first = panel.day[~np.isnan(panel.y)].min()
    populations: tuple[Population, ...] | None = None
    looks: list[LookBack] = []
    for k, origin in enumerate(past, start=1):
        say(f"forecasting from past origin {origin} ({k} of {len(past)})")
        moments = rolling.advance(origin)
        populations = estimate_populations(
            moments,
            start=populations,
            history_days=float((origin - first).astype(int)),
            iterations=12 if populations is None else 3,
            seed=seed,
        )
        typical = typical_square(moments)
        fit = fit_arrays(panel.stores, moments, populations, typical, rolling.n_days)
        season = season_covariance(moments)
        looks.append(look_back(panel, fit, season, origin, horizon, recipe))
    moments = rolling.advance(end)
    final = estimate_populations(
        moments,
        start=populations,
        history_days=float((end - first).astype(int)),
        iterations=12 if populations is None else 5,
        seed=seed,
    )
    typical = typical_square(moments)
    return _LinearModels(final, typical, panel.stores, moments, rolling.n_days), looks


@dataclass(frozen=True)
class _Trees:
    """The boosters trained on all rows, their weight and their offset."""

    boosters: tuple[str, ...] = ()
    weight: float = 0.0
    offset: float = 0.0


def _fit_trees(
    panel: Panel,
    fit: Callable[[], StoreFit],
    held_out: list[LookBack],
    learned: list[LookBack],
    end: np.datetime64,
    horizon: int,
    say: Callable[[str], None],
    options: TrainingOptions,
) -> tuple[list[Array], _Trees]:
    """Fit the trees twice: on the days before the calibration origins, and on all days.

    Args:
        panel: The panel up to the newest origin.
        fit: Function that fits the stores at the newest origin.
        held_out: Forecasts from the calibration origins.
        learned: Forecasts from the training origins.
        end: The newest origin.
        horizon: Days ahead.
        say: Called with a line of text as the work goes on.
        options: Options of the training.

    Returns:
        Log points of `held_out` as corrected by the earlier trees, and the final trees.
    """
    threads = options.get("threads", 2)
    trees, seed = options.get("trees", DEFAULT_TREES), options.get("seed", 0)
    log_points = [look.log_point for look in held_out]
    if held_out:
        say(f"fitting trees on days up to {held_out[0].origin}, for the calibration")
        boosters, weight = _boosters(learned, held_out[0].origin, trees, seed, threads)
        for k, look in enumerate(held_out):
            if len(look.day) == 0:
                continue
            correction = stack_correction(boosters, look.x, threads=threads)
            log_points[k] = look.log_point + weight * (correction - correction.mean())
    say("fitting trees on all days")
    boosters, weight = _boosters(learned, end, trees, seed, threads)
    if not boosters:
        return log_points, _Trees()
    correct = partial(stack_correction, boosters, threads=threads)
    offset = stack_offset(panel, fit(), end, horizon, correct)
    return log_points, _Trees(boosters, weight, offset)
