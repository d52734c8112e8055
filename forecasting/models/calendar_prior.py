"""What is assumed about a part of the year that a chain has not shown yet.

The linear models learn seasons from sales. With less than a year of sales, some regressors have
never been seen, and others (the yearly waves) are known on a part of the year only and would
continue at will in the rest. These are the stated rules for short histories: the centre and the
standard deviation of the pooled coefficients before any sales, and how much stores differ in them.
Sales outweigh all of it once they show the season. Nothing here was fitted to a chain's sales
except where a constant says so.

The estimate that weighs these assumptions against sales is `settle` in `linear.py`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from forecasting.arrays import Array
from forecasting.features.regressors import AFTER_CHRISTMAS, BEFORE_CHRISTMAS, DESIGN_COLUMNS

#: Prior standard deviation of the pooled coefficients and of the yearly trend (log units).
COEFFICIENT_REACH = 0.2
TREND_REACH = 0.05
#: The same for the first yearly wave; the k-th has the k-th part. Christmas and Easter have
#: regressors of their own, so what is left of a year is gentle. Chosen among 0.01, 0.025 and 0.05
#: on histories that were cut to begin later, see docs/forecasting.md.
WAVE_REACH = 0.025
#: Standard deviation, between stores, of a coefficient, of a yearly wave's and of the trend's,
#: before any sales. It decides how far a store's own waves go into an unseen season. Chosen on the
#: same cut histories.
STORE_SPREAD = 0.05
WAVE_SPREAD = 0.015
TREND_SPREAD = 0.03
#: The same of a store's level.
LEVEL_SPREAD = 0.5
#: Rise of sales towards Christmas Eve (log units) before any December is known, and the days before
#: Christmas on which it begins. It grows evenly. With it, December sells 1.21 times an average
#: month, and November and December 18.5 % of a year. Published before 2013: 1.14 to 1.17 times for
#: all retailers of the United States (Census Bureau, factors of 2011 and 2012, from 1.1 for
#: drugstores to 1.6 for clothing), about 19 % for retailers in Germany (HDE). So it is a round
#: number between two publications and was not fitted to any sales.
CHRISTMAS_RISE = 0.5
CHRISTMAS_DAYS = 33
#: Prior standard deviation of the whole rise as a part of it, and of each bin of days around it. So
#: a chain that shows no rise on some days of December is expected to show none on the others.
RISE_DEVIATION = 0.5
BIN_DEVIATION = 0.1
#: Prior standard deviation of what a promotion adds in December beside its usual effect. Where
#: promotions and bins fall on the same days, it keeps them from explaining each other.
PROMO_DECEMBER_REACH = 0.05
#: Effect of the shorter day on Christmas Eve and New Year's Eve, when shops close around two in the
#: afternoon (in Germany by law on Christmas Eve): about 0.6 of a day, rounded.
HALF_DAY = -0.5
#: Days of history up to which the assumptions count in full, and from which on they do not count. A
#: season seen once may still be the trend; one seen twice speaks for itself.
SHORT_DAYS, LONG_DAYS = 365, 730
#: Prior standard deviation of the intercept, which is left to the sales.
_FREE = 100.0
#: Days from 25 December to Christmas Eve and to New Year's Eve.
_CHRISTMAS_EVE, _NEW_YEARS_EVE = 1, 6

_WAVES = {name: int(name.rsplit("_", 1)[1]) for name in DESIGN_COLUMNS if name.startswith("year_")}
#: Regressors that describe a season of the year: a chain knows their effects from so many years.
_SEASONAL = (
    *_WAVES,
    "promo_december",
    "before_mothers_day",
    "before_valentine",
    *(name for name in DESIGN_COLUMNS if "christmas" in name or name.startswith("easter")),
)


def prior_center() -> Array:
    """Return the pooled coefficients that are assumed before any sales, shape (p,)."""
    center = np.zeros(len(DESIGN_COLUMNS))
    for low, high in BEFORE_CHRISTMAS:
        column = DESIGN_COLUMNS.index(f"before_christmas_{low}_{high}")
        center[column] = _rise(low, high)
        if low <= _CHRISTMAS_EVE <= high:
            center[column] += HALF_DAY
    for low, high in AFTER_CHRISTMAS:
        if low <= _NEW_YEARS_EVE <= high:
            center[DESIGN_COLUMNS.index(f"after_christmas_{low}_{high}")] = HALF_DAY
    return center


def _rise(low: int, high: int) -> float:
    """Return the assumed rise in a bin of days before Christmas."""
    return CHRISTMAS_RISE * (1.0 - (low + high) / 2 / CHRISTMAS_DAYS)


def prior_reach() -> Array:
    """Return the prior standard deviation of the coefficients of a store alone, shape (p,)."""
    reach = np.full(len(DESIGN_COLUMNS), COEFFICIENT_REACH)
    reach[DESIGN_COLUMNS.index("trend")] = TREND_REACH
    return reach


def prior_covariance() -> Array:
    """Return the prior covariance of the pooled coefficients, shape (p, p)."""
    deviation = prior_reach()
    deviation[0] = _FREE
    deviation[DESIGN_COLUMNS.index("promo_december")] = PROMO_DECEMBER_REACH
    for name, k in _WAVES.items():
        deviation[DESIGN_COLUMNS.index(name)] = WAVE_REACH / k
    rise = np.zeros(len(DESIGN_COLUMNS))
    for low, high in BEFORE_CHRISTMAS:
        column = DESIGN_COLUMNS.index(f"before_christmas_{low}_{high}")
        deviation[column] = BIN_DEVIATION
        rise[column] = _rise(low, high)
    return np.diag(deviation**2) + RISE_DEVIATION**2 * np.outer(rise, rise)


def prior_share(history_days: float) -> float:
    """Return the weight of the assumptions, from 1 for a short history down to 0."""
    return float(np.clip((LONG_DAYS - history_days) / (LONG_DAYS - SHORT_DAYS), 0.0, 1.0))


def store_spread() -> Array:
    """Return the standard deviation of each coefficient between stores before sales, shape (p,)."""
    spread = np.full(len(DESIGN_COLUMNS), STORE_SPREAD)
    spread[DESIGN_COLUMNS.index("trend")] = TREND_SPREAD
    for name in _WAVES:
        spread[DESIGN_COLUMNS.index(name)] = WAVE_SPREAD
    spread[0] = LEVEL_SPREAD
    return spread


def seasonal_columns() -> npt.NDArray[np.intp]:
    """Return the positions of the regressors that describe a season of the year."""
    return np.array([DESIGN_COLUMNS.index(name) for name in _SEASONAL])
