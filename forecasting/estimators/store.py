"""The per-store model behind sktime's interface.

It translates between sktime's conventions and this package's functions. The algebra lives in
`models/linear.py`; the forecaster of a whole panel lives in `panel.py`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pandas as pd
from scipy.stats import norm
from sktime.forecasting.base import BaseForecaster

from forecasting.arrays import Array
from forecasting.columns import PLAN_COLUMNS
from forecasting.estimators.day_panel import quantiles_at, to_dates, to_day_panel
from forecasting.models.linear import Moments, Population, posterior, store_noise
from forecasting.models.pooled import PooledModel
from forecasting.pipeline import predict

#: Store id that a single series gets.
_STORE = 1


class StoreRidgeForecaster(BaseForecaster):
    """Ridge regression of one store's sales on calendar, plan and trend, in closed form.

    With a daily date index and the exogenous columns `open`, `promo`, `state_holiday` and
    `school_holiday`, and a `pooled` model, the forecast equals that of the pipeline. Any other
    series gets the same closed form with a smaller set of regressors: trend, season dummies and
    the exogenous columns, standardized.

    Parameters
    ----------
    pooled : PooledModel, optional (default=None)
        Population that the coefficients are shrunk to, and calibration of the quantiles. It must
        not be trained on days after the end of `y`.
    season_length : int, optional (default=7)
        Steps in a season, for series that are not a store's day panel.
    half_life : float, optional (default=400.0)
        Steps after which the weight of a past observation halves, for such series.
    spread : float, optional (default=0.3)
        Prior standard deviation of each coefficient of such series, in units of the standard
        deviation of the series.

    References
    ----------
    .. [1] Laird, N. M. and Ware, J. H. (1982). Random-effects models for longitudinal data.
       Biometrics 38, 963-974.

    Examples
    --------
    >>> from sktime.datasets import load_airline
    >>> from forecasting.estimators.store import StoreRidgeForecaster
    >>> y = load_airline()
    >>> forecaster = StoreRidgeForecaster(season_length=12).fit(y, fh=[1, 2, 3])
    >>> forecaster.predict().shape
    (3,)
    """

    _tags: ClassVar[dict[str, Any]] = {
        "authors": ["forecast-assets"],
        "scitype:y": "univariate",
        "y_inner_mtype": "pd.Series",
        "X_inner_mtype": "pd.DataFrame",
        "requires-fh-in-fit": False,
        "capability:exogenous": True,
        "capability:missing_values": True,
        "capability:insample": True,
        "capability:pred_int": True,
        "capability:pred_int:insample": True,
        "X-y-must-have-same-index": True,
        "enforce_index_type": None,
    }

    def __init__(
        self,
        pooled: PooledModel | None = None,
        season_length: int = 7,
        half_life: float = 400.0,
        spread: float = 0.3,
    ) -> None:
        self.pooled = pooled
        self.season_length = season_length
        self.half_life = half_life
        self.spread = spread
        super().__init__()

    def _fit(self, y: pd.Series, X: pd.DataFrame | None, fh: Any) -> StoreRidgeForecaster:
        """Fit to a series.

        Parameters
        ----------
        y : pd.Series, shape (n,)
            The series; missing values are left out.
        X : pd.DataFrame, shape (n, columns), optional
            Exogenous columns on the same index.
        fh : ForecastingHorizon, optional
            Not used.

        Returns
        -------
        self : reference to self
        """
        self.name_ = y.name
        self.is_store_ = self.pooled is not None and _is_day_panel(y, X)
        if self.is_store_ and X is not None:
            self._fit_store(y, X)
        else:
            self._fit_series(y, X)
        return self

    def _fit_store(self, y: pd.Series, X: pd.DataFrame) -> None:
        self.days_ = _day_panel(y, X)
        self.origins_ = pd.Series([self.days_["date"].max()], index=[_STORE])

    def _fit_series(self, y: pd.Series, X: pd.DataFrame | None) -> None:
        values = y.to_numpy(np.float64)
        known = ~np.isnan(values)
        self.logs_ = bool(known.any()) and bool((values[known] > 0).all())
        target = np.log(values) if self.logs_ else values
        self.center_ = float(target[known].mean()) if known.any() else 0.0
        deviation = float(target[known].std()) if known.any() else 0.0
        self.unit_ = deviation if deviation > 1e-12 else 1.0
        self.n_ = len(y)
        if X is not None:
            columns = X.apply(pd.to_numeric, errors="coerce")
            self.x_center_ = columns.mean().fillna(0.0)
            self.x_unit_ = columns.std(ddof=0).replace(0.0, 1.0).fillna(1.0)
        x = self._regressors(np.arange(self.n_), X)
        weight = 0.5 ** ((self.n_ - 1 - np.arange(self.n_)) / self.half_life)
        moments = Moments.zeros(1, x.shape[1])
        standard = (target - self.center_) / self.unit_
        moments.add(0, x[known], standard[known], weight[known])
        variances = np.full(x.shape[1], self.spread**2)
        variances[0] = 1.0
        prior = Population(np.zeros(x.shape[1]), np.diag(variances), 0.1)
        coefficients, _ = posterior(moments, prior)
        noise = store_noise(moments, coefficients, 0.1)
        coefficients, covariance = posterior(moments, prior, noise)
        self.coefficients_, self.covariance_, self.noise_ = coefficients[0], covariance[0], noise[0]

    def _regressors(self, step: np.ndarray, X: pd.DataFrame | None) -> Array:
        """Expand steps (0 is the first of the series) and exogenous columns into regressors."""
        season = np.equal.outer(step % self.season_length, np.arange(1, self.season_length))
        parts = [np.ones((len(step), 1)), (step / max(self.n_, 1) - 0.5)[:, None], season]
        if X is not None:
            columns = X.apply(pd.to_numeric, errors="coerce")
            parts.append(((columns - self.x_center_) / self.x_unit_).fillna(0.0).to_numpy())
        return np.hstack([part.astype(np.float64) for part in parts])

    def _predict(self, fh: Any, X: pd.DataFrame | None) -> pd.Series:
        """Forecast the series.

        Parameters
        ----------
        fh : ForecastingHorizon
            The steps to forecast.
        X : pd.DataFrame, optional
            Exogenous columns for (at least) those steps.

        Returns
        -------
        pd.Series, shape (len(fh),)
            Point forecasts: for a store the one suited to RMSPE, else the median.
        """
        index = fh.to_absolute_index(self.cutoff)
        if self.is_store_:
            values = self._store_forecast(index, X)["point"].to_numpy()
        else:
            center, _ = self._series_forecast(fh, X)
            values = self._to_sales(center)
        return pd.Series(values, index=index, name=self.name_)

    def _predict_quantiles(
        self, fh: Any, X: pd.DataFrame | None, alpha: list[float]
    ) -> pd.DataFrame:
        """Forecast quantiles.

        Parameters
        ----------
        fh : ForecastingHorizon
            The steps to forecast.
        X : pd.DataFrame, optional
            Exogenous columns for (at least) those steps.
        alpha : list of float
            Probability levels. For a store, they are interpolated between the calibrated ones.

        Returns
        -------
        pd.DataFrame, shape (len(fh), len(alpha))
            Columns are pairs of variable name and level.
        """
        index = fh.to_absolute_index(self.cutoff)
        name = self._get_varnames()[0]
        if self.is_store_:
            values = quantiles_at(self._store_forecast(index, X), alpha)
        else:
            center, deviation = self._series_forecast(fh, X)
            values = np.stack([self._to_sales(center + norm.ppf(a) * deviation) for a in alpha], 1)
        columns = pd.MultiIndex.from_product([[name], alpha])
        return pd.DataFrame(values, index=index, columns=columns)

    def _to_sales(self, values: Array) -> Array:
        return np.exp(values) if self.logs_ else values

    def _series_forecast(self, fh: Any, X: pd.DataFrame | None) -> tuple[Array, Array]:
        """Return centre and standard deviation on the scale of the regression's target."""
        steps = np.asarray(fh.to_relative(self.cutoff).to_pandas(), np.int64) + self.n_ - 1
        if X is not None:
            X = X.reindex(fh.to_absolute_index(self.cutoff)) if len(X) != len(steps) else X
        x = self._regressors(steps, X)
        variance = self.noise_ + np.einsum("ri,ij,rj->r", x, self.covariance_, x)
        return (
            self.center_ + self.unit_ * (x @ self.coefficients_),
            self.unit_ * np.sqrt(variance),
        )

    def _store_forecast(self, index: pd.Index, X: pd.DataFrame | None) -> pd.DataFrame:
        """Forecast a store's days through the pipeline, one row per entry of the index."""
        dates = to_dates(index)
        origin = self.origins_[_STORE]
        horizon = int((dates.max() - origin).days)
        if dates.min() <= origin:
            raise NotImplementedError("a store can only be forecast after the end of y")
        plan = self.days_.head(0)
        if X is not None:
            plan = _day_panel(pd.Series(np.nan, index=X.index), X)
        # The store's model is fitted here, not in `_fit`, because features of the last past days
        # look ahead into the plan. Fitting one store takes milliseconds.
        rows = predict(self.pooled, self.days_, plan, self.origins_, horizon=horizon)
        return rows.set_index("date").loc[dates]

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Return settings for sktime's own tests.

        Parameters
        ----------
        parameter_set : str, optional (default="default")
            Not used.

        Returns
        -------
        list of dict
        """
        return [{}, {"season_length": 3, "half_life": 50.0, "spread": 1.0}]


def _is_day_panel(y: pd.Series, X: pd.DataFrame | None) -> bool:
    """Return whether a series has daily dates and the plan's columns."""
    if X is None or not set(PLAN_COLUMNS) <= set(X.columns):
        return False
    if isinstance(y.index, pd.PeriodIndex):
        return bool(y.index.freqstr == "D")
    return isinstance(y.index, pd.DatetimeIndex) and bool((y.index == y.index.normalize()).all())


def _day_panel(y: pd.Series, X: pd.DataFrame) -> pd.DataFrame:
    """Turn a series and its exogenous columns into the day panel of one store."""
    stores = np.full(len(y), _STORE, np.int32)
    return to_day_panel(stores, to_dates(y.index), y, X)
