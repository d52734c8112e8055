"""Collects where a forecast came from."""

from datetime import date
from typing import Any

from forecast_service.state import State
from forecasting.columns import QUANTILES, quantile_column
from warehouse import lineage, models
from warehouse import trace as rows
from warehouse.connection import Transaction


async def trace(
    state: State, store: int, day: date | None, origin: date | None, days: int
) -> dict[str, Any]:
    """Return the lineage of a forecast.

    Raises:
        NotFoundError: There is no such forecast.
    """
    return await state.database.compute(
        lambda transaction: _collect(transaction, state, store, day, origin, days)
    )


def _collect(
    transaction: Transaction,
    state: State,
    store: int,
    day: date | None,
    origin: date | None,
    days: int,
) -> dict[str, Any]:
    row = rows.forecast(transaction, store, day, origin)
    refresh = rows.refresh(transaction, row["refresh_id"])
    version = models.pooled(transaction, row["model_version"]) if row["model_version"] else None
    effects = lineage.effects(transaction, row, version)
    usual = effects["usual"]
    for part in effects["parts"]:
        part["sales"] = part["effect"] * usual
    return {
        "store": store,
        **{name: row[name] for name in ("date", "origin", "horizon", "kind", "open")},
        "plan_assumed": row["plan_assumed"],
        "forecast": {
            "point": row["point"],
            "mean": row["mean"],
            "quantiles": {f"{level:g}": row[quantile_column(level)] for level in QUANTILES},
        },
        "actual": rows.actual(transaction, store, row["date"]),
        "model": lineage.model_summary(version),
        **effects,
        "sales": lineage.sales_seen(transaction, store, row["origin"], days, refresh),
        "run": {
            "id": row["refresh_id"],
            "written_at": row["written_at"],
            "started_at": refresh.started_at if refresh else None,
            "finished_at": refresh.finished_at if refresh else None,
            "changes": refresh.changes if refresh else None,
        },
        "links": _links(state, row, version.mlflow_run_id if version else None),
    }


def _links(state: State, row: dict[str, Any], mlflow_run_id: str | None) -> dict[str, str]:
    links = {}
    # A browser may reach both at other addresses than the service does.
    dagster = (state.settings.dagster_public_url or state.dagster.url).rstrip("/")
    if dagster:
        links["dagster_run"] = f"{dagster}/runs/{row['refresh_id']}"
    mlflow = (state.settings.mlflow_public_url or state.settings.mlflow_url or "").rstrip("/")
    if mlflow_run_id and mlflow.startswith("http"):
        links["mlflow_run"] = f"{mlflow}/#/runs/{mlflow_run_id}"
    return links
