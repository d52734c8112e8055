"""Lineage of a forecast that needs the models and the events: its effects, and the sales it saw.

Rows of the lineage are read in `trace.py`. Both the command `trace` and the service show this.
"""

import math
from datetime import date, timedelta
from typing import Any

import pandas as pd

from forecasting.cleaning import winning_events
from forecasting.models.at_origin import RESIDUAL_DAYS
from forecasting.models.model_format import MODEL_FORMAT
from forecasting.models.refit import fit_day
from warehouse import forecaster, models, sales
from warehouse import trace as table
from warehouse.connection import Transaction
from warehouse.models import PooledVersion
from warehouse.trace import Refresh


def model_summary(version: PooledVersion | None) -> dict[str, Any] | None:
    """Return what there is to say of a pooled model, ready for JSON; None without one."""
    if version is None:
        return None
    return {
        "version": version.version,
        "recipe": version.recipe,
        "trained_until": str(version.trained_until),
        "mlflow_run_id": version.mlflow_run_id,
        "mlflow_version": version.mlflow_version,
        "metrics": version.metrics,
    }


def sales_seen(
    transaction: Transaction, store: int, origin: date, days: int, refresh: Refresh | None
) -> list[dict[str, Any]]:
    """Return the sales that the forecast saw, newest first, and the events they came from.

    What came, was requeued or withdrawn after the refresh claimed its changes does not hide what
    the forecast saw. A backtest sees the sales in force now.
    """
    first = origin - timedelta(days=days - 1)
    events = (
        sales.raw_events(transaction, [store], first, origin)
        if refresh is None
        else table.events_seen(transaction, store, first, origin, refresh.refresh_id)
    )
    winners = winning_events(events).sort_values("date", ascending=False)
    seen = []
    for event in winners.itertuples():
        topic, _, uuid = str(event.topic).rpartition("/")
        seen.append(
            {
                "date": f"{event.date:%Y-%m-%d}",
                "sales": float(str(event.sales)),
                "open": int(str(event.open)),
                "promo": int(str(event.promo)),
                "topic": topic,
                "topic_id": uuid or None,
                "topic_partition": int(str(event.topic_partition)),
                "offset": int(str(event.kafka_offset)),
                "event_time": str(event.event_time),
                "corrections": int(str(event.corrections)),
            }
        )
    return seen


def effects(
    transaction: Transaction, row: dict[str, Any], version: PooledVersion | None
) -> dict[str, Any]:
    """Return the largest effects, by the store's model and the sales in force now."""
    if version is not None and version.format != MODEL_FORMAT:
        return {
            "usual": None,
            "parts": [],
            "parts_from": "not available: this version of the code cannot read the model",
        }
    origin = row["origin"]
    fitted, source = store_model(transaction, row, version)
    read = forecaster.Forecaster.read(
        transaction,
        fitted,
        origin,
        horizon=(row["date"] - origin).days,
        # A store's usual day is averaged over a year, even if the forecast reads fewer days.
        history_days=RESIDUAL_DAYS,
    )
    explanation = read.explain(row["date"])
    return {
        "usual": math.exp(explanation.usual),
        "parts": [
            {"feature": str(name), "effect": math.expm1(float(value))}
            for name, value in explanation.parts.items()
        ],
        "parts_from": source,
    }


def store_model(
    transaction: Transaction, row: dict[str, Any], version: PooledVersion | None
) -> tuple[pd.DataFrame, str]:
    """Return the store's model that the forecast used and where it came from.

    If the stored model has changed since, fit it again up to the same day.
    """
    store, origin = row["store"], row["origin"]
    until = origin
    if row["kind"] == "issued":
        until = fit_day(store, origin, version.trained_until if version else None)
    stored = models.store_models_at(transaction, [store], origin)
    if (
        len(stored)
        and stored["pooled_version"].iloc[0] == row["model_version"]
        and stored["trained_until"].iloc[0].date() == until
    ):
        return stored, "from the store's stored model"
    fitted = forecaster.fit(transaction, version, {store: until})
    return fitted, f"from the store's model, fitted again up to {until}"
