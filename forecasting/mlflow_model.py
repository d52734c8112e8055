"""The pooled model as MLflow serves it: a day panel in, forecasts out.

MLflow copies this file into each logged model and runs it when the model is loaded. Models are
registered in `forecast_assets/registry.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

from forecasting.columns import DAY_COLUMNS
from forecasting.models.pooled import PooledModel
from forecasting.pipeline import predict


class SalesForecast(PythonModel):
    """A pooled model behind MLflow's interface: a day panel in, forecasts out."""

    def load_context(self, context: Any) -> None:
        """Read the pooled model that was logged."""
        self._model = PooledModel.from_bytes(Path(context.artifacts["pooled_model"]).read_bytes())

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Forecast the days of a panel whose sales are missing.

        Args:
            context: Passed by MLflow; not used.
            model_input: Day panel, one row per store and date. Rows after a store's newest day
                with sales are forecast; they hold the plan of their day.
            params: Passed by MLflow; not used.

        Returns:
            The forecast frame: one row per store and future day, with point, mean and quantiles.

        Raises:
            ValueError: No day has sales, or the model was trained on days after a store's newest
                day with sales.
        """
        days = pd.DataFrame(model_input)[list(DAY_COLUMNS)].astype(
            {
                "store": np.int32,
                "date": "datetime64[ns]",
                "day_of_week": np.int16,
                "open": np.int16,
                "promo": np.int16,
                "school_holiday": np.int16,
                "state_holiday": str,
            }
        )
        days = days.sort_values(["store", "date"], ignore_index=True)
        origins = days[days["sales"].notna()].groupby("store")["date"].max()
        if origins.empty:
            raise ValueError(
                "no day of the panel has sales, so there is no origin to forecast from. "
                "Include past days with their sales"
            )
        days = days[days["store"].isin(origins.index)]
        origin = days["store"].map(origins)
        plan = days[days["date"] > origin].drop(columns=["sales", "customers"])
        horizon = int((plan["date"] - plan["store"].map(origins)).dt.days.max()) if len(plan) else 0
        out = predict(self._model, days, plan, origins, horizon=horizon)
        keys = ["store", "date"]
        requested = pd.MultiIndex.from_frame(out[keys]).isin(pd.MultiIndex.from_frame(plan[keys]))
        return out[requested].reset_index(drop=True)


set_model(SalesForecast())
