"""Comparison of two recipes, champion and challenger, on past origins.

Each recipe is trained on the days up to an origin and forecasts the days after it. These forecasts
are scored against the actual sales. `forecast_assets` registers the winner.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

from forecasting import scoring
from forecasting.calibration import ErrorMeasure
from forecasting.models.pooled import DEFAULT_HORIZON, MIN_HISTORY_DAYS, PooledModel, Recipe
from forecasting.models.training import fit_pooled
from forecasting.pipeline import predict_features

#: Number of origins to compare on. They lie one horizon apart, so that no day is scored twice. Each
#: origin costs one training per recipe.
COMPARISON_ORIGINS = 2


@dataclass(frozen=True)
class Trial:
    """Scores of one recipe from one origin, over days with sales."""

    recipe: Recipe
    origin: date
    rmspe: float
    wape: float
    bias: float
    coverage_80: float
    coverage_95: float
    seconds: float

    def error(self, measure: ErrorMeasure) -> float:
        """Return the error that decides: RMSPE if that is the measure, else WAPE."""
        return self.rmspe if measure == "rmspe" else self.wape


@dataclass(frozen=True)
class Comparison:
    """Result of a comparison.

    Attributes:
        champion: The better recipe; at a tie, the one that serves now.
        challenger: The other.
        trials: All trials, by origin and recipe.
        challenger_model: The challenger as trained at the newest origin, not on all data.
    """

    champion: Recipe
    challenger: Recipe
    trials: tuple[Trial, ...]
    challenger_model: PooledModel

    def summary(self, measure: ErrorMeasure) -> str:
        """Summarize the errors of both recipes in one line."""
        errors = {
            name: mean_error(self.trials, name, measure)
            for name in (self.champion, self.challenger)
        }
        origins = sorted({trial.origin for trial in self.trials})
        name = "RMSPE" if measure == "rmspe" else "WAPE"
        return (
            f"{self.champion} ({name} {errors[self.champion]:.4f}) against {self.challenger} "
            f"({errors[self.challenger]:.4f}) from {', '.join(map(str, origins))}"
        )


def mean_error(trials: Sequence[Trial], recipe: Recipe, measure: ErrorMeasure) -> float:
    """Average a recipe's errors over the origins."""
    return float(np.mean([t.error(measure) for t in trials if t.recipe == recipe]))


def comparison_origins(first: date, until: date, horizon: int) -> list[date]:
    """List the origins to compare on, oldest first.

    All sales within their horizons are known, and the horizons do not overlap.
    """
    newest = [
        (pd.Timestamp(until) - pd.Timedelta(days=horizon * k)).date()
        for k in range(1, COMPARISON_ORIGINS + 1)
    ]
    return [day for day in reversed(newest) if (day - first).days >= MIN_HISTORY_DAYS]


def compare_recipes(
    features: pd.DataFrame,
    *,
    until: date,
    recipes: tuple[Recipe, Recipe],
    horizon: int = DEFAULT_HORIZON,
    measure: ErrorMeasure = "rmspe",
    seed: int = 0,
    threads: int = 2,
    progress: Callable[[str], None] | None = None,
) -> Comparison | None:
    """Compare two recipes.

    Args:
        features: Feature rows of all stores; rows after `until` are ignored.
        until: Last day whose sales may be used.
        recipes: The recipe that serves now, and the candidate.
        horizon: Days ahead to compare on.
        measure: The error measure that decides.
        seed: Seed of every random choice.
        threads: Threads for LightGBM.
        progress: Called with a line of text per training and score.

    Returns:
        The result; None if the history is too short to compare on.
    """
    say = progress or (lambda _: None)
    known = features[features["date"] <= pd.Timestamp(until)]
    sold = known.loc[known["log_sales"].notna(), "date"]
    origins = comparison_origins(sold.min().date(), until, horizon) if len(sold) else []
    if not origins:
        return None
    trials: list[Trial] = []
    newest: dict[Recipe, PooledModel] = {}
    for origin in origins:
        for recipe in recipes:
            say(f"{recipe}, trained up to {origin}")
            begin = time.perf_counter()
            newest[recipe] = fit_pooled(
                known, origin=origin, horizon=horizon, seed=seed, recipe=recipe, threads=threads
            )
            trial = _score(known, newest[recipe], origin, horizon, time.perf_counter() - begin)
            say(f"{recipe} from {origin}: RMSPE {trial.rmspe:.4f}, WAPE {trial.wape:.4f}")
            trials.append(trial)
    serving, candidate = recipes
    better = mean_error(trials, candidate, measure) < mean_error(trials, serving, measure)
    champion, challenger = (candidate, serving) if better else (serving, candidate)
    return Comparison(champion, challenger, tuple(trials), newest[challenger])


def _score(
    known: pd.DataFrame, model: PooledModel, origin: date, horizon: int, seconds: float
) -> Trial:
    """Forecast from an origin and score the days with sales."""
    day = pd.Timestamp(origin)
    past = known[known["date"] <= day]
    ahead = known[(known["date"] > day) & (known["date"] <= day + pd.Timedelta(days=horizon))]
    origins = pd.Series(day, index=np.unique(ahead["store"]))
    rows = pd.concat([past[past["store"].isin(origins.index)], ahead])
    out = predict_features(model, rows, origins)
    both = out.merge(ahead[["store", "date", "log_sales"]], on=["store", "date"])
    both = both[both["log_sales"].notna()]
    actual = np.exp(both["log_sales"].to_numpy(np.float64))
    return Trial(
        recipe=model.recipe,
        origin=origin,
        rmspe=scoring.rmspe(actual, both["point"].to_numpy()),
        wape=scoring.wape(actual, both["q0_5"].to_numpy()),
        bias=scoring.bias(actual, both["mean"].to_numpy()),
        coverage_80=scoring.coverage(actual, both["q0_1"].to_numpy(), both["q0_9"].to_numpy()),
        coverage_95=scoring.coverage(actual, both["q0_025"].to_numpy(), both["q0_975"].to_numpy()),
        seconds=seconds,
    )
