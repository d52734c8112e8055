"""Tests of a store's level: the usual one, and one that changed a few days ago."""

from __future__ import annotations

import numpy as np
import pytest

from forecasting.arrays import Array
from forecasting.models.levels import LEVEL_DAYS, LEVEL_PRIOR_DAYS, recent_levels

_WEIGHTS = np.array([0.5, 0.3, 0.2])
_NOISE = 0.1


def _level(residuals: Array, scale: float = _NOISE) -> float:
    """Return the level of one store from its residuals, the oldest first."""
    known = np.flatnonzero(~np.isnan(residuals))
    age = len(residuals) - 1 - known
    rows = np.repeat(residuals[known, None], 3, axis=1)
    store = np.zeros(len(known), np.int64)
    return float(recent_levels(rows, store, age, np.array([scale]), _WEIGHTS)[0, 0])


def _residuals(days: int, shift: float, seed: int = 0) -> Array:
    """Return four weeks of residuals, closed on Sundays, whose last days are shifted."""
    residuals = np.random.default_rng(seed).normal(0, _NOISE, LEVEL_DAYS)
    residuals[LEVEL_DAYS - days :] += shift
    residuals[6::7] = np.nan
    return residuals


def test_without_a_change_the_level_is_the_shrunk_mean() -> None:
    residuals = _residuals(0, 0.0)
    known = residuals[~np.isnan(residuals)]
    usual = known.sum() / (len(known) + LEVEL_PRIOR_DAYS)
    assert _level(residuals) == pytest.approx(usual, abs=0.01)
    assert _level(np.full(LEVEL_DAYS, np.nan)) == 0.0


@pytest.mark.parametrize("shift", [np.log(0.7), np.log(1.4)])
def test_a_large_change_is_followed_within_a_week(shift: float) -> None:
    """The level is within 10 % of the new one, for at least three of four stores."""
    after = [abs(_level(_residuals(7, shift, seed)) - shift) < 0.1 for seed in range(40)]
    assert np.mean(after) >= 0.75
    late = [abs(_level(_residuals(14, shift, seed)) - shift) < 0.1 for seed in range(40)]
    assert np.mean(late) >= 0.95


def test_one_strange_day_is_no_change() -> None:
    """The level moves by no more than the day's part of the mean."""
    for size in (-3.0, 1.0):
        residuals = np.zeros(LEVEL_DAYS)
        residuals[-1] = size
        assert abs(_level(residuals)) < 1.3 * abs(size) / (LEVEL_DAYS + LEVEL_PRIOR_DAYS)


def test_a_change_needs_more_evidence_where_sales_vary_more() -> None:
    residuals = _residuals(6, np.log(0.7))
    assert _level(residuals, scale=0.1) < -0.25
    assert _level(residuals, scale=0.4) > -0.2


def test_a_store_has_the_same_level_alone_as_beside_others() -> None:
    several = [_residuals(days, -0.4, seed=days) for days in (0, 5, 20)]
    rows = [np.flatnonzero(~np.isnan(residuals)) for residuals in several]
    residual = np.concatenate([residuals[k] for residuals, k in zip(several, rows, strict=True)])
    together = recent_levels(
        np.repeat(residual[:, None], 3, axis=1),
        np.repeat(np.arange(3), [len(k) for k in rows]),
        np.concatenate([LEVEL_DAYS - 1 - k for k in rows]),
        np.full(3, _NOISE),
        _WEIGHTS,
    )
    for store, residuals in enumerate(several):
        assert together[store, 0] == pytest.approx(_level(residuals), abs=1e-12)
