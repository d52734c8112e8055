"""Importance of each regressor and of each input of the trees in a pooled model.

The effects on one forecast live in `forecasting/explanation.py`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from forecasting.features.regressors import DESIGN_COLUMNS
from forecasting.models.at_origin import STACK_INPUTS
from forecasting.models.moments import HALF_LIFE_WEIGHTS
from forecasting.models.pooled import PooledModel


def linear_importance(model: PooledModel) -> pd.Series:
    """Return how much each regressor moves a typical store's sales from day to day.

    Returns:
        Standard deviation of each regressor's effect over past days, in log units (0.1 is about
        10 % of sales), by regressor, largest first, without the intercept.
    """
    means = np.stack([population.mean for population in model.populations])
    coefficients = np.array(HALF_LIFE_WEIGHTS) @ means
    average = model.typical[DESIGN_COLUMNS.index("intercept")]
    variance = np.clip(np.diag(model.typical) - average**2, 0.0, None)
    effect = pd.Series(np.abs(coefficients) * np.sqrt(variance), index=list(DESIGN_COLUMNS))
    return effect.drop("intercept").sort_values(ascending=False)


def tree_importance(model: PooledModel) -> pd.Series:
    """Return the share of each input in the gain of the trees.

    Returns:
        Shares of gain that add up to 1, by input, largest first; empty without trees.
    """
    if not model.boosters:
        return pd.Series(dtype=np.float64)
    import lightgbm as lgb

    gain = np.zeros(len(STACK_INPUTS))
    for text in model.boosters:
        gain += lgb.Booster(model_str=text).feature_importance("gain")
    total = gain.sum()
    share = gain / total if total > 0 else gain
    return pd.Series(share, index=list(STACK_INPUTS)).sort_values(ascending=False)
