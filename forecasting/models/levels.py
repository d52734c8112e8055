"""A store's level: how far its sales of the last weeks lie from what its linear models say.

Usually the level is the mean residual of the last weeks, shrunk to zero. That is slow when a store
sells a third less from one day on. So each day of these weeks is considered as the first day of a
new level, too. The days since then are weighed by how much likelier they make the residuals
(Bayesian averaging over one change point; compare Adams and MacKay 2007, "Bayesian Online
Changepoint Detection", arXiv:0710.3742). Without such evidence, the level is the usual one.

Only a store's own residuals count, so a store has the same level alone as within the chain.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from forecasting.arrays import Array

#: Days before the origin whose residuals make a store's level.
LEVEL_DAYS = 28
#: Days with residual 0 that are added to the mean residual of a level that did not change.
LEVEL_PRIOR_DAYS = 8.0
#: Standard deviation of a new level around the linear models (log units).
CHANGE_DEVIATION = 0.3
#: Prior probability that a level changes on a day, and the factor on a store's noise variance, as
#: errors of neighbouring days are correlated. Chosen among 0.01, 0.001 and 0.0001, and 5, 3 and 2,
#: on every twelfth Rossmann store: the fastest that costs nothing without a change, see
#: docs/forecasting.md.
CHANGE_RATE = 1e-3
CHANGE_NOISE = 2.0
#: Days with sales that a new level needs. One strange day or two are no level.
MIN_CHANGED_DAYS = 3
#: Bound to which residuals are cut before they count as evidence (log units).
EVIDENCE_BOUND = 0.5
#: Smallest standard deviation of a store's noise.
_MIN_SCALE = 0.02


def recent_levels(
    residual: Array,
    store: npt.NDArray[np.int64],
    age: npt.NDArray[np.int64],
    scale: Array,
    weights: Array,
) -> Array:
    """Return the level of each store at an origin.

    Args:
        residual: Log residuals of rows within the last `LEVEL_DAYS` days, shape (rows, half-lives).
        store: Position of each row's store.
        age: Days from each row to the origin, from 0.
        scale: Standard deviation of each store's daily residuals, shape (stores,).
        weights: Weight of each half-life in the residuals that count as evidence.

    Returns:
        Shape (stores, half-lives).
    """
    stores, parts = len(scale), residual.shape[1]
    value = np.zeros((stores, LEVEL_DAYS, parts))
    known = np.zeros((stores, LEVEL_DAYS))
    value[store, age], known[store, age] = residual, 1.0
    evidence = np.zeros((stores, LEVEL_DAYS))
    evidence[store, age] = np.clip(residual @ weights, -EVIDENCE_BOUND, EVIDENCE_BOUND)
    # Sums over the last 1, 2, … days; the last of them is over all.
    total, count = value.cumsum(axis=1), known.cumsum(axis=1)
    variance = CHANGE_NOISE * np.maximum(scale, _MIN_SCALE)[:, None] ** 2
    share = _changed_shares(evidence.cumsum(axis=1), count, known, variance)
    new = total / (count + variance / CHANGE_DEVIATION**2)[:, :, None]
    usual = total[:, -1] / (count[:, -1] + LEVEL_PRIOR_DAYS)[:, None]
    out: Array = (share[:, :, None] * new).sum(axis=1)
    return out + (1.0 - share.sum(axis=1))[:, None] * usual


def _changed_shares(total: Array, count: Array, known: Array, variance: Array) -> Array:
    """Return the probability that the level changed just before the last 1, 2, … days.

    Args:
        total: Sums of the residuals of the last 1, 2, … days, shape (stores, days).
        count: Numbers of known days, likewise.
        known: 1 on known days, from the last day back, shape (stores, days).
        variance: Noise variance of each store, shape (stores, 1).

    Returns:
        Shape (stores, days); what is missing to 1 is the probability of no change.
    """
    all_total, all_count = total[:, [-1]], count[:, [-1]]
    before = _log_evidence(all_total - total, all_count - count, LEVEL_PRIOR_DAYS, variance)
    after = _log_evidence(total, count, variance / CHANGE_DEVIATION**2, variance)
    same = _log_evidence(all_total, all_count, LEVEL_PRIOR_DAYS, variance)
    odds = np.log(CHANGE_RATE) + before + after - same
    # A change begins on a known day, and enough days have followed.
    odds = np.where((known > 0) & (count >= MIN_CHANGED_DAYS), odds, -np.inf)
    top = np.maximum(odds.max(axis=1, keepdims=True), 0.0)
    weight = np.exp(odds - top)
    out: Array = weight / (np.exp(-top) + weight.sum(axis=1, keepdims=True))
    return out


def _log_evidence(total: Array, count: Array, prior_days: Array | float, variance: Array) -> Array:
    """Return the log likelihood of residuals with one unknown level, up to a common constant."""
    out: Array = -0.5 * np.log1p(count / prior_days)
    return out + total**2 / (2.0 * variance * (count + prior_days))
