"""Where a forecast came from: its model, what weighed most, and the sales that it saw.

Here belongs the command `trace`. It only reads, as the reader's role, and needs no Dagster and no
MLflow to run: it gives the links into both.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer
from rich.console import Console
from rich.table import Column, Table

from forecast_assets.settings import REGISTERED_NAME
from forecasting.columns import QUANTILES, quantile_column

if TYPE_CHECKING:
    import pandas as pd

    from forecast_assets.settings import Settings
    from warehouse.connection import Transaction
    from warehouse.models import PooledVersion
    from warehouse.trace import Refresh

#: As many parts of a forecast are shown in the table; the JSON has all.
SHOWN_PARTS = 10


@dataclass(frozen=True)
class Asked:
    """What to trace: a store's day, from an origin or the newest, with so many days of sales."""

    store: int
    day: date
    origin: date | None
    days: int


def trace(transaction: Transaction, asked: Asked, chosen: Settings) -> dict[str, Any]:
    """Gather all that is known about where a forecast came from.

    Args:
        transaction: A transaction of a role that may read.
        asked: The forecast.
        chosen: The settings, for the UIs' addresses and the length of a period.

    Returns:
        A JSON-ready dictionary: store, date, origin, horizon, kind, forecast, actual, plan, model,
        parts (effects on the forecast as factors minus one), sales (newest first), run, links.

    Raises:
        NotFoundError: There is no such forecast.
    """
    from warehouse import models
    from warehouse import trace as table

    row = table.forecast(transaction, asked.store, asked.day, asked.origin)
    refresh = table.refresh(transaction, row["refresh_id"])
    version = models.pooled(transaction, row["model_version"]) if row["model_version"] else None
    seen = _sales_seen(transaction, asked, row["origin"], refresh)
    return {
        "store": asked.store,
        "date": str(asked.day),
        "origin": str(row["origin"]),
        "horizon": row["horizon"],
        "kind": row["kind"],
        "forecast": {
            "point": row["point"],
            "mean": row["mean"],
            "quantiles": {f"{level:g}": row[quantile_column(level)] for level in QUANTILES},
        },
        "actual": table.actual(transaction, asked.store, asked.day),
        "plan": {"open": row["open"], "assumed": row["plan_assumed"]},
        "model": _model(version),
        **_parts(transaction, asked, row, version, chosen),
        "sales": seen,
        "run": {
            "id": row["refresh_id"],
            "written_at": str(row["written_at"]),
            "started_at": str(refresh.started_at) if refresh else None,
            "finished_at": str(refresh.finished_at) if refresh else None,
            "changes": refresh.changes if refresh else None,
        },
        "links": links(row, version, chosen),
    }


def _model(version: PooledVersion | None) -> dict[str, Any] | None:
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


def links(row: dict[str, Any], version: PooledVersion | None, chosen: Settings) -> dict[str, str]:
    """Addresses in Dagster's and MLflow's UIs, as far as the settings name where they are."""
    from forecast_assets.planning.calendar import period_start

    found = {}
    if chosen.dagster_url:
        base = chosen.dagster_url.rstrip("/")
        partition = f"{period_start(row['origin'], chosen.date_grain)}|{row['store']}"
        found["dagster_run"] = f"{base}/runs/{row['refresh_id']}"
        found["dagster_asset"] = f"{base}/assets/forecasts?partition={quote(partition)}"
    if version is not None and (chosen.mlflow_tracking_uri or "").startswith("http"):
        base = (chosen.mlflow_tracking_uri or "").rstrip("/")
        if version.mlflow_run_id:
            found["mlflow_run"] = f"{base}/#/runs/{version.mlflow_run_id}"
        if version.mlflow_version:
            found["mlflow_model"] = (
                f"{base}/#/models/{REGISTERED_NAME}/versions/{quote(version.mlflow_version)}"
            )
    return found


