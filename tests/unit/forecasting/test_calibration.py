"""Tests of calibration: which past errors it learns from, and which it takes for chance."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from forecasting.calibration import KINDS, Calibration, calibrate, point_of, quantiles_of
from forecasting.columns import QUANTILES

ROWS = 20_000


def _kinds(weekday_promo: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.int64]]:
    zero = np.zeros(len(weekday_promo), np.int64)
    return {"weekday_promo": weekday_promo, "special": zero, "third": zero}


def _calibrated(shift: float = 0.0, noisy_rows: int = 0) -> tuple[Calibration, np.ndarray]:
    generator = np.random.default_rng(0)
    residual = generator.normal(0.0, 0.1, ROWS)
    kind = np.zeros(ROWS, np.int64)
    kind[:noisy_rows] = 1
    residual[:noisy_rows] *= 3.0
    log_actual = 8.0 + shift + residual
    scale = np.full(ROWS, 0.1)
    return calibrate(log_actual, np.full(ROWS, 8.0), scale, _kinds(kind)), np.exp(log_actual)


def test_what_all_stores_shared_moves_neither_quantiles_nor_point() -> None:
    level, _ = _calibrated()
    shifted, _ = _calibrated(shift=-0.05)
    np.testing.assert_allclose(shifted.z, level.z, atol=1e-9)
    assert abs(shifted.z[QUANTILES.index(0.5)]) < 1e-3
    row = np.array([8.0]), np.array([0.1])
    np.testing.assert_allclose(
        point_of(shifted, *row, "rmspe"), point_of(level, *row, "rmspe"), rtol=1e-9
    )


def test_totals_of_the_past_move_the_mean_half_way() -> None:
    level, _ = _calibrated()
    shifted, _ = _calibrated(shift=-0.04)
    np.testing.assert_allclose(shifted.mean_factor / level.mean_factor, np.exp(-0.02), rtol=1e-3)


def test_quantiles_hold_their_share_of_the_past() -> None:
    calibration, actual = _calibrated()
    quantiles = quantiles_of(calibration, np.full(ROWS, 8.0), np.full(ROWS, 0.1))
    below = (actual[:, None] < quantiles).mean(axis=0)
    np.testing.assert_allclose(below, QUANTILES, atol=4e-3)


def test_a_kind_of_day_gets_its_factor_as_far_as_it_has_days() -> None:
    factors = [_calibrated(noisy_rows=rows)[0].factors["weekday_promo"] for rows in (50, 4000)]
    few, many = (factor[1] / factor[0] for factor in factors)
    assert 1.0 < few < 1.5, "a day or two of the chain is not enough"
    assert 2.4 < many < 3.3
    assert set(KINDS) == {"weekday_promo", "special", "third"}
