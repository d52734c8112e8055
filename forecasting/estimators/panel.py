"""The sktime forecaster for a panel of stores.

It translates between sktime's (store, date) panels and this package's frames. The forecaster for
one store's series is in `store.py`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pandas as pd
from sktime.forecasting.base import BaseForecaster

from forecasting.columns import PLAN_COLUMNS
from forecasting.estimators.day_panel import quantiles_at, to_dates, to_day_panel
from forecasting.models.boosting import DEFAULT_TREES
from forecasting.models.pooled import DEFAULT_HORIZON, Recipe
from forecasting.pipeline import fit, predict


class SalesForecaster(BaseForecaster):
    """Pooled and per-store models for a panel of stores with a plan.

    `y` is a panel indexed by (store, date). `X` has the columns `open`, `promo`,
    `state_holiday` and `school_holiday` on the same index and for the days to forecast. Days
    beyond `X` get the usual openings and the promo cycle.

    Parameters
    ----------
    recipe : {"ridge", "stack"}, optional (default="stack")
        Linear models alone, or LightGBM on top of them.
    horizon : int, optional (default=42)
        Days ahead that quantiles are calibrated for.
    trees : int, optional (default=300)
        Trees of each of the stack's boosters.
    seed : int, optional (default=0)
        Seed of every random choice.
    threads : int, optional (default=2)
        Threads for LightGBM.
    """

    _tags: ClassVar[dict[str, Any]] = {
        "authors": ["forecast-assets"],
        "scitype:y": "univariate",
        "y_inner_mtype": ["pd-multiindex"],
        "X_inner_mtype": ["pd-multiindex"],
        "requires-fh-in-fit": False,
        "capability:exogenous": True,
        "capability:missing_values": True,
        "capability:insample": False,
        "capability:pred_int": True,
        "capability:pred_int:insample": False,
        "X-y-must-have-same-index": True,
    }

    def __init__(
        self,
        recipe: Recipe = "stack",
        horizon: int = DEFAULT_HORIZON,
        trees: int = DEFAULT_TREES,
        seed: int = 0,
        threads: int = 2,
    ) -> None:
        self.recipe = recipe
        self.horizon = horizon
        self.trees = trees
        self.seed = seed
        self.threads = threads
        super().__init__()

    def _fit(self, y: pd.DataFrame, X: pd.DataFrame | None, fh: Any) -> SalesForecaster:
        """Fit the pooled model.

        Parameters
        ----------
        y : pd.DataFrame, shape (rows, 1), index (store, date)
            Sales; missing where unknown.
        X : pd.DataFrame, index (store, date)
            The plan of the same days.
        fh : ForecastingHorizon, optional
            Not used.

        Returns:
        -------
        self : reference to self

        Raises:
        ------
        ValueError
            `X` is missing or lacks a column of the plan.
        """
        self.column_ = y.columns[0]
        self.days_ = _panel_days(y[self.column_], X)
        origin = self.days_["date"].max()
        stores = np.unique(self.days_["store"])
        self.origins_ = pd.Series(origin, index=stores)
        self.pooled_ = fit(
            self.days_,
            self.days_.head(0),
            origin,
            self.recipe,
            horizon=self.horizon,
            trees=self.trees,
            seed=self.seed,
            threads=self.threads,
        )
        return self

    def _predict(self, fh: Any, X: pd.DataFrame | None) -> pd.DataFrame:
        """Forecast every store.

        Parameters
        ----------
        fh : ForecastingHorizon
            The days to forecast, the same for all stores.
        X : pd.DataFrame, index (store, date), optional
            The plan of (at least) those days.

        Returns:
        -------
        pd.DataFrame, shape (stores * len(fh), 1), index (store, date)
            The point forecast suited to RMSPE.
        """
        out = self._forecast(fh, X)
        return pd.DataFrame({self.column_: out["point"].to_numpy()}, index=self._index(out))

    def _predict_quantiles(
        self, fh: Any, X: pd.DataFrame | None, alpha: list[float]
    ) -> pd.DataFrame:
        """Forecast quantiles of every store.

        Parameters
        ----------
        fh : ForecastingHorizon
            The days to forecast.
        X : pd.DataFrame, index (store, date), optional
            The plan of (at least) those days.
        alpha : list of float
            Probability levels, interpolated between the calibrated ones.

        Returns:
        -------
        pd.DataFrame, shape (stores * len(fh), len(alpha)), index (store, date)
            Columns are pairs of variable name and level.
        """
        out = self._forecast(fh, X)
        values = quantiles_at(out, alpha)
        columns = pd.MultiIndex.from_product([[self.column_], alpha])
        return pd.DataFrame(values, index=self._index(out), columns=columns)

    def _index(self, out: pd.DataFrame) -> pd.MultiIndex:
        names = list(self._y.index.names)
        return pd.MultiIndex.from_arrays([out["store"].astype(int), out["date"]], names=names)

    def _forecast(self, fh: Any, X: pd.DataFrame | None) -> pd.DataFrame:
        steps = np.asarray(fh.to_relative(self.cutoff).to_pandas(), np.int64)
        if steps.min() < 1:
            raise NotImplementedError("days can only be forecast after the end of y")
        plan = self.days_.head(0)
        if X is not None:
            plan = _panel_days(pd.Series(np.nan, index=X.index), X)
        out = predict(self.pooled_, self.days_, plan, self.origins_, horizon=int(steps.max()))
        return out[out["horizon"].isin(steps)].reset_index(drop=True)


def _panel_days(y: pd.Series, X: pd.DataFrame | None) -> pd.DataFrame:
    """Turn a panel and its plan into the day panel."""
    if X is None or not set(PLAN_COLUMNS) <= set(X.columns):
        raise ValueError(f"X must have the columns {', '.join(PLAN_COLUMNS)}")
    stores, dates = y.index.get_level_values(0), y.index.get_level_values(1)
    frame = to_day_panel(stores.to_numpy(np.int32), to_dates(dates), y, X)
    return frame.sort_values(["store", "date"], ignore_index=True)
