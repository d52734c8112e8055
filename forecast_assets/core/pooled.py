"""The pooled model: what all stores have in common, and how sure forecasts are.

Here belongs fitting, storing and reading the one model that all stores share: the population
that per-store coefficients are shrunk to, and the calibration of quantiles on past origins.
"""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal

import numpy as np
import pandas as pd

from forecast_assets.core.design import DESIGN_COLUMNS
from forecast_assets.core.intervals import Calibration, calibrate, day_kinds
from forecast_assets.core.linear import Array, Population
from forecast_assets.core.panel import HALF_LIVES, Panel, RollingMoments
from forecast_assets.core.scoring import bias, rmspe, wape
from forecast_assets.core.store_models import (
    LEVEL_DAYS,
    StoreFit,
    estimate_populations,
    fit_arrays,
    linear_terms,
    recent_levels,
    typical_square,
)

Recipe = Literal["ridge", "stack"]

#: Past origins that quantiles are calibrated on, and how many days they lie apart.
CALIBRATION_ORIGINS = 8
CALIBRATION_STEP_DAYS = 14
#: History that an origin needs before it is used to calibrate.
MIN_HISTORY_DAYS = 90

_FORMAT = 1


@dataclass(frozen=True)
class PooledModel:
    """A fitted pooled model; immutable, and free of any later data than ``trained_until``.

    Attributes:
        recipe: ``ridge`` (linear models only) or ``stack`` (LightGBM on top of them).
        trained_until: Last day whose sales it has seen.
        horizon: Days ahead that it was calibrated for.
        seed: Seed of every random choice.
        populations: What stores have in common, one for each half-life.
        typical: Average outer product of past days' regressors, shape (p, p).
        population_scale: Standard deviation of a log forecast for a store without history.
        calibration: Positions of the quantiles.
        metrics: Accuracy on the calibration origins (``rmspe``, ``wape``, ``bias``, ...).
    """

    recipe: Recipe
    trained_until: date
    horizon: int
    seed: int
    populations: tuple[Population, ...]
    typical: Array
    population_scale: float
    calibration: Calibration
    metrics: dict[str, float] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Serialise to compressed JSON; the same model gives the same bytes."""
        content = {
            "format": _FORMAT,
            "columns": list(DESIGN_COLUMNS),
            "half_lives": list(HALF_LIVES),
            "recipe": self.recipe,
            "trained_until": self.trained_until.isoformat(),
            "horizon": self.horizon,
            "seed": self.seed,
            "populations": [
                {"mean": _pack(p.mean), "covariance": _pack(p.covariance), "noise": p.noise}
                for p in self.populations
            ],
            "typical": _pack(self.typical),
            "population_scale": self.population_scale,
            "calibration": self.calibration.to_dict(),
            "metrics": self.metrics,
        }
        return zlib.compress(json.dumps(content, sort_keys=True).encode())

    @classmethod
    def from_bytes(cls, data: bytes) -> PooledModel:
        """Read what :meth:`to_bytes` wrote.

        Raises:
            ValueError: The bytes are no pooled model, or one of another version's regressors.
        """
        try:
            content: dict[str, Any] = json.loads(zlib.decompress(data))
        except (zlib.error, ValueError) as error:
            raise ValueError("these bytes are no pooled model") from error
        if (
            content.get("format") != _FORMAT
            or content["columns"] != list(DESIGN_COLUMNS)
            or content["half_lives"] != list(HALF_LIVES)
        ):
            raise ValueError("the pooled model was made by another version: train it again")
        p = len(DESIGN_COLUMNS)
        return cls(
            recipe=content["recipe"],
            trained_until=date.fromisoformat(content["trained_until"]),
            horizon=content["horizon"],
            seed=content["seed"],
            populations=tuple(
                Population(
                    _unpack(part["mean"], (p,)), _unpack(part["covariance"], (p, p)), part["noise"]
                )
                for part in content["populations"]
            ),
            typical=_unpack(content["typical"], (p, p)),
            population_scale=content["population_scale"],
            calibration=Calibration.from_dict(content["calibration"]),
            metrics=content["metrics"],
        )


def _pack(values: Array) -> str:
    return base64.b64encode(np.ascontiguousarray(values, "<f8").tobytes()).decode()


def _unpack(text: str, shape: tuple[int, ...]) -> Array:
    return np.frombuffer(base64.b64decode(text), "<f8").reshape(shape).astype(np.float64)


def calibration_origins(
    first: np.datetime64, origin: np.datetime64, horizon: int
) -> list[np.datetime64]:
    """List the past origins to calibrate on, oldest first: all their days lie in the past."""
    newest = origin - horizon
    candidates = [newest - k * CALIBRATION_STEP_DAYS for k in range(CALIBRATION_ORIGINS)]
    return sorted(o for o in candidates if (o - first).astype(int) >= MIN_HISTORY_DAYS)


def ridge_log_point(panel: Panel, fit: StoreFit, origin: np.datetime64, rows: np.ndarray) -> Array:
    """Forecast rows of a panel from one origin with per-store models and recent levels.

    Args:
        panel: The panel; only sales up to ``origin`` are read.
        fit: Models fitted at ``origin``, for the panel's stores.
        origin: The origin of all stores.
        rows: Positions of the rows to forecast.

    Returns:
        Log forecasts of the rows.
    """
    n = len(panel.stores)
    recent = np.flatnonzero(panel.days_between(np.full(n, origin - LEVEL_DAYS), np.full(n, origin)))
    residual = panel.y[recent, None] - linear_terms(
        panel.x[recent], panel.store[recent], fit.coefficients
    )
    level = recent_levels(residual, panel.store[recent], n)
    terms = linear_terms(panel.x[rows], panel.store[rows], fit.coefficients)
    mean: Array = (terms + level[panel.store[rows]]).mean(axis=1)
    return mean


def fit_pooled(
    features: pd.DataFrame,
    *,
    origin: date,
    horizon: int = 42,
    seed: int = 0,
    recipe: Recipe = "ridge",
) -> PooledModel:
    """Fit what all stores share on the days up to an origin.

    Args:
        features: Feature rows of all stores; rows after ``origin`` are ignored.
        origin: Last day that may be seen.
        horizon: Days ahead to calibrate for.
        seed: Seed of every random choice.
        recipe: ``ridge`` takes seconds.

    Raises:
        ValueError: No store has sales up to the origin.
    """
    end = np.datetime64(pd.Timestamp(origin).date(), "D")
    panel = Panel.of(features[features["date"] <= pd.Timestamp(origin)])
    if not (~np.isnan(panel.y)).any():
        raise ValueError(f"no sales up to {origin}: nothing to train on")
    first = panel.day[~np.isnan(panel.y)].min()
    n = len(panel.stores)
    rolling = RollingMoments(panel)
    populations: tuple[Population, ...] | None = None
    parts: list[pd.DataFrame] = []
    for past in calibration_origins(first, end, horizon):
        moments = rolling.advance(past)
        populations = estimate_populations(
            moments, start=populations, iterations=12 if populations is None else 3, seed=seed
        )
        typical = typical_square(moments)
        fit = fit_arrays(panel.stores, moments, populations, typical, rolling.n_days)
        rows = np.flatnonzero(
            panel.days_between(np.full(n, past), np.full(n, past + horizon))
            & (fit.n_days > 0)[panel.store]
        )
        step = (panel.day[rows] - past).astype(np.int64)
        kinds = day_kinds(panel.frame.iloc[rows], step, horizon)
        part = pd.DataFrame(kinds).assign(
            log_actual=panel.y[rows],
            log_point=ridge_log_point(panel, fit, past, rows),
            scale=fit.scale[panel.store[rows]],
        )
        parts.append(part)
    moments = rolling.advance(end)
    populations = estimate_populations(
        moments, start=populations, iterations=12 if populations is None else 5, seed=seed
    )
    typical = typical_square(moments)
    middle = populations[len(populations) // 2]
    population_scale = float(
        np.sqrt(middle.noise + np.einsum("ij,ji->", typical, middle.covariance))
    )
    calibration, metrics = Calibration.default(), {}
    if parts:
        past_rows = pd.concat(parts, ignore_index=True)
        log_actual, log_point = (
            past_rows["log_actual"].to_numpy(),
            past_rows["log_point"].to_numpy(),
        )
        calibration = calibrate(
            log_actual,
            log_point,
            past_rows["scale"].to_numpy(),
            {name: past_rows[name].to_numpy() for name in ("weekday_promo", "special", "third")},
        )
        actual = np.exp(log_actual)
        point = calibration.point_factor * np.exp(log_point)
        metrics = {
            "rmspe": rmspe(actual, point),
            "wape": wape(actual, np.exp(log_point)),
            "bias": bias(actual, calibration.mean_factor * np.exp(log_point)),
            "calibration_rows": float(len(past_rows)),
        }
    return PooledModel(
        recipe=recipe,
        trained_until=pd.Timestamp(origin).date(),
        horizon=horizon,
        seed=seed,
        populations=populations,
        typical=typical,
        population_scale=population_scale,
        calibration=calibration,
        metrics=metrics,
    )