def _sales_seen(
    transaction: Transaction, asked: Asked, origin: date, refresh: Refresh | None
) -> list[dict[str, Any]]:
    """The sales that counted when the forecast was made, newest first, and where they came from.

    Events that arrived after the refresh took its changes are left out: a correction since then
    does not hide what was seen. A backtest sees what counts now.
    """
    from forecasting.cleaning import winning_events
    from warehouse import sales

    first = origin - timedelta(days=asked.days - 1)
    events = sales.raw_events(transaction, [asked.store], first, origin)
    names = events["topic"].str.rpartition("/")
    if refresh is not None and len(events):
        end = [
            refresh.next_offsets.get((topic, uuid, partition), 0)
            for topic, uuid, partition in zip(
                names[0], names[2], events["topic_partition"], strict=True
            )
        ]
        events = events[events["kafka_offset"] < end]
    winners = winning_events(events).sort_values("date", ascending=False)
    found = []
    for event in winners.itertuples():
        topic, _, uuid = str(event.topic).rpartition("/")
        found.append(
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
    return found


def _parts(
    transaction: Transaction,
    asked: Asked,
    row: dict[str, Any],
    version: PooledVersion | None,
    chosen: Settings,
) -> dict[str, Any]:
    """What weighed most, by the store's model and today's sales of the days up to the origin."""
    from forecasting.models.at_origin import RESIDUAL_DAYS
    from forecasting.models.model_format import MODEL_FORMAT
    from warehouse.forecaster import Forecaster

    if version is not None and version.format != MODEL_FORMAT:
        return {"usual": None, "parts": [], "parts_from": "a version that this one cannot read"}
    origin = row["origin"]
    fitted, source = _store_model(transaction, asked.store, row, version, chosen)
    forecaster = Forecaster.read(
        transaction,
        fitted,
        origin,
        horizon=(asked.day - origin).days,
        # The store's usual day is that of the last year, whatever the forecast itself looks at.
        history_days=RESIDUAL_DAYS,
    )
    found = forecaster.explain(asked.day)
    return {
        "usual": math.exp(found.usual),
        "parts": [
            {"feature": str(name), "effect": math.expm1(float(value))}
            for name, value in found.parts.items()
        ],
        "parts_from": source,
    }


def _store_model(
    transaction: Transaction,
    store: int,
    row: dict[str, Any],
    version: PooledVersion | None,
    chosen: Settings,
) -> tuple[pd.DataFrame, str]:
    """The store's model as the forecast had it: the stored one, or fitted again to the same day."""
    from forecast_assets.planning.calendar import period_start
    from forecasting.models.refit import fit_day
    from warehouse import forecaster, models

    origin = row["origin"]
    until = origin
    if row["kind"] == "issued":
        until = fit_day(store, origin, version.trained_until if version else None)
    stored = models.store_models(transaction, [store], period_start(origin, chosen.date_grain))
    if (
        len(stored)
        and stored["pooled_version"].iloc[0] == row["model_version"]
        and stored["trained_until"].iloc[0].date() == until
    ):
        return stored, "the stored model of the store"
    fitted = forecaster.fit(transaction, version, {store: until})
    return fitted, f"the store's model, fitted again to {until}"


def tables(found: dict[str, Any]) -> list[Table]:
    """Lay out a trace for a terminal."""
    quantiles = found["forecast"]["quantiles"]
    head = Table(
        title=f"Store {found['store']}, {found['date']}, {found['horizon']} days ahead",
        show_header=False,
        title_justify="left",
    )
    head.add_column(no_wrap=True)
    # An address that is cut off leads nowhere.
    head.add_column(overflow="fold")
    head.add_row("forecast", f"{found['forecast']['point']:,.0f}")
    head.add_row("80 % interval", f"{quantiles['0.1']:,.0f} … {quantiles['0.9']:,.0f}")
    head.add_row("95 % interval", f"{quantiles['0.025']:,.0f} … {quantiles['0.975']:,.0f}")
    head.add_row("sold", "not known yet" if found["actual"] is None else f"{found['actual']:,.0f}")
    assumed = ", assumed from the usual pattern" if found["plan"]["assumed"] else ""
    head.add_row("plan", ("open" if found["plan"]["open"] else "closed") + assumed)
    head.add_row("kind, origin", f"{found['kind']}, {found['origin']}")
    model = found["model"]
    if model is None:
        head.add_row("pooled model", "none yet: the store's own model alone")
    else:
        head.add_row(
            "pooled model",
            f"{model['version']}, {model['recipe']}, trained until {model['trained_until']}",
        )
        head.add_row(
            "MLflow",
            f"run {model['mlflow_run_id']}, {REGISTERED_NAME} version {model['mlflow_version']}",
        )
    run = found["run"]
    head.add_row("Dagster run", f"{run['id']}, written {run['written_at']}")
    for name, address in found["links"].items():
        head.add_row(name.replace("_", " "), address)

    usual = "" if found["usual"] is None else f" (usual open day: {found['usual']:,.0f})"
    parts = Table(
        "feature", "effect", title=f"What weighed most{usual}", title_justify="left",
        caption=found["parts_from"], caption_justify="left",
    )  # fmt: skip
    for part in found["parts"][:SHOWN_PARTS]:
        parts.add_row(part["feature"], f"{part['effect']:+.1%}")

    sales = Table(
        Column("day", no_wrap=True), "sales", "promo", Column("topic", overflow="fold"),
        Column("partition", overflow="fold"), Column("offset", overflow="fold"),
        "event time", "corrections",
        title=f"The last {len(found['sales'])} days of sales that it saw", title_justify="left",
    )  # fmt: skip
    for day in found["sales"]:
        topic = day["topic"] if len(day["topic"]) < 24 else day["topic"][:20] + "…"
        sales.add_row(
            day["date"], f"{day['sales']:,.0f}", str(day["promo"]), topic,
            str(day["topic_partition"]), str(day["offset"]), day["event_time"][:19],
            str(day["corrections"]),
        )  # fmt: skip
    return [head, parts, sales]


def register(app: typer.Typer, console: Console | None = None) -> None:
    """Add the command `trace` to a command line."""
    shown = console or Console()

    @app.command("trace")
    def trace_command(
        store: Annotated[int, typer.Option(help="The store's number.", min=1)],
        day: Annotated[
            datetime, typer.Option("--date", formats=["%Y-%m-%d"], help="The day forecast.")
        ],
        origin: Annotated[
            datetime | None,
            typer.Option(
                formats=["%Y-%m-%d"],
                help="The last day that the forecast saw; by default the newest there is.",
            ),
        ] = None,
        days: Annotated[int, typer.Option(min=1, help="How many days of sales to list.")] = 28,
        as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    ) -> None:
        """Tell where a forecast came from: model, features, sales and their offsets, run."""
        from forecast_assets.settings import settings
        from warehouse.connection import Warehouse

        chosen = settings()
        asked = Asked(store, day.date(), origin.date() if origin else None, days)
        with Warehouse(chosen.require_reader_url()).transaction() as transaction:
            found = trace(transaction, asked, chosen)
        if as_json:
            typer.echo(json.dumps(found, indent=2))
            return
        for table in tables(found):
            shown.print(table)
