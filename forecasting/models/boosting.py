"""The pooled LightGBM on top of the per-store models.

The trees correct the linear models' log forecasts. They are direct and multi-origin: a training
row is a past origin and a day after it, and its target is the error of the linear models. The
inputs live in `models/at_origin.py`, the choice of training rows in `models/training.py`.

LightGBM is imported where it is used, because the import takes most of a second and a forecast
with linear models alone does not need it.
"""

from __future__ import annotations

import os
from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from forecasting.arrays import Array
from forecasting.models.at_origin import STACK_INPUTS

#: Days between training origins (the promo cycle), and the largest number of origins.
ORIGIN_STEP_DAYS = 14
MAX_ORIGINS = 36
#: Days of history that a training origin needs. With less than a year the linear models have not
#: seen the season, and their errors do not repeat.
ORIGIN_HISTORY_DAYS = 365
#: Spans of the training origins, in days. Below the first span, the trees' correction has weight 0.
#: From the second span on, it has `FULL_WEIGHT`. In between, the weight grows linearly.
SPAN_DAYS = (90, 180)
FULL_WEIGHT = 0.8
#: Largest number of training rows. More rows change the accuracy by less than its noise.
MAX_ROWS = 500_000
#: Trees of each booster.
DEFAULT_TREES = 300
#: Leaves of each of the averaged boosters. Each booster has a seed of its own.
LEAVES = (63, 31)


def _lightgbm() -> ModuleType:
    """Import LightGBM with OpenMP threads that sleep, instead of spin, while they wait.

    On a busy machine, spinning threads occupy the processor that the awaited thread needs, and a
    training takes many times as long.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import lightgbm

    return lightgbm


def stack_weight(span_days: int) -> float:
    """Return the weight of the trees' correction for a span of training origins."""
    low, high = SPAN_DAYS
    return FULL_WEIGHT * float(np.clip((span_days - low) / (high - low), 0.0, 1.0))


def own_errors(error: Array, day: npt.NDArray[np.datetime64]) -> Array:
    """Subtract from each error the mean error of all stores on its day.

    A shock shared by all stores ends with its day. Trees that learn it from the calendar would
    expect it again, and be wrong about all stores at once.

    Args:
        error: Log errors, shape (rows,).
        day: Day of each error; the errors may come from several origins.
    """
    _, index = np.unique(day, return_inverse=True)
    common = np.bincount(index, error) / np.bincount(index)
    own: Array = error - common[index]
    return own


def fit_boosters(
    x: npt.NDArray[np.float32],
    target: Array,
    *,
    trees: int = DEFAULT_TREES,
    seed: int = 0,
    threads: int = 2,
) -> tuple[str, ...]:
    """Fit the trees to the errors of the linear models at past origins.

    Args:
        x: Rows of `stack_inputs`.
        target: Result of `own_errors` for log sales minus the linear models' log forecasts,
            shape (rows,).
        trees: Trees of each booster.
        seed: Seed of sampling; the same data and seed give the same boosters.
        threads: Threads to use.

    Returns:
        The boosters in LightGBM's text form.
    """
    lgb = _lightgbm()

    boosters = []
    for k, leaves in enumerate(LEAVES):
        parameters = {
            "objective": "regression",
            "learning_rate": 0.05,
            "num_leaves": leaves,
            "min_data_in_leaf": 200,
            "feature_fraction": 0.35,
            "bagging_fraction": 0.7,
            "bagging_freq": 1,
            "lambda_l2": 5.0,
            "max_bin": 127,
            "num_threads": threads,
            "seed": seed + k,
            "deterministic": True,
            "force_row_wise": True,
            "verbose": -1,
        }
        data = lgb.Dataset(x, target, feature_name=list(STACK_INPUTS), free_raw_data=True)
        boosters.append(lgb.train(parameters, data, trees).model_to_string())
    return tuple(boosters)


@lru_cache(maxsize=2 * len(LEAVES))
def _booster(text: str) -> Any:
    """Read a booster; its reading takes longer than a store's forecast."""
    return _lightgbm().Booster(model_str=text)


def stack_correction(
    boosters: tuple[str, ...], x: npt.NDArray[np.float32], *, threads: int = 2
) -> Array:
    """Average the boosters' corrections of log forecasts: shape (rows,)."""
    if not boosters or len(x) == 0:
        return np.zeros(len(x))
    total = np.zeros(len(x))
    for text in boosters:
        total += _booster(text).predict(x, num_threads=threads)
    return total / len(boosters)
