"""The command `accuracy`: how good forecasts were, by store, beside the seasonal naive.

It reads the scores that the asset `forecast_accuracy` keeps, with the read-only role.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console

from forecast_assets.commands.forecast import StoresOption, parse_stores
from forecast_assets.commands.tables import Column, FormatOption, Listing, OutputFormat

COLUMNS = (
    Column("store", "store"),
    Column("days", "days", ",d"),
    Column("forecasts", "forecasts", ",d"),
    Column("wape", "WAPE", ".1%"),
    Column("naive_wape", "naive", ".1%"),
    Column("rmspe", "RMSPE", ".1%"),
    Column("naive_rmspe", "naive", ".1%"),
    Column("bias", "bias", "+.1%"),
    Column("coverage_80", "80 %", ".1%"),
    Column("coverage_95", "95 %", ".1%"),
    Column("kind", None),
    Column("first_day", None),
    Column("last_day", None),
)


def listing(scored: dict[str, Any]) -> Listing:
    """Lay out what `warehouse.accuracy.by_store` returns: a row per store, then their total."""
    from forecasting.evaluation.accuracy import Accuracy

    def row(label: int | str, sums: list[dict[str, Any]]) -> dict[str, Any]:
        ours = Accuracy.of(sums)
        naive = Accuracy.of(
            [
                one
                | {
                    "absolute_error": one["naive_absolute_error"],
                    "squared_percent_error": one["naive_squared_percent_error"],
                }
                for one in sums
            ]
        )
        return {
            "store": label,
            "days": max(one["days"] for one in sums),
            "forecasts": ours.forecasts,
            "wape": ours.wape,
            "naive_wape": naive.wape,
            "rmspe": ours.rmspe,
            "naive_rmspe": naive.rmspe,
            "bias": ours.bias,
            "coverage_80": ours.coverage_80,
            "coverage_95": ours.coverage_95,
            "kind": scored["kind"],
            "first_day": scored["first_day"],
            "last_day": scored["last_day"],
        }

    rows = [row(one["store"], [one]) for one in scored["stores"]]
    if len(rows) > 1:
        rows.append(row("all", scored["stores"]))
    return Listing(
        f"{scored['kind'].capitalize()} forecasts of {scored['first_day']} to "
        f"{scored['last_day']}, beside the 14-day seasonal naive",
        COLUMNS,
        rows,
    )


def register(app: typer.Typer, console: Console | None = None) -> None:
    """Add the command `accuracy` to a command line."""
    terminal = console or Console()

    @app.command("accuracy")
    def accuracy_command(
        store: StoresOption = None,
        days: Annotated[
            int, typer.Option(min=1, max=3_660, help="The newest days whose sales are known.")
        ] = 28,
        output: FormatOption = OutputFormat.TABLE,
    ) -> None:
        """Show how good the forecasts of recent days were, beside the seasonal naive.

        The naive repeats the last two weeks that the forecast saw. Issued forecasts count; before
        the first of them has met its day, backtests do.
        """
        from forecast_assets.settings import settings
        from warehouse import accuracy, in_force
        from warehouse.connection import Warehouse

        wanted = parse_stores(store)
        with Warehouse(settings().require_reader_url()).transaction() as transaction:
            stores = in_force.known_stores(transaction, wanted)
            scored = accuracy.by_store(transaction, stores, days)
        listing(scored).show(output, terminal)
