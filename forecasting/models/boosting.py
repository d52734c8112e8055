"""The pooled LightGBM on top of the per-store models.

Here belongs fitting and applying the trees that correct the linear models' log forecasts. They
are direct and multi-origin: a training row is a past origin and a day after it, described by
:mod:`forecasting.features.at_origin`, and its target is what the linear models got wrong.

LightGBM is imported where it is used: a run that forecasts with linear models alone would pay
most of a second for it.
"""

from __future__ import annotations

import os
from types import ModuleType

import numpy as np
import numpy.typing as npt

from forecasting.arrays import Array
from forecasting.models.at_origin import STACK_INPUTS

#: Training origins lie this many days apart, the promo cycle, and are at most so many.
ORIGIN_STEP_DAYS = 14
MAX_ORIGINS = 36
#: History that an origin needs before trees learn from it: with less than a year the linear
#: models' errors are those of a season never seen, and teach nothing.
ORIGIN_HISTORY_DAYS = 365
#: The trees' correction counts for nothing while training origins span fewer days than the
#: first of these, then ever more, and as much as ``FULL_WEIGHT`` from the second on.
SPAN_DAYS = (90, 180)
FULL_WEIGHT = 0.8
#: Training rows, at most; more change the accuracy by less than its noise.
MAX_ROWS = 500_000
DEFAULT_TREES = 300
#: Boosters that are averaged, each with a seed and a number of leaves of its own.
LEAVES = (63, 31)


def _lightgbm() -> ModuleType:
    """Import LightGBM such that its threads sleep while they wait for each other.

    By default they spin: where other work wants the processors too, the spinning keeps from
    them the very thread that is waited for, and a training takes many times as long.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import lightgbm

    return lightgbm


def stack_weight(span_days: int) -> float:
    """Tell how much the trees' correction counts, by the span of their training origins."""
    low, high = SPAN_DAYS
    return FULL_WEIGHT * float(np.clip((span_days - low) / (high - low), 0.0, 1.0))


def own_errors(error: Array, day: npt.NDArray[np.datetime64]) -> Array:
    """Take from each error what all stores had in common on its day.

    A shock that all stores share on a day is over with that day: trees that learn it from the
    calendar expect it again, and are wrong about all stores at once.

    Args:
        error: Log errors, shape (rows,).
        day: The day of each, of any number of origins.
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
    """Fit the trees on what the linear models got wrong at past origins.

    Args:
        x: Rows of :func:`forecasting.features.at_origin.stack_inputs`.
        target: Result of :func:`own_errors` for log sales minus the linear models' log forecasts,
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


def stack_correction(
    boosters: tuple[str, ...], x: npt.NDArray[np.float32], *, threads: int = 2
) -> Array:
    """Average the boosters' corrections of log forecasts: shape (rows,)."""
    if not boosters or len(x) == 0:
        return np.zeros(len(x))
    lgb = _lightgbm()

    total = np.zeros(len(x))
    for text in boosters:
        total += lgb.Booster(model_str=text).predict(x, num_threads=threads)
    return total / len(boosters)
