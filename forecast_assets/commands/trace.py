"""The command `trace`: a forecast's model, its largest effects and the sales that it saw.

It only reads, with the read-only role. It prints links into Dagster and MLflow but needs neither of
them running.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer
from rich.console import Console
from rich.table import Table

from forecast_assets.commands.forecast import WaitOption, wait_for
from forecast_assets.commands.tables import Column, Listing, OutputFormat, print_whole
from forecast_assets.settings import REGISTERED_NAME
from forecasting.columns import QUANTILES, quantile_column
from rossmann.parsing import MAX_STORE

if TYPE_CHECKING:
    from forecast_assets.settings import Settings
    from warehouse.connection import Transaction
    from warehouse.models import PooledVersion

#: How many effects the table lists before truncating; the JSON has all.
LISTED_PARTS = 10


@dataclass(frozen=True)
class TraceRequest:
    """The forecast to trace.

    Attributes:
        store: The store's number.
        day: The day that was forecast; None means the first open one after the origin.
        origin: The last day that the forecast saw; None means the newest.
        days: How many days of sales to list.
    """

    store: int
    day: date | None
    origin: date | None
    days: int


def trace(transaction: Transaction, request: TraceRequest, config: Settings) -> dict[str, Any]:
    """Collect what is known about the origin of a forecast.

    Args:
        transaction: A transaction of a role that may read.
        request: The forecast.
        config: The settings: the addresses of the UIs and the calendar.

    Returns:
        A JSON-ready dictionary: store, date, origin, horizon, kind, forecast, actual, plan, model,
        parts (effects on the forecast, as factors minus one), sales (newest first), run, links.

    Raises:
        NotFoundError: There is no such forecast.
    """
    from warehouse import lineage, models
    from warehouse import trace as table

    row = table.forecast(transaction, request.store, request.day, request.origin)
    day: date = row["date"]
    refresh = table.refresh(transaction, row["refresh_id"])
    version = models.pooled(transaction, row["model_version"]) if row["model_version"] else None
    sales = lineage.sales_seen(transaction, request.store, row["origin"], request.days, refresh)
    return {
        "store": request.store,
        "date": str(day),
        "origin": str(row["origin"]),
        "horizon": row["horizon"],
        "kind": row["kind"],
        "forecast": {
            "point": row["point"],
            "mean": row["mean"],
            "quantiles": {f"{level:g}": row[quantile_column(level)] for level in QUANTILES},
        },
        "actual": table.actual(transaction, request.store, day),
        "plan": {"open": row["open"], "assumed": row["plan_assumed"]},
        "model": lineage.model_summary(version),
        **lineage.effects(transaction, row, version),
        "sales": sales,
        "run": {
            "id": row["refresh_id"],
            "written_at": str(row["written_at"]),
            "started_at": str(refresh.started_at) if refresh else None,
            "finished_at": str(refresh.finished_at) if refresh else None,
            "changes": refresh.changes if refresh else None,
        },
        "links": links(row, version, config),
    }


def links(row: dict[str, Any], version: PooledVersion | None, config: Settings) -> dict[str, str]:
    """Return addresses in the UIs of Dagster and MLflow, if the settings contain theirs."""
    addresses = {}
    if config.dagster_url:
        base = config.dagster_url.rstrip("/")
        partition = quote(f"{config.calendar.start_of(row['origin'])}|{row['store']}")
        addresses["dagster_run"] = f"{base}/runs/{row['refresh_id']}"
        # Without `view`, the page opens its overview and ignores the partition.
        addresses["dagster_partition"] = (
            f"{base}/assets/forecasts?view=partitions&partition={partition}"
        )
    if version is not None and (config.mlflow_tracking_uri or "").startswith("http"):
        base = (config.mlflow_tracking_uri or "").rstrip("/")
        if version.mlflow_run_id:
            addresses["mlflow_run"] = f"{base}/#/runs/{version.mlflow_run_id}"
        if version.mlflow_version:
            addresses["mlflow_model"] = (
                f"{base}/#/models/{REGISTERED_NAME}/versions/{quote(version.mlflow_version)}"
            )
    return addresses


def show(traced: dict[str, Any], console: Console) -> None:
    """Print a trace for people."""
    print_whole(console, _summary_table(traced))
    # Outside the table, so that no line break cuts an address.
    for name, address in traced["links"].items():
        console.print(f"{name.replace('_', ' ')}: {address}", soft_wrap=True, markup=False)
    print_whole(console, _effects_table(traced))
    sales_listing(traced["sales"]).show(OutputFormat.TABLE, console)


def _summary_table(traced: dict[str, Any]) -> Table:
    forecast, plan, model, run = (traced[key] for key in ("forecast", "plan", "model", "run"))
    quantiles = forecast["quantiles"]
    table = Table(
        title=f"Store {traced['store']}, {traced['date']}, {traced['horizon']} days ahead",
        show_header=False,
        title_justify="left",
    )
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("forecast", f"{forecast['point']:,.0f}")
    table.add_row("80 % interval", f"{quantiles['0.1']:,.0f} … {quantiles['0.9']:,.0f}")
    table.add_row("95 % interval", f"{quantiles['0.025']:,.0f} … {quantiles['0.975']:,.0f}")
    actual = traced["actual"]
    table.add_row("sold", "not known yet" if actual is None else f"{actual:,.0f}")
    assumed = ", assumed from the usual pattern" if plan["assumed"] else ""
    table.add_row("plan", ("open" if plan["open"] else "closed") + assumed)
    table.add_row("kind, origin", f"{traced['kind']}, {traced['origin']}")
    if model is None:
        table.add_row("pooled model", "none yet: the store's own model alone")
    else:
        table.add_row(
            "pooled model",
            f"{model['version']}, {model['recipe']}, trained until {model['trained_until']}",
        )
        table.add_row(
            "MLflow",
            f"run {model['mlflow_run_id']}, {REGISTERED_NAME} version {model['mlflow_version']}",
        )
    table.add_row("Dagster run", f"{run['id']}, written {run['written_at']}")
    return table


def _effects_table(traced: dict[str, Any]) -> Table:
    usual = "" if traced["usual"] is None else f" (usual open day: {traced['usual']:,.0f})"
    table = Table(
        "feature", "effect", title=f"What weighed most{usual}", title_justify="left",
        caption=traced["parts_from"], caption_justify="left",
    )  # fmt: skip
    for part in traced["parts"][:LISTED_PARTS]:
        table.add_row(part["feature"], f"{part['effect']:+.1%}")
    return table


def sales_listing(sales: list[dict[str, Any]]) -> Listing:
    """Lay out the days of sales that a forecast saw."""
    columns = (
        Column("date", "day"),
        Column("sales", "sales", ",.0f"),
        Column("promo", "promo", "d"),
        Column("topic", "topic"),
        Column("topic_partition", "partition", "d"),
        Column("offset", "offset", "d"),
        Column("event_time", "event time", ".19"),
        Column("corrections", "corrections", "d"),
    )
    rows = [
        day | {"topic": day["topic"] if len(day["topic"]) < 24 else day["topic"][:20] + "…"}
        for day in sales
    ]
    return Listing(f"The last {len(sales)} days of sales that it saw", columns, rows)


def register(app: typer.Typer, console: Console | None = None) -> None:
    """Add the command `trace` to a command line."""
    terminal = console or Console()

    @app.command("trace")
    def trace_command(
        store: Annotated[int, typer.Option(help="The store's number.", min=1, max=MAX_STORE)],
        day: Annotated[
            datetime | None,
            typer.Option(
                "--date",
                formats=["%Y-%m-%d"],
                help="The forecast day. Default: the first open one after the origin.",
            ),
        ] = None,
        origin: Annotated[
            datetime | None,
            typer.Option(
                formats=["%Y-%m-%d"],
                help="The last day that the forecast saw. Default: the newest.",
            ),
        ] = None,
        days: Annotated[
            int, typer.Option(min=1, max=3_660, help="How many days of sales to list.")
        ] = 28,
        wait: WaitOption = 0,
        as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    ) -> None:
        """Show where a forecast came from: model, features, sales with their offsets, run."""
        from forecast_assets.settings import settings
        from warehouse.connection import Warehouse

        config = settings()
        request = TraceRequest(
            store, day.date() if day else None, origin.date() if origin else None, days
        )
        warehouse = Warehouse(config.require_reader_url())

        def look() -> dict[str, Any]:
            with warehouse.snapshot() as transaction:
                return trace(transaction, request, config)

        traced = wait_for(look, wait)
        if as_json:
            typer.echo(json.dumps(traced, indent=2))
        else:
            show(traced, terminal)
